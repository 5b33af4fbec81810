# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import pytest

from hw import report
from hw.families import Usage
from hw.report import SynthesisError, cell_usage, hierarchy, multipliers, over_budget

DEVICE = Usage(lut=100, ff=200, ram=2, carry=25, dsp=1)

ADDER = """
module half(input clk, input [7:0] a, input [7:0] b, output reg [8:0] y);
  always @(posedge clk) y <= a + b;
endmodule
module adder(input clk, input [7:0] a, input [7:0] b, output [8:0] x, output [8:0] y);
  half half0(.clk(clk), .a(a), .b(b), .y(x));
  half half1(.clk(clk), .a(b), .b(b), .y(y));
endmodule
"""
MULTIPLIER = """
module adder(input clk, input [15:0] a, input [15:0] b, output reg [31:0] y);
  always @(posedge clk) y <= a * b;
endmodule
"""


@pytest.mark.parametrize(("kind", "usage"), [
    ("LUT6", Usage(lut=3)), ("INV", Usage(lut=3)), ("RAM32M", Usage(lut=12)),
    ("SRL16E", Usage(lut=3)), ("FDRE", Usage(ff=3)), ("FDSE_1", Usage(ff=3)), ("LDCE", Usage(ff=3)),
    ("RAMB18E1", Usage(ram=1.5)), ("RAMB36E1", Usage(ram=3)), ("CARRY4", Usage(carry=3)),
    ("DSP48E1", Usage(dsp=3)), ("MUXF7", Usage()), ("IBUF", Usage()), ("$scopeinfo", Usage()),
])
def test_cell_usage(kind, usage):
    assert cell_usage(kind, 3) == usage


def test_hierarchy_adds_up_children_and_merges_numbered_ones():
    def module(**cells):
        return {"num_cells_by_type": {name.replace("__", "."): n for name, n in cells.items()}}

    statistics = {"modules": {
        "\\top": module(LUT2=1, top__lane0=1, top__lane1=1, top__memory=1),
        "\\top.lane0": module(LUT6=5, CARRY4=1), "\\top.lane1": module(LUT6=7, FDRE=2),
        "\\top.memory": module(RAMB18E1=1)}}
    modules = hierarchy(statistics, "top")
    assert modules["top.lane*"] == Usage(lut=12, ff=2, carry=1)
    assert modules["top"] == Usage(lut=13, ff=2, carry=1, ram=0.5)
    assert "lane*" in report.hierarchy_table(modules)


def test_over_budget_names_what_and_by_how_much():
    assert over_budget(DEVICE, DEVICE) == []
    assert over_budget(replace(DEVICE, lut=130, ram=2.5), DEVICE) == [
        "30 LUT over (130 of 100)", "0.5 RAMB36 over (2.5 of 2)"]


def test_resource_table_shows_every_resource():
    lines = report.resource_table(replace(DEVICE, lut=50), DEVICE, "part").splitlines()
    assert [line.split()[0] for line in lines] == ["part", "LUT", "FF", "RAMB36", "CARRY4", "DSP"]
    assert lines[1].split()[1:] == ["50", "100", "50.0%"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def synthesize(text, cache, name="adder"):
    path = cache / "in.v"
    path.write_text(text)
    return report.synthesize(path, name, cache)


def test_synthesis_counts_and_is_kept(cache, monkeypatch):
    statistics = synthesize(ADDER, cache)
    modules = hierarchy(statistics["netlist"], "adder")
    assert multipliers(statistics["rtl"]) == 0
    assert modules["adder"].dsp == 0
    assert modules["adder.half"].carry == modules["adder"].carry > 0
    monkeypatch.setattr(report, "run_yosys", None)   # a second run must not call it
    assert synthesize(ADDER, cache) == statistics


def test_a_multiplier_shows(cache):
    statistics = synthesize(MULTIPLIER, cache)
    assert multipliers(statistics["rtl"]) == 1
    assert hierarchy(statistics["netlist"], "adder")["adder"].dsp == 1


def test_failure_shows_what_yosys_said_and_keeps_nothing(cache):
    before = set(cache.iterdir())
    with pytest.raises(SynthesisError, match=r"(?s)^yosys failed:.*ERROR"):
        synthesize("module adder(input a); wrong", cache)
    assert set(cache.iterdir()) == before
