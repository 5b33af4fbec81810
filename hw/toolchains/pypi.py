# SPDX-License-Identifier: Apache-2.0
"""What the toolchains from PyPI share: yosys and a nextpnr, both built for WebAssembly."""

from abc import abstractmethod
from importlib.util import find_spec
from pathlib import Path

from hw.report import SynthesisError, synthesize
from hw.toolchains.nextpnr import PLACED, instances, keep_floorplan, read_report
from hw.toolchains.toolchain import Timing, Toolchain, ToolError, run_tool, yowasp


class PypiToolchain(Toolchain):
    """yosys, a nextpnr, and what packs its result.

    tool:    the nextpnr's name; its package on PyPI is yowasp-TOOL
    how:     to install it
    options: of it for a board's design, with {top}
    note:    what its timing leaves out, or ""
    """

    tool: str
    how: str
    options: tuple[str, ...]
    note = ""

    @property
    def module(self) -> str:
        """Python module of the nextpnr."""
        return f"yowasp_{self.tool}".replace("-", "_")

    @abstractmethod
    def device(self, part: str) -> list[str]:
        """Options of nextpnr for a device; ValueError for what is none of the family."""

    @abstractmethod
    def packer(self, top: str, part: str) -> tuple[str, list[str]]:
        """Name and command line of what makes the bitstream of nextpnr's result."""

    def missing(self) -> str | None:
        if find_spec(self.module) is None:
            return f"yowasp-{self.tool} is not installed: {self.how}"
        return None

    def build(self, folder: Path, top: str, part: str, target_mhz: float, cache: Path) -> Timing:
        design = folder / f"{top}.json"
        try:
            synthesize(folder / f"{top}.il", top, cache, family=self.family, netlist=design)
        except SynthesisError as error:
            raise ToolError(str(error)) from None
        placed = folder / PLACED.format(top=top)
        timing = self.place(design, top, part, target_mhz, [
            "--write", placed.name, *(option.format(top=top) for option in self.options)])
        name, command = self.packer(top, part)
        timing.seconds[name] = run_tool(command, folder, f"{name}.log", name)
        keep_floorplan(placed, instances(design, top))
        return timing

    def place(self, design: Path, top: str, part: str, target_mhz: float,
              options: list[str], seed: int = 1) -> Timing:
        """Place and route a netlist; options of nextpnr in addition.  Files beside the netlist."""
        folder = design.parent
        report = folder / f"{top}.timing.json"
        command = yowasp(
            self.module, f"run_{self.tool}".replace("-", "_"), *self.device(part),
            "--json", design.name, "--freq", f"{target_mhz:g}", "--report", report.name,
            "--timing-allow-fail", "--seed", str(seed), *options)
        seconds = run_tool(command, folder, "nextpnr.log", self.tool)
        timing = read_report(report, target_mhz, instances(design, top), self.note)
        timing.seconds[self.tool] = seconds
        return timing
