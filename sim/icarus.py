# SPDX-License-Identifier: Apache-2.0
"""Icarus Verilog, a second simulator for the cocotb tests of `sim.units`: `python -m sim.icarus`.

It is interpreted and slow, and has the value X: what depends on a register without an initial
value becomes an error.  The command unpacks it into a cache.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.command import Outcome, Parser, execute
from hw.toolchains import packages
from sim.build import Design
from sim.toolchain import ToolError, cocotb_libraries

PACKAGE = "iverilog"
HOW = "make tools-icarus unpacks it"
# The name by which vvp finds a library of its interface: its suffix is not that of cocotb's file.
LIBRARY = "cocotb"


@dataclass(frozen=True)
class Icarus:
    """Where it is.

    programs: folder of iverilog and vvp
    parts:    folder of its parts, if they are not where it was built for
    """

    programs: Path
    parts: Path | None = None

    def compile(self, design: Design, folder: Path) -> Path:
        """Translate a design in `folder`; ToolError with its first complaint."""
        files = [folder / name for name in design.sources]
        for file, text in zip(files, design.sources.values()):
            file.write_text(text)
        target = folder / "design.vvp"
        # Of 2005: as SystemVerilog it sets initial values before any `always @*` looks, which then
        # never sees a change, and what they assign stays X.
        where = [f"-B{self.parts}"] if self.parts else []
        run = subprocess.run(
            [str(self.programs / "iverilog"), *where, "-g2005", "-s", design.toplevel,
             *(f"-P{design.toplevel}.{name}={value}" for name, value in design.parameters.items()),
             "-o", str(target), *map(str, files)], capture_output=True, text=True, check=False)
        if run.returncode:
            raise ToolError(f"iverilog failed: {(run.stderr.strip().splitlines() or ['?'])[0]}")
        return target

    def command(self, target: Path, environment: Mapping[str, str],
                arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """What runs a compiled design under cocotb, and its environment."""
        libraries, _ = cocotb_libraries()
        link = target.with_name(f"{LIBRARY}.vpi")
        link.symlink_to(libraries / "libcocotbvpi_icarus.so")
        where = [f"-M{self.parts}"] if self.parts else []
        command = [str(self.programs / "vvp"), *where, f"-M{target.parent}", f"-m{LIBRARY}",
                   str(target), *arguments]
        searched = os.pathsep.join(filter(None, (str(libraries),
                                                 environment.get("LD_LIBRARY_PATH"))))
        return command, {**environment, "LD_LIBRARY_PATH": searched}


def find_icarus() -> Icarus | None:
    """The system's, else that of the cache, else None."""
    if (installed := shutil.which("iverilog")) and shutil.which("vvp"):
        return Icarus(Path(installed).parent)
    root = packages.cache_folder("icarus")
    parts = next(root.glob("usr/lib/*/ivl"), None)
    return parts and Icarus(root / "usr/bin", parts)


def build_parser() -> Parser:
    return Parser(prog="python -m sim.icarus",
                                   description="Unpack Icarus Verilog into a cache.")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if apt fails; 2 if something is missing."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    if find_icarus() is None:
        packages.provide("Icarus Verilog", [PACKAGE], packages.cache_folder("icarus"))
    found = find_icarus()
    print(f"Icarus Verilog is there: {found.programs}")
    return Outcome({"programs": found.programs})


if __name__ == "__main__":
    sys.exit(main())
