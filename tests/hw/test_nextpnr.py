# SPDX-License-Identifier: Apache-2.0
"""nextpnr's report, and what `Timing` says of it."""

import json

import pytest

from hw.toolchains.nextpnr import (
    FLOORPLAN,
    instances,
    keep_floorplan,
    module_of,
    placement,
    read_report,
)
from hw.toolchains.toolchain import ToolError

MODULES = frozenset({"core", "core.dispatch", "core.dispatch.scan0"})


def step(kind, delay, cell, to):
    return {"type": kind, "delay": delay, "from": {"cell": cell, "port": "Q"},
            "to": {"cell": to, "port": "D"}}


REPORT = {
    "fmax": {"clk": {"achieved": 80.0, "constraint": 100.0},
             "fast": {"achieved": 300.0, "constraint": 100.0}},
    "utilization": {"LUT": {"used": 5, "available": 10}, "DSP": {"used": 0, "available": 3}},
    "critical_paths": [
        {"from": "posedge fast", "to": "posedge fast", "path": []},
        {"from": "posedge clk", "to": "posedge clk", "path": [
            step("clk-to-q", 0.5, "core.dispatch.scan0.a", "core.dispatch.scan0.a"),
            step("routing", 1.0, "core.dispatch.scan0.a", "core.dispatch.b"),
            step("logic", 2.0, "core.dispatch.b", "core.dispatch.b"),
            step("setup", 0.25, "core.dispatch.c", "core.dispatch.c")]},
        {"from": "<async>", "to": "posedge clk", "path": []}]}


@pytest.fixture
def report(tmp_path):
    def write(content):
        path = tmp_path / "report.json"
        path.write_text(json.dumps(content))
        return path
    return write


def test_the_slowest_clock_counts(report):
    timing = read_report(report(REPORT), 100, MODULES, "(a note)")
    assert (timing.fmax_mhz, timing.met, timing.slack_ns) == (80, False, pytest.approx(-2.5))
    assert timing.by_module() == [("core.dispatch.scan0", 1.5, 0), ("core.dispatch", 2.25, 1)]
    assert timing.utilization == {"LUT": (5, 10), "DSP": (0, 3)}
    text = timing.text()
    assert text.startswith("Fmax 80.0 MHz, target 100 MHz: missed, slack -2.50 ns\n(a note)\n")
    assert "DSP" not in text
    assert "critical path, from core.dispatch.scan0.a to core.dispatch.c:\n" in text
    assert json.loads(json.dumps(timing.to_dict()))["fmax_mhz"] == 80


def test_a_target_that_is_met(report):
    timing = read_report(report(REPORT), 50)
    assert timing.met and "met, slack +7.50 ns" in timing.text()


def test_a_design_without_a_clock(report):
    with pytest.raises(ToolError, match=r"^place and route found no clock: is the design empty\?$"):
        read_report(report({"fmax": {}, "utilization": {}, "critical_paths": []}), 50)


@pytest.mark.parametrize("cell, module", [
    ("core.dispatch.scan0.x_LUT4_Z", "core.dispatch.scan0"), ("core.dispatch.scan01.x",
                                                              "core.dispatch"),
    ("core.y", "core"), ("z", ""), ("other.z", "")])
def test_module_of(cell, module):
    assert module_of(cell, MODULES) == module


def test_instances(tmp_path):
    leaf = {"cells": {"l": {"type": "LUT4"}}}
    design = {"modules": {
        "top": {"cells": {"core": {"type": "top.core"}, "buf": {"type": "LUT4"}}},
        "top.core": {"cells": {"a": {"type": "leaf"}, "b": {"type": "leaf"}}}, "leaf": leaf,
        "LUT4": {"cells": {}, "attributes": {"blackbox": "1"}}}}
    path = tmp_path / "design.json"
    path.write_text(json.dumps(design))
    assert instances(path, "top") == {"core", "core.a", "core.b"}


def placed(**bels):
    return {"modules": {"top": {"cells": {
        name.replace("__", "."): {"attributes": {"NEXTPNR_BEL": bel} if bel else {}}
        for name, bel in bels.items()}}}}


def test_placement():
    design = placed(core__a="X9/Y35/SLICEC.K1", core__b="X9/Y35/SLICEA.FF0", core__d="",
                    core__dispatch__c="X1Y2/SLICE_X0Y0.D6LUT", top="X67/Y0/TDCC0",
                    core__e="X10/Y3/SLICEA.K0")
    assert placement(design, MODULES) == {
        "": [(67, 0, 1)], "core": [(9, 35, 2), (10, 3, 1)], "core.dispatch": [(1, 2, 1)]}


def test_the_floorplan_takes_the_place_of_the_design(tmp_path):
    path = tmp_path / "top.placed.json"
    path.write_text(json.dumps(placed(core__a="X9/Y35/SLICEC.K1")))
    keep_floorplan(path, MODULES)
    assert [each.name for each in tmp_path.iterdir()] == [FLOORPLAN]
    assert json.loads((tmp_path / FLOORPLAN).read_text()) == {"modules": {"core": [[9, 35, 1]]}}


def test_quotes_that_nextpnr_does_not_escape(tmp_path):
    path = tmp_path / "top.placed.json"
    text = json.dumps(placed(core__a="X9/Y35/SLICEC.K1", core__b="LVCMOS33"), indent=2)
    path.write_text(text.replace('"LVCMOS33"', '""LVCMOS33""'))
    keep_floorplan(path, MODULES)
    assert json.loads((tmp_path / FLOORPLAN).read_text()) == {"modules": {"core": [[9, 35, 1]]}}


def test_what_is_no_json_gives_no_floorplan(tmp_path):
    path = tmp_path / "top.placed.json"
    path.write_text('{"modules": "')
    keep_floorplan(path, MODULES)
    assert not list(tmp_path.iterdir())
