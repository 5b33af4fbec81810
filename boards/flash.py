# SPDX-License-Identifier: Apache-2.0
"""Weights in a quad SPI flash: an AXI4 read slave that holds reads open while addresses continue.

Made for the Spansion/Infineon S25FL family (S25FL128S, S25FL127S), with the commands and the
latency code (00) that the chips have as delivered.
"""

from enum import IntEnum

from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.axi import PORT_BITS, ReadBeat, ReadPort

ADDRESS_BITS = 24
DUMMY_CLOCKS = 8
# Of configuration register 1: all four data pins are used for data.
QUAD = 1
# Of status register 1: a register is being written.
BUSY = 0
# Cycles between two commands: the chip wants 50 ns after a write, 10 ns after a read.
PAUSE_NS = 50
CYCLES_PER_CLOCK = 2
# STARTUPE2 of 7 series passes no clock before the fourth to the chip (UG470).
WAKE_CLOCKS = 4
# Of quad output read at this latency code; ours is half of `sync`.
MAX_CLOCK_HZ = 80_000_000


class Command(IntEnum):
    """Commands that are used."""

    WRITE_REGISTERS = 0x01
    READ_STATUS = 0x05
    WRITE_ENABLE = 0x06
    READ_CONFIGURATION = 0x35
    QUAD_OUTPUT_READ = 0x6B


class FlashPins(wiring.Signature):
    """To the chip; `dq_oe` by pin."""

    def __init__(self) -> None:
        super().__init__({"cs": Out(1), "sck": Out(1), "dq_o": Out(4, init=0b1100),
                          "dq_oe": Out(4, init=0b1101), "dq_i": In(4)})


