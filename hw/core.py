# SPDX-License-Identifier: Apache-2.0
"""What the accelerator alone takes of a 7 series device, without a board: `python -m hw.core`."""

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hw.build import CACHE
from hw.command import Outcome, Parser, doing, execute, note
from hw.compiler import compile_model
from hw.generate import accelerator_verilog
from hw.model import FixedPointModel
from hw.options import add_hardware_options, add_model_argument, describe, hardware
from hw.report import hierarchy, hierarchy_table, multipliers, synthesize

TOP = "accelerator"
LANE = re.compile(r"\.lanes\.lane\d+$")


def core_statistics(verilog: str, mapped: bool = True, cache: Path = CACHE) -> dict[str, Any]:
    """`hw.report.synthesize` of the text of an accelerator; SynthesisError as there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{TOP}.v"
        path.write_text(verilog)
        return synthesize(path, TOP, cache, mapped)


def adders(rtl: Mapping[str, Any], top: str = TOP) -> int:
    """Adders in the lanes, counted in the hierarchy of modules as written: what the lanes can add
    in a cycle, as each adder of a tree takes one weight more, and the accumulator the sum of all.
    """
    modules = {name.removeprefix("\\"): module["num_cells_by_type"]
               for name, module in rtl["modules"].items()}

    def count(name: str) -> int:
        cells = modules[name]
        own = int(cells.get("$add", 0)) if LANE.search(name) else 0
        return own + sum(int(number) * count(child) for kind, number in cells.items()
                         if (child := kind.removeprefix("\\")) in modules)

    return count(top)


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m hw.core",
        description="Synthesize the accelerator of a model (yosys synth_xilinx -family xc7), "
                    "whatever its size, and print LUTs, FFs and block RAM by module.")
    add_model_argument(parser)
    add_hardware_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if yosys fails; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    model = FixedPointModel.load(arguments.model)
    program = compile_model(model, hardware([model], arguments))
    note(describe(model, program.hardware))
    with doing("generating Verilog"):
        verilog = accelerator_verilog(program)
    statistics = core_statistics(verilog)
    modules, multiplying = hierarchy(statistics["netlist"], TOP), multipliers(statistics["rtl"])
    print(hierarchy_table(modules))
    print(f"adders in the lanes: {adders(statistics['rtl']):,}")
    print(f"cells that multiply or divide: {multiplying}")
    return Outcome({"hardware": program.hardware.to_dict(), "modules": modules,
                    "adders": adders(statistics["rtl"]), "multipliers": multiplying})


if __name__ == "__main__":
    sys.exit(main())
