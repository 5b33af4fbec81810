# SPDX-License-Identifier: Apache-2.0
"""A whole board in simulation, and its real host beside it: `python -m sim.board`.

The board's system (`boards.top.System`: UART, link, accelerator), or with weights in a memory chip
the board's whole top and a model of the chip (`sim.board_top`), runs in Verilator as a process of
its own.  Its line ends in a pseudo terminal, which `boards.host` opens as it opens a serial port.
What the board answers is compared with the golden integer model.
"""

import argparse
import contextlib
import os
import pty
import select
import subprocess
import sys
import tempfile
import threading
import time
import tty
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import boards
from boards.base import BLOCK_RAM
from boards.driver import Answer, RemoteBoard
from boards.host import infer, load, load_samples
from boards.memory import check_room
from boards.serial_port import LinkError, SerialPort
from boards.top import BAUD, System
from hw.accelerator import Accelerator
from hw.build import choose_hardware
from hw.command import Outcome, Parser, doing, execute, note
from hw.compiler import Program, compile_model
from hw.config import TALLY_BITS
from hw.falling_reads import FallingReads
from hw.generate import component_verilog
from hw.identity import Identity
from hw.model import FixedPointModel
from hw.options import add_spill_options, positive
from quantize.golden import GoldenModel, LayerResult
from sim.board_top import (
    DIVISOR,
    SILENCE,
    build_top_simulator,
    inlined,
    simulator_arguments,
)
from sim.build import CACHE, Design, build
from sim.noise import Noise

# On a busy machine the simulator is slow; where nothing is lost, waiting for it costs nothing.
REPLY_SECONDS, PATIENCE_SECONDS = 1.0, 10.0
SHOWN = 10


def build_simulator(program: Program, clock_hz: int = 0, cache: Path = CACHE,
                    memories: Any = None) -> Path:
    """The program that is a board's system around the accelerator; ToolError as of `sim.build`.

    memories: the platform that makes them, where it is not Amaranth
    """
    identity = Identity.of(program, clock_hz)
    system = System(Accelerator(program.hardware, program.memory), identity, DIVISOR, SILENCE)
    return build(Design(sources={"board.v": component_verilog(system, "board", memories)},
                        toplevel="board", parameters={}, cocotb=False, main=inlined("board.cpp")),
                 cache)


def line_noise(rate: float, seed: int = 0) -> tuple[Noise, Noise]:
    """Of both directions of a line, each on its own; ValueError for a rate that is none."""
    return Noise(rate, 2 * seed), Noise(rate, 2 * seed + 1)


class SimulatedBoard:
    """A board's system in a process, with a pseudo terminal as its line; a context manager.

    simulator: of `build_simulator`, or of `build_top_simulator`
    noises:    what the line suffers to the board, and to the host
    arguments: of the simulator
    path:      of the terminal, for `SerialPort`
    status:    of the simulator, once it has ended: not 0 if the memory chip was used wrongly
    """

    def __init__(self, simulator: Path, noises: tuple[Noise, Noise] | None = None,
                 arguments: Sequence[str] = (str(DIVISOR),)) -> None:
        self._command, self.noises = [simulator, *arguments], noises or line_noise(0)
        self.path, self.status = "", 0

    def __enter__(self) -> "SimulatedBoard":
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, bufsize=0)
        self._stop, self._wake = os.pipe()
        self._relay = threading.Thread(target=self._carry, daemon=True)
        self._relay.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        os.close(self._wake)
        self._relay.join()
        self._process.stdin.close()
        try:
            self.status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.status = self._process.wait()
        self._process.stdout.close()
        for descriptor in (self._stop, self._master, self._slave):
            if descriptor is not None:
                os.close(descriptor)

    def _carry(self) -> None:
        """Bytes both ways, until the end of `_stop` or of the simulator, which hangs up."""
        down, up = self._process.stdin.fileno(), self._process.stdout.fileno()
        to_board, to_host = self.noises
        while True:
            ready, _, _ = select.select([self._master, up, self._stop], [], [])
            if self._stop in ready:
                return
            with contextlib.suppress(BrokenPipeError):
                if self._master in ready:
                    _write(down, to_board.apply(os.read(self._master, 1 << 12)))
                if up in ready:
                    data = os.read(up, 1 << 12)
                    if not data:
                        os.close(self._master)
                        self._master = None
                        return
                    _write(self._master, to_host.apply(data))


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data):]