class Flash(wiring.Component):
    """Read bursts from the flash, at its own addresses.

    After reset, and some clocks that select nothing, it waits until no register is being written,
    which a reset may have left behind, reads the configuration register, and sets the QUAD bit if
    it is not set: once in the life of a chip, as the bit keeps its value.  A burst that begins
    where the one before ended goes on in the same read of the chip, as the clock of the chip
    stands still between them.

    port_bits: 64 or 128
    clock_hz:  of `sync`; the chip's clock is half of it
    Ports: `axi` (the slave's side of `hw.axi.ReadPort`), `pins`, `ready` (bursts are answered).
    Latency 81 cycles and a beat where a read begins, else a beat; throughput a byte in 4 cycles.
    Raises ValueError for another port, or a clock of more than 160 MHz.
    """

    def __init__(self, port_bits: int, clock_hz: int) -> None:
        if port_bits not in PORT_BITS:
            raise ValueError(f"port_bits must be {' or '.join(map(str, PORT_BITS))}, "
                             f"not {port_bits!r}")
        if not 0 < clock_hz <= CYCLES_PER_CLOCK * MAX_CLOCK_HZ:
            raise ValueError("clock of a design with flash must be at most "
                             f"{CYCLES_PER_CLOCK * MAX_CLOCK_HZ / 1e6:g} MHz, "
                             f"not {clock_hz / 1e6:g} MHz")
        self._bits = port_bits
        self._pause = -(-clock_hz * PAUSE_NS // 1_000_000_000) + 1
        super().__init__({"axi": In(ReadPort(port_bits)), "pins": Out(FlashPins()),
                          "ready": Out(1)})

    def elaborate(self, platform):
        m = Module()
        pins = self.pins
        # A command leaves bit by bit on pin 0 while an answer comes on pin 1.
        shift, left, answer = Signal(40), Signal(range(41), init=WAKE_CLOCKS), Signal(8)
        pause, reading = Signal(range(self._pause + 1)), Signal()
        configuration, status = Signal(8), Signal(8)
        m.d.comb += [pins.dq_o.eq(Cat(shift[-1], 0, 1, 1)),
                     # Pins 2 and 3 hold off write protection and hold until they bring data.
                     pins.dq_oe.eq(Mux(reading & (left <= DUMMY_CLOCKS), 0, 0b1101))]
        with m.If(pause != 0):
            m.d.sync += pause.eq(pause - 1)

        def begin(bits, value):
            m.d.sync += [shift.eq(value << 40 - bits), left.eq(bits), pins.cs.eq(1)]

        def clock_bits():
            """The chip samples when its clock rises; its answer is taken when it falls again."""
            m.d.sync += pins.sck.eq(~pins.sck)
            with m.If(pins.sck):
                m.d.sync += [shift.eq(shift << 1), left.eq(left - 1),
                             answer.eq(Cat(pins.dq_i[1], answer))]
            return pins.sck & (left == 1)

        def end():
            m.d.sync += [pins.cs.eq(0), pause.eq(self._pause), reading.eq(0)]

        def step(name, bits, value, following):
            """States of a command; its answer is there in the state that follows."""
            with m.State(name), m.If(pause == 0):
                begin(bits, value)
                m.next = f"{name} bits"
            with m.State(f"{name} bits"), m.If(clock_bits()):
                m.next = f"{name} end"
            with m.State(f"{name} end"):
                end()
                m.next = following

        address, first = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        m.d.comb += first.eq(self.axi.ar.payload.addr)
        m.submodules.data = data = _Beats(self._bits)
        m.d.comb += [data.dq.eq(pins.dq_i), data.length.eq(self.axi.ar.payload.len)]
        wiring.connect(m, data.r, wiring.flipped(self.axi.r))
        with m.FSM(init="Wake"):
            with m.State("Wake"):
                m.d.sync += pins.sck.eq(~pins.sck)
                with m.If(pins.sck):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.next = "Poll"
            step("Configuration", 16, Command.READ_CONFIGURATION << 8, "Quad")
            with m.State("Quad"):
                m.d.sync += configuration.eq(answer)
                m.next = "Status"
                with m.If(answer[QUAD]):
                    m.next = "Idle"
            step("Status", 16, Command.READ_STATUS << 8, "Keep")
            with m.State("Keep"):
                m.d.sync += status.eq(answer)
                m.next = "Enable"
            step("Enable", 8, Command.WRITE_ENABLE, "Write")
            step("Write", 24, Cat(configuration | 1 << QUAD, status,
                                  Const(Command.WRITE_REGISTERS, 8)), "Poll")
            step("Poll", 16, Command.READ_STATUS << 8, "Polled")
            with m.State("Polled"):
                m.next = "Configuration"
                with m.If(answer[BUSY]):
                    m.next = "Poll"
            with m.State("Idle"):
                m.d.comb += self.ready.eq(1)
                with m.If(self.axi.ar.valid & (pause == 0)):
                    m.d.comb += [self.axi.ar.ready.eq(1), data.start.eq(1)]
                    m.d.sync += [address.eq(first), reading.eq(1)]
                    begin(40, Cat(Const(0, DUMMY_CLOCKS), first,
                                  Const(Command.QUAD_OUTPUT_READ, 8)))
                    m.next = "Command"
            with m.State("Command"), m.If(clock_bits()):
                m.next = "Data"
            with m.State("Data"):
                m.d.comb += self.ready.eq(1)
                with m.If(data.wants):
                    m.d.sync += pins.sck.eq(~pins.sck)
                    m.d.comb += data.take.eq(pins.sck)
                with m.If(data.beat_end):
                    m.d.sync += address.eq(address + self._bits // 8)
                with m.If(~data.busy & self.axi.ar.valid):
                    m.next = "Close"
                    with m.If(first == address):
                        m.d.comb += [self.axi.ar.ready.eq(1), data.start.eq(1)]
                        m.next = "Data"
            with m.State("Close"):
                end()
                m.next = "Idle"
        return m


class _Beats(wiring.Component):
    """Four bits at a time to the beats of a burst.

    Ports: `start` (pulse, while not `busy`) with `length`, beats - 1; `dq` is taken when `take`,
    which may only come while `wants`; `beat_end` with the last of a beat; `r`.
    """

    def __init__(self, port_bits: int) -> None:
        self._bits = port_bits
        super().__init__({
            "start": In(1), "length": In(8), "dq": In(4), "take": In(1), "wants": Out(1),
            "beat_end": Out(1), "busy": Out(1), "r": Out(stream.Signature(ReadBeat(port_bits)))})

    def elaborate(self, platform):
        m = Module()
        left = Signal(9)
        count, collected = Signal(range(self._bits // 4)), Signal(self._bits - 4)
        beat = Signal(self._bits)
        final = count == self._bits // 4 - 1
        m.d.comb += [
            beat.eq(Cat(collected, self.dq)), self.busy.eq(left != 0),
            self.beat_end.eq(self.take & final),
            self.wants.eq(self.busy & ~(final & self.r.valid & ~self.r.ready)),
        ]
        with m.If(self.r.ready):
            m.d.sync += self.r.valid.eq(0)
        with m.If(self.take):
            m.d.sync += [collected.eq(beat[4:]), count.eq(count + 1)]
        with m.If(self.beat_end):
            # The chip sends the high half of a byte first.
            m.d.sync += [left.eq(left - 1), count.eq(0), self.r.valid.eq(1),
                         self.r.payload.last.eq(left == 1),
                         self.r.payload.data.eq(Cat(beat[place:place + 4]
                                                    for byte in range(0, self._bits, 8)
                                                    for place in (byte + 4, byte)))]
        with m.If(self.start):
            m.d.sync += left.eq(self.length + 1)
        return m
