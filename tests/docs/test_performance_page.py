# SPDX-License-Identifier: Apache-2.0
"""Figures that docs/performance.md and README quote are those of the kept runs."""

import re

import pytest

from docs.extensions.entry_points import ROOT
from hw.area import shipped
from sim.bench_page import load
from sim.scaling import read_points

BENCH = ROOT / "docs" / "bench"
PAGE = (ROOT / "docs" / "performance.md").read_text()
README = (ROOT / "README.md").read_text()
RUNS = {"`w1`": ("2026-11-30-d12cda2", "w1"), "`w1-4bit`": ("2026-11-30-8546492", "w1-4bit"),
        "`w1-4bit-wide`": ("2026-11-30-8546492", "w1-4bit-wide")}
KEYS = ("weight_bits", "adders", "cycles", "lut", "use", "efficiency")


def quoted(name):
    """The figures of a row of the first table, in the order of `KEYS`."""
    cells = re.search(rf"^\| {re.escape(name)} \| (.*) \|$", PAGE, re.MULTILINE)[1].split("|")
    return [float(re.match(r"[\d,.]+", cell.strip())[0].replace(",", "")) for cell in cells]


def as_quoted(figures):
    return [pytest.approx(100 * figures[key] if key == "use" else figures[key], rel=0, abs=0.0501)
            for key in KEYS]


@pytest.mark.parametrize("name", RUNS)
def test_w1_in_short(name):
    run, case = RUNS[name]
    assert f"bench/{run}.md" in PAGE
    assert quoted(name) == as_quoted(load(BENCH / f"{run}.json").figures()[case])


def test_w1_of_the_curves():
    points = {point.case: point.figures for point in read_points(BENCH / "scaling.json")}
    assert quoted("`w1` in [`scaling`](#scaling)") == as_quoted(points["cifar10-4-256 128x4"])


def test_the_error_of_the_area_model():
    errors = [100 * abs(error) for error in shipped().errors("lut")]
    mean, most = sum(errors) / len(errors), max(errors)
    assert f"{mean:.1f} % off in the mean, {most:.1f} % at most" in " ".join(PAGE.split())


def test_readme():
    for run, case, words in (("2026-11-30-d12cda2", "w1", "{} cycles with 768 adders, {} LUT"),
                             ("2026-11-30-8546492", "w1-4bit-wide", "{} cycles, {} LUT")):
        figures = load(BENCH / f"{run}.json").figures()[case]
        numbers = (f"{figures[key]:,.0f}" for key in ("cycles", "lut"))
        assert words.format(*numbers) in " ".join(README.split())
