# SPDX-License-Identifier: Apache-2.0
"""Results become a JSON file and a page."""

import re

import pytest

from sim.against import compare
from sim.bench_page import Benchmark, change_table, figures_table, layer_table, load, page, save
from tests.sim.test_metrics import result

BENCHMARK = Benchmark("2026-01-02", "abc1234", "python -m sim.bench", (result(),))


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_files(tmp_path):
    path = tmp_path / "bench" / "x.json"
    both = BENCHMARK.with_result(result("two"))
    save(both, path)
    assert sorted(each.name for each in path.parent.iterdir()) == ["x.json", "x.md"]
    assert load(path).figures() == both.figures()
    assert page(load(path)) == page(both) == path.with_suffix(".md").read_text().splitlines()
    path.write_text("{}")
    with pytest.raises(ValueError, match=r"^.* must be a result of python -m sim.bench of this "):
        load(path)


def test_a_result_takes_the_place_of_an_older_one():
    both = BENCHMARK.with_result(result("two")).with_result(result(cycles=2000))
    assert {name: each["cycles"] for name, each in both.figures().items()} == {
        "one": 26_500, "two": 13_500}
    assert list(both.figures()) == ["one", "two"]


def test_figures():
    lines = figures_table([result(), result("two", synthesis=False)])
    heading = cells(lines[0])
    assert heading[:5] == ["", "one", "two", "w1 must", "w1 aim"]
    assert "FireFly-T, arXiv 2505.12771" in heading
    rows = {cells(line)[0]: cells(line)[1:] for line in lines[2:] if line.startswith("|")}
    assert rows["C, cycles"] == ["13,500", "13,500", "500,000", "330,000", "330,800", "1,014,000"]
    assert rows["LUT, 7 series"][:2] == ["20,000", ""]
    text = "\n".join(lines)
    assert "one: net, synthetic; 8 lanes; latency 40. Generation: compile 1.0 s, verilog" in text
    assert "ExSpike: " in text
    assert all(len(cells(line)) == len(heading) for line in lines if line.startswith("|"))


def test_layers():
    lines = layer_table(result())
    assert len(lines) == 2 + 13 + 1
    assert cells(lines[2]) == ["`patch_embed.block0`", "25.00%", "4,000", "1,200", "7.7%", "12.5%",
                               "1,000", "500", "0", "400", "100", "0"]
    assert cells(lines[-1])[6:] == ["13,500", "6,500", "0", "5,200", "1,800", "13,000"]


def test_changes():
    before = BENCHMARK.figures()
    now = BENCHMARK.with_result(result(cycles=500)).figures()
    lines = change_table(compare(before, now))
    cycles = next(line for line in lines if "C, cycles" in line)
    assert re.sub(" +", " ", cycles) == (
        "| one | C, cycles | 13,500 | 7,000 | 0.519 | better |")
