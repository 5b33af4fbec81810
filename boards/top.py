# SPDX-License-Identifier: Apache-2.0
"""What surrounds the accelerator on a board: the link on a serial line, lights, pins, the clock."""

from typing import Any

from amaranth import Cat, Const, Elaboratable, Module, ResetInserter, Signal
from amaranth.build.run import BuildPlan
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from boards.base import Board
from boards.clocking import Clocking
from boards.link import Link
from boards.uart import Receiver, Transmitter, divisor_for
from hw.identity import Identity

BAUD = 1_000_000
# A USB host may pause for some milliseconds inside a frame.
SILENCE_SECONDS = 0.05


class System(wiring.Component):
    """The accelerator on a serial line: all of a board that is not pins or clock.

    core:     component with the ports `i` and `o` of `hw.accelerator.Accelerator`, and if
              `identity.writable` with `writes` of `boards.memory.StreamedCore`; its `loaded`,
              `bad_image`, `faults` and `dead_memory`, as far as it has them, become the flags of
              the status
    identity: of the core
    divisor:  cycles a bit, at least 4
    silence:  cycles after which a frame that stops is given up

    Ports: `rx`, `tx` (the line), `busy`, `error` (a bad frame, or a byte without stop bit; stays
    until reset).
    """

    def __init__(self, core: Any, identity: Identity, divisor: int, silence: int) -> None:
        self._core, self._identity = core, identity
        self._receiver, self._transmitter = Receiver(divisor), Transmitter(divisor)
        self._link = Link(identity, silence)
        super().__init__({
            "rx": In(1, init=1), "tx": Out(1, init=1), "busy": Out(1), "error": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = self._receiver
        m.submodules.link = link = self._link
        m.submodules.transmitter = transmitter = self._transmitter
        m.submodules.core = ResetInserter(link.reset)(self._core)
        wiring.connect(m, receiver.o, link.rx)
        wiring.connect(m, link.samples, self._core.i)
        wiring.connect(m, self._core.o, link.words)
        wiring.connect(m, link.tx, transmitter.i)
        if self._identity.writable:
            wiring.connect(m, link.writes, self._core.writes)
        core, there = self._core, self._core.signature.members
        if "faults" in there:
            image = Cat(core.loaded, core.bad_image) if "loaded" in there else Const(0, 2)
            dead = core.dead_memory if "dead_memory" in there else Const(0, 1)
            m.d.comb += link.flags.eq(Cat(image, core.faults, dead))

        unstopped = Signal()
        with m.If(receiver.error):
            m.d.sync += unstopped.eq(1)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx),
                     self.busy.eq(link.busy), self.error.eq(link.error | unstopped)]
        return m


class BoardTop(Elaboratable):
    """`System` on a board's serial line and lights.

    core, identity: as of `System`
    baud:        of the serial line, ValueError if the board's clock cannot make it
    silence:     seconds after which a frame that stops is given up

    Lights: heartbeat (1 Hz), busy, error (until reset).
    """

    def __init__(self, core: Any, identity: Identity, board: Board, baud: int = BAUD,
                 silence: float = SILENCE_SECONDS) -> None:
        self._board = board
        self._system = System(core, identity, divisor_for(board.clock_hz, baud),
                              round(board.clock_hz * silence))

    def elaborate(self, platform):
        m = Module()
        board = self._board
        if board.clocking is not None:
            generator = board.clocking(board.oscillator_hz, board.clock_hz)
            m.submodules.clocking = clocking = Clocking(generator)
            m.domains += clocking.domains
        m.submodules.system = system = self._system

        uart = platform.request(*board.uart, dir={"rx": "-", "tx": "-"})
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [system.rx.eq(rx.i), tx.o.eq(system.tx)]

        timer, heartbeat = Signal(range(board.clock_hz // 2)), Signal()
        m.d.sync += timer.eq(timer - 1)
        with m.If(timer == 0):
            m.d.sync += [timer.eq(board.clock_hz // 2 - 1), heartbeat.eq(~heartbeat)]
        for (name, number), light in zip(board.leds, (heartbeat, system.busy, system.error)):
            led = io.Buffer("o", platform.request(name, number, dir="-"))
            m.submodules[f"{name}{number}"] = led
            m.d.comb += led.o.eq(light)
        return m


def build_plan(board: Board, core: Any, identity: Identity, baud: int = BAUD, name: str = "top",
               silence: float = SILENCE_SECONDS) -> BuildPlan:
    """The files that build `BoardTop` for the board: sources, constraints, scripts; no tool is run.

    They are the same wherever the sources lie: no paths of this machine in the Verilog.
    """
    return board.platform().build(BoardTop(core, identity, board, baud, silence), name=name,
                                  do_build=False, emit_src=False)
