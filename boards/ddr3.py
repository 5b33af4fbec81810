# SPDX-License-Identifier: Apache-2.0
"""Weights in DDR3 SDRAM of 16 bits without its DLL: an AXI4 read slave, and writes of the host."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from boards.ddr3_chip import (
    ADDRESS_BITS,
    ALL_BANKS,
    BANK_BITS,
    BLOCK_BITS,
    BURST_CYCLES,
    COLUMN_BITS,
    ROW_BITS,
    TURN_CYCLES,
    WRITE_LATENCY,
    Ddr3Pins,
    Ddr3Timings,
)
from boards.ddr3_reads import Capture, Reads
from boards.ddr3_startup import PowerUp, Training
from boards.sdram import WRITE
from hw.axi import PORT_BITS, ReadPort

# The pads run at 4 times the clock; the slowest grade of 7 series takes 394 MHz.
MIN_CLOCK_HZ, MAX_CLOCK_HZ = 25_000_000, 75_000_000
# Between writes: their data waits in one register until that of the one before has gone.
WRITE_CYCLES = BURST_CYCLES + 1


class Ddr3(wiring.Component):
    """Read bursts and write words of a DDR3 chip of 16 bits, 8 banks x 16,384 rows x 1,024 columns.

    The chip's clock is ours, and its DLL is off, which is allowed at such clocks: data then comes
    at any time within some nanoseconds, and `boards.ddr3_startup.Training` finds when.  All
    accesses are whole bursts of 16 bytes; a write masks half of it.  The row of the last access
    stays open.  Refreshes come first, then writes, then reads.  After the training a reset keeps
    the contents, and must last for 16 cycles: commands of before it are done by then.

    port_bits: 64 or 128
    clock_hz:  of `sync` and of the chip
    Ports: `axi` (the slave's side of `hw.axi.ReadPort`), `writes` (address in bytes, a multiple of
    8, and 8 bytes), `pins`, `ready` (the chip is initialised and read right), `failed` (it is not,
    until a reset tries again).
    Latency of a read 19 cycles where its row is open, 22 where another one is (at 50 MHz, plus the
    delay of board and chip, in whole cycles); throughput 3.8 bytes a cycle in long bursts.
    Raises ValueError for another port or clock.
    """

    def __init__(self, port_bits: int, clock_hz: int, timings: Ddr3Timings | None = None) -> None:
        if port_bits not in PORT_BITS:
            raise ValueError(f"port_bits must be {' or '.join(map(str, PORT_BITS))}, "
                             f"not {port_bits!r}")
        if not MIN_CLOCK_HZ <= clock_hz <= MAX_CLOCK_HZ:
            raise ValueError(f"clock of a design with DDR3 must be {MIN_CLOCK_HZ / 1e6:g} to "
                             f"{MAX_CLOCK_HZ / 1e6:g} MHz, not {clock_hz / 1e6:g} MHz")
        self._bits, self._hz = port_bits, clock_hz
        self._timings = timings or Ddr3Timings()
        super().__init__({"axi": In(ReadPort(port_bits)), "writes": In(stream.Signature(WRITE)),
                          "pins": Out(Ddr3Pins()), "ready": Out(1), "failed": Out(1)})

    def _cycles(self, nanoseconds: float) -> int:
        """Rounded up; of exact products, so that 20 ns at 50 MHz are one."""
        return -(-round(nanoseconds * self._hz) // 1_000_000_000)

    def elaborate(self, platform):
        m = Module()
        timings, pins = self._timings, self.pins
        m.submodules.power_up = power_up = PowerUp(timings, self._cycles)
        m.submodules.training = training = Training(self._bits)
        m.submodules.reads = reads = Reads(self._bits)
        m.submodules.capture = capture = Capture()
        m.submodules.data = written = _WriteData()
        m.d.comb += [
            training.start.eq(power_up.done), self.ready.eq(training.done),
            self.failed.eq(training.failed), capture.position.eq(training.position),
            capture.samples.eq(pins.dq_i), capture.go.eq(reads.go),
            reads.valid.eq(capture.valid), reads.block.eq(capture.block)]
        writes = self._masters(m, training, reads.axi)
        m.d.comb += written.word.eq(writes.payload)
        m.d.comb += [pins.rst.eq(power_up.rst), pins.cke.eq(power_up.cke)]
        for name in ("dq_o", "dm_o", "dq_oe", "dqs_o"):
            m.d.comb += getattr(pins, name).eq(getattr(written, name))

        # What comes next, and whether its row is open.  A reset does not know: it begins with a
        # refresh, and that with a precharge.
        target = Mux(writes.valid, writes.payload.address[4:ADDRESS_BITS], reads.address)
        column, bank, row = (target[:COLUMN_BITS - 3], target[COLUMN_BITS - 3:][:BANK_BITS],
                             target[COLUMN_BITS - 3 + BANK_BITS:BLOCK_BITS])
        is_open, open_bank, open_row = Signal(init=1), Signal(BANK_BITS), Signal(ROW_BITS)
        here = Signal()
        m.d.comb += here.eq(is_open & (open_bank == bank) & (open_row == row))
        interval = round(timings.refresh_interval * self._hz) // 1_000_000_000
        age, due = Signal(range(interval)), Signal(init=1)
        m.d.sync += age.eq(Mux(age == interval - 1, 0, age + 1))
        with m.If(age == interval - 1):
            m.d.sync += due.eq(1)

        # Cycles until the next command, a precharge because of the row's age, and what a write's
        # data must come before.
        precharge, activate, active, refresh, recovery = map(self._cycles, (
            timings.precharge, timings.activate, timings.active, timings.refresh_cycle,
            timings.write_recovery))
        dry = WRITE_LATENCY + BURST_CYCLES + max(TURN_CYCLES, recovery)
        wait = Signal(range(max(refresh, WRITE_CYCLES, precharge, activate)))
        young, wet = Signal(range(active)), Signal(range(dry))
        for counter in (wait, young, wet):
            with m.If(counter != 0):
                m.d.sync += counter.eq(counter - 1)

        def command(ras, cas, we, cycles):
            m.d.sync += [pins.ras.eq(ras), pins.cas.eq(cas), pins.we.eq(we), wait.eq(cycles - 1)]

        m.d.sync += [Cat(pins.ras, pins.cas, pins.we).eq(0), pins.ba.eq(bank),
                     pins.a.eq(column << 3)]
        with m.If(~power_up.done):
            m.d.sync += [getattr(pins, name).eq(power_up.command[name])
                         for name in ("ras", "cas", "we", "ba", "a")]
        with m.Elif(wait == 0):
            closes = is_open & (due | ((writes.valid | reads.wants) & ~here))
            with m.If(closes), m.If((young == 0) & (wet == 0)):
                command(1, 0, 1, precharge)
                m.d.sync += [pins.a.eq(ALL_BANKS), is_open.eq(0)]
            with m.Elif(due):
                command(1, 1, 0, refresh)
                m.d.sync += due.eq(0)
            with m.Elif((writes.valid | reads.wants) & ~here):
                command(1, 0, 0, activate)
                m.d.sync += [pins.a.eq(row), is_open.eq(1), open_bank.eq(bank), open_row.eq(row),
                             young.eq(active - 1)]
            # The chip still drives the data pins while reads are under way.
            with m.Elif(writes.valid), m.If(~capture.under_way):
                command(0, 1, 1, WRITE_CYCLES)
                m.d.comb += [writes.ready.eq(1), written.go.eq(1)]
                m.d.sync += wet.eq(dry - 1)
            with m.Elif(reads.wants & (wet == 0)):
                command(0, 1, 0, BURST_CYCLES)
                m.d.comb += reads.go.eq(1)
        return m

    def _masters(self, m, training, axi):
        """The training's port until it is done, then the world's; returns the words to write."""
        writes = stream.Signature(WRITE).create()
        for master in (training.axi, self.axi):
            m.d.comb += master.r.payload.eq(axi.r.payload)
        for condition, port, words in ((~training.done, training.axi, training.writes),
                                       (training.done, self.axi, self.writes)):
            with m.If(condition):
                m.d.comb += [
                    axi.ar.payload.eq(port.ar.payload), axi.ar.valid.eq(port.ar.valid),
                    port.ar.ready.eq(axi.ar.ready), port.r.valid.eq(axi.r.valid),
                    axi.r.ready.eq(port.r.ready), writes.payload.eq(words.payload),
                    writes.valid.eq(words.valid), words.ready.eq(writes.ready)]
        return writes


class _WriteData(wiring.Component):
    """The data of writes at their time, 8 of the 16 bytes of a burst, in both halves.

    Ports: `go` (a write was decided, of `word`), at least 5 cycles apart; `dq_o`, `dm_o`, `dq_oe`,
    `dqs_o` for the pins, `WRITE_LATENCY` cycles after its command.  They are driven a cycle longer
    at both ends, for the strobe's pre- and postamble.
    """

    def __init__(self) -> None:
        pins = Ddr3Pins().members
        super().__init__({"go": In(1), "word": In(WRITE)} | {
            name: pins[name] for name in ("dq_o", "dm_o", "dq_oe", "dqs_o")})

    def elaborate(self, platform):
        m = Module()
        begin = WRITE_LATENCY - 1
        # Bit n: n + 1 cycles after `go`.
        line = Signal(begin + BURST_CYCLES + 1)
        next_data, next_high = Signal(64), Signal()
        data, high = Signal.like(next_data), Signal.like(next_high)
        m.d.sync += line.eq(Cat(self.go, line))
        with m.If(self.go):
            m.d.sync += [next_data.eq(self.word.data), next_high.eq(self.word.address[3])]
        with m.If(line[begin - 1]):
            m.d.sync += [data.eq(next_data), high.eq(next_high)]
        now = line[begin:begin + BURST_CYCLES]
        meant = Mux(high, now[2:].any(), now[:2].any())
        m.d.sync += [
            self.dqs_o.eq(now.any()), self.dq_oe.eq(line[begin - 1:].any()),
            self.dq_o.eq(Mux(now[0] | now[2], data[:32], data[32:])),
            self.dm_o.eq((~meant).replicate(2))]
        return m
