# SPDX-License-Identifier: Apache-2.0
"""The table of docs/comparison.md says what our benchmark and `sim.peers` say."""

import re

import pytest

from docs.extensions.entry_points import ROOT
from sim.bench_page import load
from sim.peers import PEERS

PAGE = (ROOT / "docs" / "comparison.md").read_text()
ROWS = {"cycles per inference": "cycles", "bits of a weight": "weight_bits", "LUT": "lut",
        "DSP": "dsp", "RAMB36": "ramb36", "adders": "adders", "density of the inputs": "density",
        "useful share of the adders' time": "use",
        "useful additions per cycle and 1,000 LUT": "efficiency"}


def table():
    """The first number of each cell, shares as percent: row by name, two columns ours, peers."""
    found = {}
    for name, cells in re.findall(r"^\| (.+?) \| (.*) \|$", PAGE, re.MULTILINE):
        numbers = [re.match(r"[\d,]+(?:\.\d+)?", cell.strip()) for cell in cells.split("|")]
        if name not in found and all(numbers):
            found[name] = [float(each[0].replace(",", "")) for each in numbers]
    return found


def same(shown, value):
    """Equal as rounded: 90 is 0.8965, 16.44 is 0.164371."""
    shares = (value, 100 * value) if value < 1 else (value,)
    return any(shown == pytest.approx(each, rel=0.005) for each in shares)


def published():
    """Figures by the keys of `sim.metrics.METRICS`: of the linked runs, and of the peers."""
    names = re.findall(r"\[run\]\((bench/[\w-]+)\.md\)", PAGE)
    ours = [load(ROOT / "docs" / f"{name}.json").figures()[case]
            for name, case in zip(names, ("w1", "w1-4bit-wide"), strict=True)]
    return (*ours, *(PEERS[next(key for key in PEERS if key.startswith(peer))]
                     for peer in ("FireFly-T", "ExSpike")))


def test_figures_are_those_of_the_benchmark_and_of_the_peers():
    rows, figures = table(), published()
    for name, key in ROWS.items():
        for shown, each in zip(rows[name], figures, strict=True):
            assert same(shown, each[key]), (name, shown, each[key])


def test_clocks_that_the_frames_would_need():
    eight, four = (each["cycles"] for each in published()[:2])
    for frames, mhz in ((197.18, (79, 64)), (907, (362, 295))):
        assert tuple(round(frames * cycles / 1e6) for cycles in (eight, four)) == mhz
        assert re.search(rf"\b{mhz[0]} MHz\s+for", PAGE)
    assert "with 4 bits 64 and 295 MHz" in PAGE
