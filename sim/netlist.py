# SPDX-License-Identifier: Apache-2.0
"""Netlists after synthesis, run on held-out images beside the RTL: `python -m sim.netlist`.

What a synthesizer made of the accelerator, in LUTs, flip-flops and RAMs of an FPGA or in standard
cells and SRAM macros, must answer every image with the same logits, counters and cycles as the RTL,
and with the logits, additions and saturations of the golden model.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import boards
from hw.asic.target import asic_program
from hw.build import choose_hardware
from hw.command import Outcome, Parser, doing, execute, note
from hw.compiler import Program, compile_model
from hw.families import XC7
from hw.model import SHIPPED_MODEL, FixedPointModel, Samples
from hw.options import positive
from hw.toolchains.cells import HOW, find_library
from quantize.golden import GoldenModel
from sim.build import CACHE, Design, build
from sim.design import MEMORY
from sim.inputs import check_inputs, prepare
from sim.netlist_sources import Netlist, asic_netlist, board_netlist, rtl_netlist
from sim.run import DEFAULT_LATENCY, WATCHDOG_CYCLES, SimulationError
from sim.trace import read_outputs

BOARD = "arty_a7"
TESTBENCH = Path(__file__).with_name("netlist.sv")


def run(netlist: Netlist, program: Program, inputs: np.ndarray, gaps: int = 0, seed: int = 1,
        cache: Path = CACHE) -> np.ndarray:
    """Output words of each inference, int64 [n, words]: `hw.readout`.

    inputs: integer raw values as `sim.run.Simulator.start` takes them
    gaps:   not 0: seed of pauses at input and output
    seed:   of the contents of all registers and memories that have none at power-up

    Raises ValueError for unsuitable inputs, SimulationError if the netlist hangs, ToolError.
    """
    inputs = check_inputs(program, inputs)
    hardware = program.hardware
    heading = "`define DUT accelerator\n" + f"`define CONNECTIONS {netlist.connections()}\n"
    sources = {"netlist.v": netlist.text, "netlist.sv": TESTBENCH.read_text()}
    if hardware.streamed:
        heading += "`define WEIGHT_PORT\n"
        sources["axi_ram.sv"] = MEMORY.read_text()
    sources["netlist.sv"] = heading + sources["netlist.sv"]
    executable = build(Design(sources=sources, toplevel="netlist", cocotb=False, random=True,
                              parameters={"INPUT_BITS": hardware.input_width,
                                          "PORT_BITS": hardware.port_bits or 64}), cache)
    with tempfile.TemporaryDirectory(prefix="spikeloom-") as temporary:
        folder = Path(temporary)
        arguments = [*prepare(program, inputs, folder), f"+gaps={gaps}",
                     f"+latency={DEFAULT_LATENCY}", "+stalls=0", f"+watchdog={WATCHDOG_CYCLES}",
                     "+verilator+rand+reset+2", f"+verilator+seed+{seed}"]
        done = subprocess.run([str(executable), *arguments], cwd=folder, capture_output=True,
                              text=True, check=False)
        try:
            outputs = read_outputs(folder / "outputs")
        except (FileNotFoundError, ValueError):
            tail = (done.stdout + done.stderr).strip().splitlines()[-1:] or ["no message"]
            raise SimulationError(f"the simulator must end by itself, but died with: {tail[0]}"
                                  ) from None
    if outputs.stalled:
        raise SimulationError(f"the netlist hangs: {outputs.samples} samples went in and "
                              f"{len(outputs.data)} words came out by cycle {outputs.cycles}")
    return outputs.data.reshape(len(inputs), -1)


def expected(program: Program, inputs: np.ndarray) -> np.ndarray:
    """The words of the golden model, cycles as -1."""
    rows = []
    for layers in GoldenModel(program.model).run(inputs):
        counters = [value for layer in layers for value in (layer.acs, -1, layer.saturations)]
        rows.append([*layers[-1].logits.tolist(), *counters])
    return np.array(rows, np.int64)


def differences(words: np.ndarray, rtl: np.ndarray, golden: np.ndarray) -> tuple[int, int]:
    """How many words differ from those of the RTL, and from those of the golden model."""
    return int((words != rtl).sum()), int(((words != golden) & (golden != -1)).sum())


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim.netlist",
        description="Synthesize the accelerator of a model, simulate the netlist on held-out "
                    "images and compare every output word with the RTL and with the golden model.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--board", metavar="NAME",
                      help=f"a board of 7 series: the netlist of its build ({BOARD})")
    what.add_argument("--target", choices=("asic",), help="standard cells and SRAM macros")
    parser.add_argument("--liberty", type=Path, metavar="FILE",
                        help="for --target asic: cells (default: those of make tools-asic)")
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, metavar="DIR",
                        help="model directory of python -m quantize (the shipped digits network)")
    parser.add_argument("--lanes", type=positive, metavar="N", help="as of hw.build")
    parser.add_argument("--banks", type=positive, metavar="N", help="as of hw.build")
    parser.add_argument("--samples", type=positive, default=1, metavar="N",
                        help="held-out images (%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if the netlist hangs or differs, or yosys fails; 2 for bad input."""
    return execute(build_parser(), compare_netlist, argv)


def compare_netlist(arguments: argparse.Namespace) -> Outcome:
    samples = Samples.load(arguments.model)
    inputs, labels = samples.inputs[:arguments.samples], samples.labels
    start = time.perf_counter()
    program, netlist = _synthesized(arguments)
    note(f"synthesized in {time.perf_counter() - start:.1f} s")
    with doing("simulating the RTL"):
        rtl = run(rtl_netlist(program), program, inputs)
    start = time.perf_counter()
    with doing("simulating the netlist"):
        words = run(netlist, program, inputs)
    note(f"netlist simulated in {time.perf_counter() - start:.1f} s, the simulator's compilation "
         "included")
    classes = program.model.network.num_classes
    for number, row in enumerate(words):
        print(f"image {number}: the netlist predicts {int(row[:classes].argmax())}, the RTL "
              f"{int(rtl[number, :classes].argmax())}, true label {labels[number]}; "
              f"{int(row[classes + 1::3].sum()):,} cycles in layers")
    by_rtl, by_golden = differences(words, rtl, expected(program, inputs))
    print(f"of {words.size} words {by_rtl} differ from the RTL, {by_golden} from the golden model")
    return Outcome({"words": words.size, "differ_from_rtl": by_rtl,
                    "differ_from_golden": by_golden}, int(bool(by_rtl or by_golden)))


def _synthesized(arguments: argparse.Namespace) -> tuple[Program, Netlist]:
    if arguments.target == "asic":
        liberty = arguments.liberty or find_library()
        if liberty is None:
            raise ValueError(f"--target asic needs a standard-cell library: {HOW}")
        program = asic_program(arguments.model, arguments.lanes, arguments.banks)
        return program, asic_netlist(program, liberty)
    board = boards.get(arguments.board or BOARD)
    if board.family is not XC7:
        raise ValueError("--board must be of 7 series, whose cells have models here, "
                         f"not {arguments.board!r}")
    model = FixedPointModel.load(arguments.model)
    program = compile_model(model, choose_hardware(model, arguments, board))
    return program, board_netlist(program, board)


if __name__ == "__main__":
    sys.exit(main())
