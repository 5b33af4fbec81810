# SPDX-License-Identifier: Apache-2.0
"""Accuracy by bits of the shipped checkpoint."""

from pathlib import Path

from hw.model import SHIPPED_MODEL, FixedPointModel
from quantize.bits import accuracy_by_bits

DIGITS = Path(__file__).parents[2] / "quantize" / "checkpoints" / "digits.safetensors"


def test_digits():
    found = accuracy_by_bits(DIGITS, bits=(8,))
    known = FixedPointModel.load(SHIPPED_MODEL).accuracy
    assert found == {0: known["float"], 8: known["integer"]}


def test_fewer_images_and_bits():
    assert set(accuracy_by_bits(DIGITS, bits=(4, 6), images=8)) == {0, 4, 6}
