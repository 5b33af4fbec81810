# SPDX-License-Identifier: Apache-2.0
"""What a toolchain is: from the sources of a design to a bitstream and its timing."""

import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hw.command import CommandError, progress_bar
from hw.families import Family

LOG_LINES = 20  # of a failed tool that the error message shows


class ToolError(CommandError):
    """A tool failed or is missing; the message ends with its last lines."""


@dataclass(frozen=True)
class Step:
    """A step of a critical path.

    module: the module of ours that holds the cell, such as "core.dispatch.scan0"
    what:   "clk-to-q", "logic", "routing" or "setup"
    """

    module: str
    cell: str
    what: str
    delay_ns: float


@dataclass(frozen=True)
class Timing:
    """What place and route found.

    fmax_mhz:    of the slowest clock
    target_mhz:  what was asked of it
    utilization: cell type: (used, available), after packing
    path:        the critical path of that clock
    note:        what the figure leaves out, or ""
    seconds:     of each tool
    """

    fmax_mhz: float
    target_mhz: float
    utilization: Mapping[str, tuple[int, int]]
    path: Sequence[Step]
    note: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        return self.fmax_mhz >= self.target_mhz

    @property
    def slack_ns(self) -> float:
        """Of the target's period; negative if the target is missed."""
        return 1e3 / self.target_mhz - 1e3 / self.fmax_mhz

    def by_module(self) -> list[tuple[str, float, int]]:
        """The critical path as stretches in one module: module, nanoseconds, levels of logic."""
        stretches: list[tuple[str, float, int]] = []
        for step in self.path:
            level = step.what == "logic"
            if stretches and stretches[-1][0] == step.module:
                module, delay, levels = stretches[-1]
                stretches[-1] = (module, delay + step.delay_ns, levels + level)
            else:
                stretches.append((step.module, step.delay_ns, int(level)))
        return stretches

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"slack_ns": self.slack_ns, "met": self.met}

    def text(self) -> str:
        """Fmax, slack, utilization and critical path, for people."""
        verdict = "met" if self.met else "missed"
        lines = [(f"Fmax {self.fmax_mhz:.1f} MHz, target {self.target_mhz:g} MHz: {verdict}, "
                  f"slack {self.slack_ns:+.2f} ns")]
        if self.note:
            lines.append(self.note)
        lines += [f"  {kind:<18} {used:>7,} of {available:>7,}  {100 * used / available:5.1f}%"
                  for kind, (used, available) in self.utilization.items() if used and available]
        if self.path:
            lines.append(f"critical path, from {self.path[0].cell} to {self.path[-1].cell}:")
            lines += [f"  {module or 'top':<40} {delay:6.2f} ns  {levels} levels"
                      for module, delay, levels in self.by_module()]
        return "\n".join(lines)


class Toolchain(ABC):
    """Turns the files of a board's platform into a bitstream.

    name:   of --toolchain
    family: of the devices it is for
    suffix: of the bitstream
    uses_yosys: it starts from the netlist of `hw.report.synthesize`
    """

    name: str
    family: Family
    suffix = "bit"
    uses_yosys = True

    @abstractmethod
    def missing(self) -> str | None:
        """What must be installed, and how, in one sentence; None if everything is found."""

    @abstractmethod
    def build(self, folder: Path, top: str, part: str, target_mhz: float, cache: Path) -> Timing:
        """From the sources `top`.* in `folder` to the bitstream `top`.`suffix` in it.

        part:  device, package and speed grade as the vendor writes them
        cache: where synthesis results are kept
        Raises ToolError.
        """


def run_tool(command: Sequence[str], folder: Path, log: str, label: str) -> float:
    """Run a tool with its output in the file `log` of `folder`; seconds it took.

    Raises ToolError with the last lines of the log.
    """
    start = time.perf_counter()
    with ((folder / log).open("w") as file, subprocess.Popen(
            [*command], cwd=folder, stdout=file, stderr=subprocess.STDOUT) as process,
          progress_bar(desc=label, bar_format="{desc} {elapsed}") as progress):
        try:
            for _ in _until_done(process):
                progress.refresh()
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        lines = (folder / log).read_text(errors="replace").splitlines()[-LOG_LINES:]
        raise ToolError(f"{label} failed:\n" + "\n".join(lines))
    return time.perf_counter() - start


def _until_done(process: subprocess.Popen[bytes]) -> Iterator[None]:
    while True:
        try:
            process.wait(timeout=1)
            return
        except subprocess.TimeoutExpired:
            yield


def yowasp(module: str, function: str, *arguments: str) -> list[str]:
    """Command line that runs a YoWASP tool with this Python, on whatever PATH."""
    call = f"import sys, {module}; sys.exit({module}.{function}(sys.argv[1:]))"
    return [sys.executable, "-c", call, *arguments]
