# SPDX-License-Identifier: Apache-2.0
"""Samples are checked, and written in the order of the port."""

import re

import numpy as np
import pytest

from sim.inputs import check_inputs, prepare
from tests.sim import mock


def written(program, inputs, directory):
    prepare(program, inputs, directory)
    return [int(line, 16) for line in (directory / "inputs").read_text().splitlines()]


def test_order_of_an_image(tmp_path):
    inputs = np.random.default_rng(0).integers(-32, 32, (2, 3, 5, 4))
    assert written(mock.program(), inputs, tmp_path) == [
        int(image[c, y, x]) & 63
        for image in inputs for y in range(5) for x in range(4) for c in range(3)]


def test_order_of_events(tmp_path):
    inputs = np.random.default_rng(0).integers(0, 32, (2, 6, 2, 5, 4))
    assert written(mock.program(), inputs, tmp_path) == [
        int(image[t, c, y, x])
        for image in inputs for y in range(5) for x in range(4) for t in range(6)
        for c in range(2)]


@pytest.mark.parametrize(("inputs", "sentence"), [
    (np.zeros((1, 5, 4), int), "inputs must have shape [n, 1, 5, 4], not [1, 5, 4]"),
    (np.zeros((0, 1, 5, 4), int), "inputs must have shape [n, 1, 5, 4], not [0, 1, 5, 4]"),
    (np.zeros((1, 1, 5, 4)), "inputs must be integers, not 'float64'"),
    (np.full((1, 1, 5, 4), 32), "inputs must be -32 to 31, not 32 to 32"),
])
def test_unsuitable_inputs_are_refused(inputs, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        check_inputs(mock.program(), inputs)
