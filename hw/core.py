# SPDX-License-Identifier: Apache-2.0
"""What the accelerator alone takes of a 7 series device, without a board: `python -m hw.core`."""

import argparse
import sys
import tempfile
from pathlib import Path

from hw.build import CACHE
from hw.compiler import compile_model
from hw.generate import accelerator_verilog
from hw.model import SHIPPED_MODEL, FixedPointModel
from hw.options import add_hardware_options, describe, hardware
from hw.report import SynthesisError, hierarchy, hierarchy_table, multipliers, synthesize

TOP = "accelerator"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m hw.core",
        description="Synthesize the accelerator of a model (yosys synth_xilinx -family xc7), "
                    "whatever its size, and print LUTs, FFs and block RAM by module.")
    parser.add_argument("model", nargs="?", type=Path, default=SHIPPED_MODEL, metavar="DIR",
                        help="model directory (default: the shipped digits network)")
    add_hardware_options(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 if yosys fails; 2 for bad input."""
    arguments = build_parser().parse_args(argv)
    try:
        model = FixedPointModel.load(arguments.model)
        program = compile_model(model, hardware([model], arguments))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(describe(model, program.hardware), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        verilog = Path(folder) / "accelerator.v"
        verilog.write_text(accelerator_verilog(program))
        try:
            statistics = synthesize(verilog, TOP, CACHE)
        except SynthesisError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print(hierarchy_table(hierarchy(statistics["netlist"], TOP)))
    print(f"cells that multiply or divide: {multipliers(statistics['rtl'])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
