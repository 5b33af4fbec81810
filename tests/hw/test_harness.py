# SPDX-License-Identifier: Apache-2.0
"""The harness around a module: all of its pins, and nothing optimised away."""

import pytest

from hw import report
from hw.harness import harness, module_ports

VERILOG = """
module \\core.unit (clk, rst, a, \\b$1 , y, z);
  input clk;
  wire clk;
  input rst;
  input [3:0] a;
  input [4:0] \\b$1 ;
  output [5:0] y;
  reg [5:0] y;
  output z;
  assign z = ^a;
  always @(posedge clk) y <= rst ? 0 : a + \\b$1 ;
endmodule
module plain (a, y);
  input a;
  output y;
  assign y = a;
endmodule
"""


def test_ports():
    assert module_ports(VERILOG, "core.unit") == [
        ("input", "clk", 1), ("input", "rst", 1), ("input", "a", 4), ("input", "\\b$1", 5),
        ("output", "y", 6), ("output", "z", 1)]


def test_yosys_keeps_every_pin(tmp_path):
    path = tmp_path / "in.v"
    path.write_text(VERILOG + harness(VERILOG, "core.unit"))
    statistics = report.synthesize(path, "harness", tmp_path / "cache")
    modules = report.hierarchy(statistics["netlist"], "harness")
    # reset, 9 inputs, 7 outputs, then 2 and 1 of the tree; y of the unit itself
    assert modules["harness"].ff == 1 + 9 + 7 + 2 + 1 + 6


@pytest.mark.parametrize("module, message", [
    ("core.other", r"^unit must be a module of the design, not 'core.other'$"),
    ("plain", r"^unit must have a clock and an output, which 'plain' has not$")])
def test_what_cannot_be_timed(module, message):
    with pytest.raises(ValueError, match=message):
        harness(VERILOG, module)
