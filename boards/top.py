# SPDX-License-Identifier: Apache-2.0
"""What surrounds the accelerator on a board: bytes from and to a serial line, lights, pins.

To the accelerator: its input samples in their order, each as ceil(input_width / 8) bytes, lowest
first, the bits above input_width ignored.  From it: every output word as 8 bytes, lowest first
(two's complement); `last` is not sent, as the host can count.  No framing and no error detection.
"""

from typing import Any

from amaranth import Cat, Elaboratable, Module, Signal, unsigned
from amaranth.build.run import BuildPlan
from amaranth.lib import io, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from boards.base import Board
from boards.clocking import Clocking
from boards.uart import Receiver, Transmitter, divisor_for
from hw.readout import OUTPUT

BAUD = 1_000_000
WORD_BYTES = 8


class Link(wiring.Component):
    """Byte streams to sample and word streams.

    Ports:
      `rx`       bytes from the host; always ready, since a UART cannot wait
      `tx`       bytes to the host
      `samples`  to the accelerator's input
      `words`    from the accelerator's output
      `busy`     from an inference's first sample until its last word
      `lost`     a byte came when the queue was full; stays until reset
    Latency: a sample follows its last byte by one cycle, a byte its word by one cycle.
    Throughput: a byte per cycle in; out, a word in 9 cycles.  `fifo_depth` bytes wait while the
    accelerator is not ready.
    """

    def __init__(self, input_width: int, fifo_depth: int = 64) -> None:
        for name, value in (("input_width", input_width), ("fifo_depth", fifo_depth)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a positive integer, not {value!r}")
        self.input_width, self.fifo_depth = input_width, fifo_depth
        super().__init__({
            "rx": In(stream.Signature(8, always_ready=True)), "tx": Out(stream.Signature(8)),
            "samples": Out(stream.Signature(unsigned(input_width))),
            "words": In(stream.Signature(OUTPUT)), "busy": Out(1), "lost": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.fifo = fifo = SyncFIFO(width=8, depth=self.fifo_depth)
        m.d.comb += [fifo.w_data.eq(self.rx.payload), fifo.w_en.eq(self.rx.valid)]
        with m.If(self.rx.valid & ~fifo.w_rdy):
            m.d.sync += self.lost.eq(1)

        # Bytes to samples: earlier bytes wait in a shift register, the last one completes them.
        count = -(-self.input_width // 8)
        earlier = Signal(8 * (count - 1))
        index = Signal(range(count))
        complete = index == count - 1
        m.d.comb += [self.samples.valid.eq(fifo.r_rdy & complete),
                     self.samples.payload.eq(Cat(earlier, fifo.r_data)),
                     fifo.r_en.eq(~complete | self.samples.ready)]
        with m.If(fifo.r_rdy & fifo.r_en):
            m.d.sync += [earlier.eq(Cat(earlier, fifo.r_data) >> 8), index.eq(index + 1)]
            with m.If(complete):
                m.d.sync += index.eq(0)

        # Words to bytes.
        word = Signal(8 * WORD_BYTES)
        left = Signal(range(WORD_BYTES + 1))
        m.d.comb += [self.words.ready.eq(left == 0), self.tx.valid.eq(left != 0),
                     self.tx.payload.eq(word[:8])]
        with m.If(self.words.valid & self.words.ready):
            m.d.sync += [word.eq(self.words.payload.data), left.eq(WORD_BYTES)]
        with m.Elif(self.tx.valid & self.tx.ready):
            m.d.sync += [word.eq(word >> 8), left.eq(left - 1)]

        with m.If(self.samples.valid & self.samples.ready):
            m.d.sync += self.busy.eq(1)
        with m.Elif(self.words.valid & self.words.ready & self.words.payload.last):
            m.d.sync += self.busy.eq(0)
        return m


class SerialLink(wiring.Component):
    """`Link` on a serial line of `divisor` cycles a bit.

    Ports: `rx`, `tx` (the line), `samples`, `words`, `busy` (as of `Link`), `error` (a byte was
    lost or had no stop bit; stays until reset).
    """

    def __init__(self, input_width: int, divisor: int) -> None:
        self._receiver, self._transmitter = Receiver(divisor), Transmitter(divisor)
        self._link = Link(input_width)
        super().__init__({
            "rx": In(1, init=1), "tx": Out(1, init=1),
            "samples": Out(stream.Signature(unsigned(input_width))),
            "words": In(stream.Signature(OUTPUT)), "busy": Out(1), "error": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = self._receiver
        m.submodules.link = link = self._link
        m.submodules.transmitter = transmitter = self._transmitter
        wiring.connect(m, receiver.o, link.rx)
        wiring.connect(m, link.tx, transmitter.i)
        wiring.connect(m, link.samples, wiring.flipped(self.samples))
        wiring.connect(m, link.words, wiring.flipped(self.words))

        unstopped = Signal()
        with m.If(receiver.error):
            m.d.sync += unstopped.eq(1)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx),
                     self.busy.eq(link.busy), self.error.eq(link.lost | unstopped)]
        return m


class BoardTop(Elaboratable):
    """The accelerator on a board's serial line and lights.

    core:        component with the ports `i` and `o` of `hw.accelerator.Accelerator`
    input_width: of the core's samples, in bits
    baud:        of the serial line, ValueError if the board's clock cannot make it

    Lights: heartbeat (1 Hz), busy, error (until reset).
    """

    def __init__(self, core: Any, input_width: int, board: Board, baud: int = BAUD) -> None:
        self._core, self._board = core, board
        self._serial = SerialLink(input_width, divisor_for(board.clock_hz, baud))

    def elaborate(self, platform):
        m = Module()
        board = self._board
        if board.clocking is not None:
            generator = board.clocking(board.oscillator_hz, board.clock_hz)
            m.submodules.clocking = Clocking(generator)
        m.submodules.core = core = self._core
        m.submodules.serial = serial = self._serial
        wiring.connect(m, serial.samples, core.i)
        wiring.connect(m, core.o, serial.words)

        uart = platform.request(*board.uart, dir={"rx": "-", "tx": "-"})
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [serial.rx.eq(rx.i), tx.o.eq(serial.tx)]

        timer, heartbeat = Signal(range(board.clock_hz // 2)), Signal()
        m.d.sync += timer.eq(timer - 1)
        with m.If(timer == 0):
            m.d.sync += [timer.eq(board.clock_hz // 2 - 1), heartbeat.eq(~heartbeat)]
        for (name, number), light in zip(board.leds, (heartbeat, serial.busy, serial.error)):
            led = io.Buffer("o", platform.request(name, number, dir="-"))
            m.submodules[f"{name}{number}"] = led
            m.d.comb += led.o.eq(light)
        return m


def build_plan(board: Board, core: Any, input_width: int, baud: int = BAUD,
               name: str = "top") -> BuildPlan:
    """The files that build `BoardTop` for the board: sources, constraints, scripts; no tool is run.

    They are the same wherever the sources lie: no paths of this machine in the Verilog.
    """
    return board.platform().build(BoardTop(core, input_width, board, baud), name=name,
                                  do_build=False, emit_src=False)
