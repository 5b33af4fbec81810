# SPDX-License-Identifier: Apache-2.0
"""What was reached by file, and what never was."""

import pytest

from sim.coverage import verilog as module
from sim.coverage.points import Reached
from sim.coverage.verilog import by_file, gaps, simulate
from sim.run import SimulationError


def reached():
    return Reached({"hw/a.py:2": True, "hw/a.py:3": False, "hw/b.py:1": True},
                   {("hw/a.py", "A", "x", 0, "0->1"): True,
                    ("hw/a.py", "A", "x", 0, "1->0"): False,
                    ("hw/a.py", "A", "dead", 0, "0->1"): False,
                    ("hw/a.py", "A", "known", 0, "0->1"): False})


def test_by_file():
    first, second = by_file(reached())
    assert first == module.File("hw/a.py", 1, 2, 1, 3, 1, 4)
    assert second == module.File("hw/b.py", 1, 1, 0, 0, 0, 0)


def test_gaps(tmp_path, monkeypatch):
    (tmp_path / "hw").mkdir()
    (tmp_path / "hw" / "a.py").write_text("one\ntwo\n    three\n")
    monkeypatch.setattr(module, "LINES", {("hw/a.py", "two"): "not of this one"})
    monkeypatch.setattr(module, "SIGNALS", {("A", "known"): "because"})
    assert gaps(reached(), tmp_path) == [
        module.Gap("hw/a.py:3", "three", ""), module.Gap("hw/a.py", "A.dead", ""),
        module.Gap("hw/a.py", "A.known", "because")]


def test_a_combination_that_is_wrong_is_told(monkeypatch):
    monkeypatch.setattr(module.Simulator, "build", lambda *_, **__: None)
    monkeypatch.setattr(module, "check", lambda *_: {"shown": ["a: spike must be 1, not 0"]})
    with pytest.raises(SimulationError, match=r"combination 17 of seed 0 .* spike must be 1"):
        simulate(0, [17], 1)


@pytest.mark.slow
def test_a_combination():
    found = simulate(0, [17], 2_000)
    lines = found.reached.lines
    assert found.values >= 2_000 and found.facts and sum(lines.values()) > 0.9 * len(lines) > 150
    # Weights come through the port, and the image is a good one.
    missed = {place.partition(":")[0] for place, hit in lines.items() if not hit}
    assert "hw/fetch.py" in missed and "hw/gather.py" not in missed
