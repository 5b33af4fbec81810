# SPDX-License-Identifier: Apache-2.0
"""The report: rows, sums, and what was never reached."""

from sim.coverage import page, verilog
from sim.coverage.functional import Cross, measure
from sim.coverage.page import as_json, functional_lines, python_lines, verilog_lines
from sim.coverage.points import Reached
from sim.coverage.python import Share
from sim.coverage.verilog import Gap, Simulated

SHARES = [Share("hw/b.py", 1, 4, 0, 2), Share("hw/a.py", 6, 6, 2, 2), Share("sim/c.py", 1, 2, 0, 0)]
SIMULATED = Simulated(Reached({"hw/a.py:2": True}, {("hw/a.py", "A", "x", 0, "0->1"): True,
                                                    ("hw/a.py", "A", "x", 0, "1->0"): False}),
                      [], [3, 4], 100)


def test_python():
    lines = [" ".join(line.split()) for line in python_lines(SHARES)]
    assert lines[1] == "hw 7 of 10 70.0 % 2 of 4 50.0 %"
    assert lines[2] == "sim 1 of 2 50.0 % 0 of 0 -"
    assert lines[3] == "all 8 of 12 66.7 % 2 of 4 50.0 %"
    assert [line.split()[0] for line in lines[4:]] == ["hw/b.py", "sim/c.py"]   # all of a is there


def test_verilog(monkeypatch):
    found = [Gap("hw/a.py:3", "m.d.comb += x", "because"), Gap("hw/a.py", "A.dead", "")]
    monkeypatch.setattr(page, "gaps", lambda reached: found)
    lines = verilog_lines(SIMULATED)
    assert " ".join(lines[1].split()) == "hw/a.py 1 of 1 1 of 1 1 of 2 50.0 %"
    assert lines[-3:] == ["2 statements and signals were never reached, 1 of them unexplained",
                          "  hw/a.py: A.dead", "  hw/a.py:3: m.d.comb += x -- because"]


def test_functional():
    cross = Cross(("tau", "pooled"), lambda b: True, "")
    lines = functional_lines(measure([{"tau": "2", "pooled": "no"}], [cross]))
    assert " ".join(lines[1].split()) == "tau x pooled 1 of 4 25.0 %"
    assert lines[2].startswith("all")
    assert lines[4:] == ["never: tau x pooled", "  2, yes", "  1.5, no/yes"]


def test_json(monkeypatch):
    monkeypatch.setattr(verilog, "LINES", {})
    hits = measure([], [Cross(("tau",), lambda b: True, "")])
    found = as_json(SHARES, SIMULATED, hits)
    assert found["python"][0]["all_lines"] == 4 and found["verilog"]["combinations"] == [3, 4]
    assert found["verilog"]["files"][0]["bits"] == 1 and found["verilog"]["never"] == []
    assert found["functional"] == [
        {"cross": ["tau"], "hit": 0, "total": 2, "missing": [["2"], ["1.5"]]}]
    assert as_json(None, None, None) == {}
