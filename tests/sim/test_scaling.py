# SPDX-License-Identifier: Apache-2.0
"""Curves: points are kept, measured anew when hardware or network change, tabulated and drawn."""

import importlib.util
import json

import numpy as np
import pytest

from hw.model import Samples
from hw.options import hardware
from sim import scaling, scaling_plot
from sim.benches.models import SMALL, random_inputs, random_model
from sim.cases import Source, bench
from sim.scaling import CURVES, adders, main, read_points
from tests.sim.test_metrics import result


@pytest.fixture
def docs(tmp_path, monkeypatch):
    """Two curves on one small network, and measurements that are none."""
    model = random_model(SMALL)
    model.save(tmp_path / "net", Samples(random_inputs(model, 1), np.array([1])))
    source = Source(tmp_path / "net", "make it")
    cases = tuple(bench(f"net {lanes}x1", source, ("--lanes", str(lanes), "--banks", "1"))
                  for lanes in (8, 16))
    monkeypatch.setattr(scaling, "CURVES", {"first": cases, "networks": cases[:1]})
    asked = []

    def measure(case, mapped):
        asked.append((case.name, mapped))
        return result(case.name, cycles=16_000 // adders(case), synthesis=mapped)
    monkeypatch.setattr(scaling, "measure", measure)
    # In place of the Verilog, which takes seconds.
    monkeypatch.setattr(scaling, "accelerator_verilog", lambda program: str(program.hardware))
    return tmp_path, asked


def run(docs, *words):
    return main([*words, "--docs", str(docs)])


def test_points(docs, capsys):
    docs, asked = docs
    assert run(docs) == 0
    assert asked == [("net 8x1", True), ("net 16x1", True), ("net 8x1", True)]
    points = read_points(docs / "bench" / "scaling.json")
    assert [(each.curve, each.case) for each in points] == [
        ("first", "net 8x1"), ("first", "net 16x1"), ("networks", "net 8x1")]
    page = (docs / "bench" / "scaling.md").read_text()
    assert page == capsys.readouterr().out
    assert "## first" in page and "| net 16x1 |" in page
    assert "<svg" in (docs / "bench" / "scaling.svg").read_text()


def test_finished_points_are_kept(docs, monkeypatch):
    docs, asked = docs
    monkeypatch.setattr(scaling_plot, "draw", lambda curves, path: None)
    assert run(docs, "first", "--most", "16", "--no-synthesis") == 0
    assert asked == [("net 8x1", False)]
    assert run(docs, "first", "--no-synthesis") == 0
    assert asked[1:] == [("net 16x1", False)]
    # LUTs are still missing.
    assert run(docs, "first", "--most", "16") == 0
    assert asked[2:] == [("net 8x1", True)]
    assert run(docs, "first", "--no-synthesis") == 0 and len(asked) == 3
    assert run(docs, "first", "--most", "16", "--again") == 0 and len(asked) == 4
    # Another network behind the same name.
    manifest = docs / "net" / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    assert run(docs, "first", "--no-synthesis") == 0 and len(asked) == 6


def test_what_is_wrong_is_status_1(docs, capsys, monkeypatch):
    docs, _ = docs
    monkeypatch.setattr(scaling_plot, "draw", lambda curves, path: None)
    monkeypatch.setattr(scaling, "check", lambda found: [f"{found.row.case}: wrong"])
    assert run(docs, "networks") == 1
    assert capsys.readouterr().err == "error: net 8x1: wrong\n"


def test_bad_input(docs, capsys, monkeypatch):
    docs, asked = docs
    assert run(docs, "none") == 2
    assert capsys.readouterr().err == (
        "error: CURVE must be one of first, networks, not 'none'\n")
    with monkeypatch.context() as without:
        without.setattr(importlib.util, "find_spec", lambda name: None)
        assert run(docs) == 2
    assert "scaling needs matplotlib, which `pip install" in capsys.readouterr().err
    (docs / "bench").mkdir()
    (docs / "bench" / "scaling.json").write_text(json.dumps([]))
    assert run(docs) == 2 and not asked
    assert "must be a result of python -m sim.bench scaling" in capsys.readouterr().err


def test_the_curves_begin_at_16_and_end_at_1024():
    assert [adders(case) for case in CURVES["fashion"]] == [16, 32, 64, 128, 256, 512, 1024]
    assert [adders(case) for case in CURVES["w1"]] == [64, 128, 256, 512, 1024]
    model = random_model(SMALL)
    for curve in ("fashion", "networks"):
        for case in CURVES[curve]:
            geometry = hardware([model], case.hardware_options()).geometry
            assert geometry.lanes * geometry.slots == adders(case)
