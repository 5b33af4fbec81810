# SPDX-License-Identifier: Apache-2.0
"""Clock frequency of the accelerator after place and route: `python -m hw.fmax MODEL`."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hw import toolchains
from hw.build import CACHE
from hw.command import Outcome, Parser, doing, execute, note
from hw.compiler import compile_model
from hw.generate import accelerator_verilog
from hw.harness import NAME as HARNESS
from hw.harness import harness
from hw.model import FixedPointModel
from hw.options import add_hardware_options, add_model_argument, describe, hardware, positive
from hw.report import synthesize
from hw.toolchains import Timing

CORE = "accelerator"
CONSTRAINTS = "pins.xdc"
# The goal of the project's 64-lane core is 100 MHz; placers stop early at targets that are easy.
TARGET_MHZ = 150


@dataclass(frozen=True)
class Device:
    """A device to place on.

    part:      as the vendor writes it
    toolchain: name of one with a `place` method
    options:   of its nextpnr
    pins:      of the harness's ports, where place and route wants them
    """

    part: str
    toolchain: str
    options: tuple[str, ...] = ()
    pins: tuple[tuple[str, str], ...] = ()


DEVICES = {"ecp5_85f": Device("LFE5U-85F-8BG381C", "ecp5", ("--lpf-allow-unconstrained",)),
           "xc7a100t": Device("xc7a100tcsg324-1", "xilinx", ("-o", f"xdc={CONSTRAINTS}"),
                              (("clk", "E3"), ("rst", "C12"), ("i", "J15"), ("o", "H17"))),
           "xc7z020": Device("xc7z020clg400-1", "xilinx", ("-o", f"xdc={CONSTRAINTS}"),
                             (("clk", "H16"), ("rst", "M20"), ("i", "M19"), ("o", "R14")))}


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m hw.fmax",
        description="Place and route the accelerator of a model, or one unit of it, between "
                    "registers; print the clock frequency and the critical path by module.")
    add_model_argument(parser)
    parser.add_argument("--device", choices=DEVICES, default="ecp5_85f",
                        help="to place on (default: %(default)s)")
    parser.add_argument("--unit", default="", metavar="PATH",
                        help="only this module, such as dispatch or finish.lif (default: all)")
    parser.add_argument("--mhz", type=float, default=TARGET_MHZ, metavar="F",
                        help="what place and route aims at (default: %(default)s)")
    parser.add_argument("--seed", type=positive, default=1, metavar="N",
                        help="of place and route; the netlist stays (default: %(default)s)")
    add_hardware_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if a tool fails; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    device = DEVICES[arguments.device]
    if (missing := toolchains.get(device.toolchain).missing()) is not None:
        raise ValueError(f"--device {arguments.device} needs tools: {missing}")
    model = FixedPointModel.load(arguments.model)
    program = compile_model(model, hardware([model], arguments))
    note(describe(model, program.hardware))
    with doing("generating Verilog"):
        verilog = accelerator_verilog(program)
    timing = measure(verilog, arguments.unit, device, arguments.mhz, arguments.seed)
    print(f"{arguments.unit or CORE} on {device.part}")
    print(timing.text())
    return Outcome({"unit": arguments.unit or CORE, "part": device.part, **timing.to_dict()})


def measure(verilog: str, unit: str, device: Device, target_mhz: float,
            seed: int = 1) -> Timing:
    """Synthesize, place and route a unit of the accelerator ("" for all of it) in a harness.

    Raises ValueError if there is no such unit, SynthesisError or ToolError if a tool fails.
    """
    toolchain = toolchains.get(device.toolchain)
    module = f"{CORE}.{unit}" if unit else CORE
    source = verilog + "\n" + harness(verilog, module)
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, prefix="fmax-") as temporary:
        folder = Path(temporary)
        (folder / "top.v").write_text(source)
        (folder / CONSTRAINTS).write_text("".join(
            f"set_property {name} {value} [get_ports {port}]\n"
            for port, pin in device.pins
            for name, value in (("LOC", pin), ("IOSTANDARD", "LVCMOS33"))))
        design = folder / f"{HARNESS}.json"
        synthesize(folder / "top.v", HARNESS, CACHE, family=toolchain.family,
                   netlist=design)
        return toolchain.place(design, HARNESS, device.part, target_mhz, [*device.options],
                               seed)


if __name__ == "__main__":
    sys.exit(main())
