# SPDX-License-Identifier: Apache-2.0
"""Payloads are packed as Amaranth lays them out.  The streams themselves run in test_units.py."""

import pytest
from amaranth import signed, unsigned
from amaranth.lib import data

from sim.streams import pack, unpack

NESTED = data.StructLayout({
    "a": signed(5), "b": data.ArrayLayout(signed(3), 3), "c": data.StructLayout({"d": 1, "e": 2})})


@pytest.mark.parametrize(("shape", "value", "bits"), [
    (unsigned(4), 15, 15), (signed(4), -8, 8), (signed(4), -1, 15), (signed(1), -1, 1),
    (data.ArrayLayout(signed(2), 3), [-2, 1, -1], 0b110110),
    (NESTED, {"a": -16, "b": [3, -4, 0], "c": {"d": 1, "e": 2}}, 0b101_000_100_011_10000),
])
def test_pack_and_unpack(shape, value, bits):
    assert pack(shape, value) == bits
    assert unpack(shape, bits) == value
