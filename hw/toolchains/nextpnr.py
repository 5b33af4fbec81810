# SPDX-License-Identifier: Apache-2.0
"""What every nextpnr writes, read: its report (--report) and the placed design (--write)."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from hw.toolchains.toolchain import Step, Timing, ToolError

# The design with its places and wires, until it is packed.
PLACED = "{top}.placed.json"
FLOORPLAN = "floorplan.json"
# Names of ECP5 are such as X9/Y35/SLICEC.K1, those of 7 series X33Y39/SLICE_X0Y0.D6LUT.
_PLACE = re.compile(r"X(\d+)/?Y(\d+)/")
# It writes strings from constraint files with their quotes, and does not escape them.
_QUOTED = re.compile(r': ""(.*)""(,?)$', re.MULTILINE)


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


def placement(design: Mapping[str, Any],
              modules: frozenset[str]) -> dict[str, list[tuple[int, int, int]]]:
    """Where the cells of each module are: x and y of a tile, and how many cells it has there.

    design:  a placed design, contents of the file of --write
    modules: as for `read_report`; cells of the top come under ""
    """
    found: dict[str, Counter[tuple[int, int]]] = {}
    for module in design["modules"].values():
        for name, cell in module["cells"].items():
            if match := _PLACE.match(str(cell["attributes"].get("NEXTPNR_BEL", ""))):
                place = int(match[1]), int(match[2])
                found.setdefault(module_of(name, modules), Counter())[place] += 1
    return {path: sorted((x, y, count) for (x, y), count in places.items())
            for path, places in sorted(found.items())}


def keep_floorplan(placed: Path, modules: frozenset[str]) -> None:
    """Make `FLOORPLAN` beside a placed design, {"modules": `placement`}, and remove the design,
    which is large.  None where it is not JSON.
    """
    text = _QUOTED.sub(r': "\1"\2', placed.read_text())
    placed.unlink()
    # A picture less is no reason to fail a bitstream.
    with suppress(json.JSONDecodeError):
        content = {"modules": placement(json.loads(text), modules)}
        placed.with_name(FLOORPLAN).write_text(json.dumps(content) + "\n")


def instances(design: Path, top: str) -> frozenset[str]:
    """Instance paths of all modules below `top` in a netlist of yosys (JSON).

    Of a flattened design yosys keeps a cell for each module that there was.
    """
    modules = json.loads(design.read_text())["modules"]
    found: set[str] = set()

    def visit(name: str, path: str) -> None:
        for cell, content in modules[name]["cells"].items():
            kind = content["type"]
            if kind in modules and "blackbox" not in modules[kind].get("attributes", {}):
                inner = f"{path}.{cell}" if path else cell
                found.add(inner)
                visit(kind, inner)
            elif kind == "$scopeinfo":
                found.add(cell)
    visit(top, "")
    return frozenset(found)
