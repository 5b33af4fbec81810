# SPDX-License-Identifier: Apache-2.0
"""quantize.reuse: each candidate against a count by hand or by plain loops."""

from itertools import product

import numpy as np
import pytest

from hw.model import SHIPPED_MODEL
from quantize.reuse import CANDIDATES, changed, left, main, paired, products, windows


def rows(*texts):
    return np.array([[bit == "1" for bit in text] for text in texts])


def test_changed_and_paired_by_hand():
    inputs = rows("1100", "1101", "0001", "1111", "0000")[..., None, None]
    # 2 alone, 1 came, 1 is fewer than 2 that went, 3 came, nothing to add at all.
    assert changed(inputs) == 2 + 1 + 1 + 3 + 0
    assert paired(inputs) == 3 + 4 + 0
    assert paired(inputs[:4]) == 3 + 4


def test_products_by_hand():
    # 110 has nothing below it, 111 starts from it, 010 is alone, and the second 110 is free.
    assert products(rows("110", "111", "010", "110")) == 1 + 1 + 1 + 0
    assert products(np.zeros((3, 16), bool)) == 0
    assert products(rows("1" * 20)) == 20


@pytest.mark.parametrize("kernel", [1, 3])
def test_windows_and_counts_by_loops(kernel):
    source = np.random.default_rng(kernel).random((3, 2, 4, 6)) < 0.4
    steps, channels, height, width = source.shape
    sets = {}
    for t, y, x in np.ndindex(steps, height, width):
        taps = product(range(channels), range(kernel), range(kernel))
        sets[t, y, x] = {
            (c, i, j) for c, i, j in taps
            if 0 <= (v := y + i - kernel // 2) < height and 0 <= (u := x + j - kernel // 2) < width
            and source[t, c, v, u]}
    assert windows(source, kernel).sum(1).tolist() == [
        [[len(sets[t, y, x]) for x in range(width)] for y in range(height)] for t in range(steps)]
    counts = left(source, kernel)
    assert set(counts) == {"", *CANDIDATES}
    assert counts[""] == sum(map(len, sets.values()))
    assert counts["pairs along x"] == sum(
        len(sets[t, y, x] | sets[t, y, x + 1])
        for t, y, x in sets if x % 2 == 0)
    assert counts["change in time"] == sum(
        min(len(each), len(each ^ sets[t - 1, y, x])) if t else len(each)
        for (t, y, x), each in sets.items())
    assert all(counts[name] <= counts[""] for name in CANDIDATES)


def test_command(capsys, tmp_path):
    assert main([str(SHIPPED_MODEL)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "layer" and lines[-1].startswith("convolutions")
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: model directory must hold")
