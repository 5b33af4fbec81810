# SPDX-License-Identifier: Apache-2.0
"""The report that every nextpnr writes (--report), read."""

import json
from pathlib import Path
from typing import Any

from hw.toolchains.toolchain import Step, Timing, ToolError


def read_report(path: Path, target_mhz: float, modules: frozenset[str] = frozenset(),
                note: str = "") -> Timing:
    """The slowest clock of a report.

    modules: instance paths of the design, such as "core.dispatch"; a cell is in the longest of them
             that its name begins with
    Raises ToolError for a design without a clock.
    """
    report = json.loads(path.read_text())
    if not report["fmax"]:
        raise ToolError("place and route found no clock: is the design empty?")
    clock, slowest = min(report["fmax"].items(), key=lambda item: item[1]["achieved"])
    utilization = {kind: (cells["used"], cells["available"])
                   for kind, cells in report["utilization"].items()}
    steps: list[Step] = []
    for critical in report["critical_paths"]:
        if clock in critical["from"] and clock in critical["to"]:
            steps = [_step(step, modules) for step in critical["path"]]
    return Timing(slowest["achieved"], target_mhz, utilization, steps, note)


def _step(step: dict[str, Any], modules: frozenset[str]) -> Step:
    # Routing belongs to the module that drives the net, a cell to its own.
    cell = step["from"]["cell"]
    return Step(module_of(cell, modules), cell, step["type"], step["delay"])


def module_of(cell: str, modules: frozenset[str]) -> str:
    """The instance path that a cell's name begins with, "" for the top."""
    parts = cell.split(".")
    for count in range(len(parts) - 1, 0, -1):
        if (path := ".".join(parts[:count])) in modules:
            return path
    return ""


def instances(design: Path, top: str) -> frozenset[str]:
    """Instance paths of all modules below `top` in a netlist of yosys (JSON)."""
    modules = json.loads(design.read_text())["modules"]
    found: set[str] = set()

    def visit(name: str, path: str) -> None:
        for cell, content in modules[name]["cells"].items():
            kind = content["type"]
            if kind in modules and "blackbox" not in modules[kind].get("attributes", {}):
                inner = f"{path}.{cell}" if path else cell
                found.add(inner)
                visit(kind, inner)
    visit(top, "")
    return frozenset(found)
