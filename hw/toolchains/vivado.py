# SPDX-License-Identifier: Apache-2.0
"""Xilinx's own tools, where they are installed: the script of Amaranth's platform, run."""

import re
import shutil
from pathlib import Path

from hw.families import XC7
from hw.toolchains.toolchain import Step, Timing, Toolchain, ToolError, run_tool

# "WNS(ns) TNS(ns) ..." is followed by a line of dashes and one of figures.
_SLACK = re.compile(r"WNS\(ns\).*\n[ -]+\n\s*(-?[\d.]+)")
_UTILIZATION = re.compile(
    r"^\| (Slice LUTs|Slice Registers|Block RAM Tile|DSPs)\*? +\|([^|\n]*(?:\|[^|\n]*)+)\|$", re.M)


class Vivado(Toolchain):
    """`vivado` of the PATH."""

    name, family, uses_yosys = "vivado", XC7, False

    def missing(self) -> str | None:
        if shutil.which("vivado") is None:
            return "vivado must be on the PATH: install AMD's Vivado and source its settings64.sh"
        return None

    def build(self, folder: Path, top: str, part: str, target_mhz: float, cache: Path) -> Timing:
        seconds = run_tool(["vivado", "-mode", "batch", "-nojournal", "-log", "vivado.log",
                            "-source", f"{top}.tcl"], folder, "vivado.out", "vivado")
        if not (folder / f"{top}.bit").is_file():
            raise ToolError(f"vivado wrote no {top}.bit: {(folder / 'vivado.out').read_text()}")
        return read_reports(folder, top, target_mhz, seconds)


def read_reports(folder: Path, top: str, target_mhz: float, seconds: float) -> Timing:
    """Timing and utilization from the reports of Amaranth's script; ToolError without them."""
    summary = folder / f"{top}_timing.rpt"
    text = summary.read_text() if summary.is_file() else ""
    if (match := _SLACK.search(text)) is None:
        raise ToolError(f"vivado left no slack in {summary.name}")
    fmax = 1e3 / (1e3 / target_mhz - float(match[1]))
    used: dict[str, tuple[int, int]] = {}
    utilization = folder / f"{top}_utilization_place.rpt"
    if utilization.is_file():
        for row in _UTILIZATION.finditer(utilization.read_text()):
            columns = [column.strip() for column in row[2].split("|")]
            used[row[1]] = (round(float(columns[0])), round(float(columns[-2])))
    path: list[Step] = []  # vivado's own report holds it
    return Timing(fmax, target_mhz, used, path, f"critical path: see {summary.name}",
                  {"vivado": seconds})
