# SPDX-License-Identifier: Apache-2.0
"""Asynchronous serial line, 8 data bits, no parity, one stop bit (8N1), lowest bit first."""

from amaranth import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

# With fewer cycles a bit, the middle of a bit is not where the receiver looks.
MIN_DIVISOR = 4
# Over the 9.5 bits from the start edge to the middle of the stop bit a receiver may drift by half
# a bit, 5.2 %, and the other end wants a share of that.
MAX_MISMATCH = 0.02


def divisor_for(clock_hz: int, baud: int) -> int:
    """Clock cycles per bit, rounded.

    Raises ValueError for a rate that the clock cannot divide down to within 2 %, or that leaves
    fewer than 4 cycles a bit.
    """
    if not isinstance(baud, int) or baud < 1:
        raise ValueError(f"baud must be a positive integer, not {baud!r}")
    divisor = round(clock_hz / baud)
    if divisor < MIN_DIVISOR or abs(clock_hz / (divisor * baud) - 1) > MAX_MISMATCH:
        raise ValueError(f"baud must be at most {clock_hz // MIN_DIVISOR} and within 2 % of "
                         f"{clock_hz} Hz divided by an integer, not {baud!r}")
    return divisor


def _check_divisor(divisor: int) -> None:
    if not isinstance(divisor, int) or divisor < MIN_DIVISOR:
        raise ValueError(f"divisor must be an integer of at least {MIN_DIVISOR}, not {divisor!r}")


class Receiver(wiring.Component):
    """Line to bytes.

    The start edge sets the phase; every bit is looked at once, in its middle.  A low pulse that is
    over by the middle of the would-be start bit is no byte.  A byte without stop bit is dropped,
    and the line has to be high again before the next.

    Ports:
      `rx`     the line, asynchronous, high when idle
      `o`      bytes; no backpressure: each is there for one cycle, and lost if nobody looks
      `error`  pulse: a byte without stop bit was dropped
    Latency: a byte comes in the middle of its stop bit, 9.5 bits after its start edge, plus two
    cycles of the synchronizer.  Throughput: one byte in 10 bits, back to back.
    """

    def __init__(self, divisor: int) -> None:
        _check_divisor(divisor)
        self.divisor = divisor
        super().__init__({
            "rx": In(1, init=1), "o": Out(stream.Signature(8, always_ready=True)),
            "error": Out(1)})

    def elaborate(self, platform):
        m = Module()
        rx = Signal()
        m.submodules.synchronizer = FFSynchronizer(self.rx, rx, init=1)
        timer, count = Signal(range(self.divisor)), Signal(range(8))
        m.d.sync += timer.eq(timer - 1)
        middle = timer == 0
        with m.If(middle):
            m.d.sync += timer.eq(self.divisor - 1)
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [timer.eq(self.divisor // 2 - 1), count.eq(0)]
                with m.If(~rx):
                    m.next = "Start"
            with m.State("Start"), m.If(middle):
                with m.If(rx):
                    m.next = "Idle"
                with m.Else():
                    m.next = "Data"
            with m.State("Data"), m.If(middle):
                m.d.sync += [self.o.payload.eq(Cat(self.o.payload[1:], rx)), count.eq(count + 1)]
                with m.If(count == 7):
                    m.next = "Stop"
            with m.State("Stop"), m.If(middle):
                m.d.comb += [self.o.valid.eq(rx), self.error.eq(~rx)]
                with m.If(rx):
                    m.next = "Idle"
                with m.Else():
                    m.next = "Break"
            with m.State("Break"), m.If(rx):
                m.next = "Idle"
        return m


class Transmitter(wiring.Component):
    """Bytes to line.

    Ports:
      `i`   bytes; ready when idle and in the last cycle of a stop bit
      `tx`  the line, a register, high when idle
    Latency: the start bit begins in the cycle after the transfer.  Throughput: one byte in
    10 * divisor cycles.
    """

    def __init__(self, divisor: int) -> None:
        _check_divisor(divisor)
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        timer, left = Signal(range(self.divisor)), Signal(range(10))
        # Bits behind the one on the line, stop bit on top.
        rest = Signal(9)
        last = timer == 0
        with m.If(~last):
            m.d.sync += timer.eq(timer - 1)
        with m.Elif(left != 0):
            m.d.sync += [Cat(self.tx, rest).eq(rest), left.eq(left - 1), timer.eq(self.divisor - 1)]
        with m.Else():
            m.d.comb += self.i.ready.eq(1)
            with m.If(self.i.valid):
                m.d.sync += [self.tx.eq(0), rest.eq(Cat(self.i.payload, 1)), left.eq(9),
                             timer.eq(self.divisor - 1)]
        return m
