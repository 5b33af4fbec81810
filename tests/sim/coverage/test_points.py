# SPDX-License-Identifier: Apache-2.0
"""Coverage data of Verilator: a unit that is simulated for real, and lines that are made up."""

import subprocess

import pytest

from hw.answer import Answer
from sim.build import Design, build
from sim.coverage.points import Reached, read_points
from sim.coverage.probes import Probed, probed_verilog

BENCH = """
module bench;
  logic clk = 0, rst = 0, valid = 0;
  logic [64:0] word = 0;
  always #1 clk = !clk;
  accelerator dut (.clk(clk), .rst(rst), .clear(1'b0), .address(1'd0), .i__payload(word),
                   .i__valid(valid), .i__ready(), .complete(), .data());
  initial begin
    #4 valid = 1; word = 65'd5;
    #4 valid = 0;
    #4 $finish;
  end
endmodule
"""


def point(**fields):
    text = "".join(f"\x01{name}\x02{value}" for name, value in fields.items() if name != "count")
    return f"C '{text}' {fields['count']}\n"


@pytest.mark.slow
def test_a_unit_in_the_simulator(tmp_path):
    probed = probed_verilog(Answer(2))
    design = Design({"accelerator.v": probed.verilog, "bench.sv": BENCH}, "bench", {},
                    cocotb=False, coverage=True)
    file = tmp_path / "coverage.dat"
    subprocess.run([build(design, tmp_path / "sim"), f"+verilator+coverage+file+{file}"],
                   check=True)
    reached = read_points(file, probed)
    # Two words came, none was the last one, and nobody cleared.
    taken, counted, cleared = sorted(reached.lines, key=lambda place: int(place.split(":")[1]))
    assert reached.lines == {taken: True, counted: True, cleared: False}
    bits = {(key[2], key[3], key[4]): hit for key, hit in reached.toggles.items()}
    assert bits["count", 0, "0->1"] and bits["count", 0, "1->0"] and bits["count", 1, "0->1"]
    assert not bits["count", 1, "1->0"] and not bits["complete", 0, "0->1"]
    assert bits["data", 2, "0->1"] and not bits["data", 1, "0->1"]
    assert {key[:2] for key in reached.toggles} == {("hw/answer.py", "Answer")}


PROBED = Probed("", {9: "hw/a.py:1", 12: "hw/a.py:2"},
                {("accelerator.a", "x__y$3"): ("hw/a.py", "A", "x__y")})
HEAD = "# SystemC::Coverage-3\n"
LINES = point(t="line", S="7-10", count=0) + point(t="branch", S="3,11-12", count=2)


def test_made_up_lines(tmp_path):
    file = tmp_path / "c.dat"
    file.write_text(HEAD + LINES + point(t="line", S="9", count=1) + point(t="branch", count=4)
                    + point(t="toggle", page="v_toggle/accelerator.a",
                            o="x___05Fy__0243[4]:0->1", count=3)
                    + point(t="toggle", page="v_toggle/testbench", o="x[4]:0->1", count=3))
    reached = read_points(file, PROBED)
    assert reached.lines == {"hw/a.py:1": True, "hw/a.py:2": True}
    assert reached.toggles == {("hw/a.py", "A", "x__y", 4, "0->1"): True}


def test_reached_in_one_of_two_is_reached():
    both = Reached({"a": False, "b": True}, {("f", "A", "x", 0, "0->1"): False})
    both.add(Reached({"a": True, "b": False, "c": False}, {("f", "A", "x", 0, "0->1"): True}))
    assert both.lines == {"a": True, "b": True, "c": False}
    assert list(both.toggles.values()) == [True]


@pytest.mark.parametrize(("text", "message"), [
    ("", "its format"), (HEAD + "nonsense\n", "a point in each line, not 'nonsense"),
    (HEAD + point(t="line", S="9", count=1), "count all 2 probes, not 1: line 12")])
def test_bad_files(text, message, tmp_path):
    file = tmp_path / "c.dat"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_points(file, PROBED)