def differences(answer: Answer, golden: list[LayerResult],
                tally_bits: int = TALLY_BITS) -> list[str]:
    """What an answer has wrong, one sentence each: logits, AC and saturation counters.

    tally_bits: of the counters, which stay at their largest value
    """
    largest = (1 << tally_bits) - 1
    wrong = [f"logit of class {number} must be {expected}, not {got}"
             for number, (expected, got) in enumerate(zip(golden[-1].logits, answer.logits,
                                                          strict=True)) if expected != got]
    for result, (acs, _, saturations) in zip(golden, answer.counters, strict=True):
        for what, expected, got in (("AC", min(result.acs, largest), acs),
                                    ("saturation", min(result.saturations, largest),
                                     saturations)):
            if expected != got:
                wrong.append(f"{what} counter of {result.name} must be {expected}, not {got}")
    return wrong


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim.board",
        description="Simulate a board from its serial line on, let the real host infer on it, and "
                    "compare with the golden model.")
    parser.add_argument("model", nargs="?", type=Path, metavar="DIR",
                        help="model directory (default: that of the board)")
    parser.add_argument("--board", default="arty_a7", metavar="NAME",
                        help="whose hardware is simulated: " + ", ".join(boards.NAMES))
    parser.add_argument("--weights", default=BLOCK_RAM, metavar="MEMORY",
                        help="where they are: block_ram, or a chip of the board, flash, sdram or "
                             "ddr3, which is simulated too, with the board's whole top (default: "
                             "%(default)s)")
    parser.add_argument("--lanes", type=positive, metavar="N",
                        help="as of python -m hw.build, and so are the defaults")
    parser.add_argument("--banks", type=positive, metavar="N", help="likewise")
    add_spill_options(parser)
    parser.add_argument("--samples", type=positive, default=10, metavar="N",
                        help="held-out images (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=0, metavar="P",
                        help="probability that a byte of the line is flipped, dropped, repeated, "
                             "or comes with garbage (default: 0)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise")
    parser.add_argument("--serve", action="store_true",
                        help="infer nothing: print the port for python -m boards.host, and run "
                             "until interrupted")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if results are missing or wrong or the chip is misused; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    board = boards.get(arguments.board)
    if board.peripheral:
        raise ValueError("--board must have a serial line of its own, "
                         f"not {arguments.board!r}")
    memory = board.memory(arguments.weights)
    if arguments.model is None:
        arguments.model = board.model
    model = FixedPointModel.load(arguments.model)
    inputs = load_samples(arguments.model, arguments.samples)
    noises = line_noise(arguments.noise, arguments.seed)
    program = compile_model(model, choose_hardware(model, arguments, board, memory))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        words = [str(DIVISOR)]
        with doing("generating and compiling the simulator"):
            if memory is None:
                falling = issubclass(board.platform, FallingReads)
                simulator = build_simulator(program, board.clock_hz,
                                            memories=FallingReads() if falling else None)
            else:
                check_room(memory, program)
                simulator = build_top_simulator(program, board, memory)
                image = Path(folder) / "weights.bin"
                image.write_bytes(program.stream)
                words = simulator_arguments(board, memory, image)
        note(f"simulator ready after {time.perf_counter() - start:.1f} s")
        with SimulatedBoard(simulator, noises, words) as simulated:
            if arguments.serve:
                serve(simulated)
                return Outcome()
            writable = memory is not None and not memory.loader
            outcome = demonstrate(simulated, model, inputs, program.stream if writable else b"",
                                  program.hardware.tally_bits)
        return replace(outcome, status=outcome.status or int(simulated.status != 0))


def serve(simulated: SimulatedBoard) -> None:
    """Wait for an interrupt."""
    print(f"python -m boards.host --port {simulated.path} samples 1", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def demonstrate(simulated: SimulatedBoard, model: FixedPointModel, inputs: Any,
                image: bytes = b"", tally_bits: int = TALLY_BITS) -> Outcome:
    """Write the image of the weights, if any, infer and compare; what the host reports as failed is
    counted as such.  tally_bits: as of `differences`.
    """
    with doing("golden model"):
        golden = GoldenModel(model).run(np.stack(inputs.values))
    noisy = any(noise.rate for noise in simulated.noises)
    start = time.perf_counter()
    try:
        with SerialPort(simulated.path, BAUD) as port:
            waits = {"reply": REPLY_SECONDS} if noisy else dict.fromkeys(
                ("reply", "quiet"), PATIENCE_SECONDS)
            board = RemoteBoard(port, model, timeout=60, **waits)
            if image:
                load(board, 0, image)
                board.reset()
                note(f"{time.perf_counter() - start:.1f} s to load the weights")
            answers = infer(board, model, inputs, go_on=noisy)
    except LinkError as error:   # what the chips say of it is still to come
        print(f"error: {error}", file=sys.stderr)
        return Outcome({"error": str(error)}, 1)
    note(f"{time.perf_counter() - start:.1f} s")
    if noisy:
        for name, noise in zip(("to the board", "to the host"), simulated.noises):
            print(f"damage on the line {name}: {noise}")
    wrong = [f"{name}: {sentence}" for name, answer, results in zip(inputs.names, answers, golden)
             if answer is not None for sentence in differences(answer, results, tally_bits)]
    print("\n".join(wrong[:SHOWN]), end="\n" if wrong else "")
    failed = answers.count(None)
    print(f"{len(answers) - failed} results, {f'{failed} reported as failed, ' if failed else ''}"
          f"{len(wrong)} mismatches")
    return Outcome({"results": len(answers) - failed, "failed": failed, "mismatches": len(wrong),
                    "first_mismatches": wrong[:SHOWN]}, int(bool(wrong)))


if __name__ == "__main__":
    sys.exit(main())
