# SPDX-License-Identifier: Apache-2.0
"""Weights in DDR3 SDRAM of 16 bits without its DLL: an AXI4 read slave, and writes of the host."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from boards.ddr3_chip import (
    ADDRESS_BITS,
    BURST_CYCLES,
    COMMAND,
    WRITE_LATENCY,
    Ddr3Pins,
    Ddr3Timings,
)
from boards.ddr3_commands import Commands
from boards.ddr3_reads import Capture, Reads
from boards.ddr3_startup import PowerUp, Training
from boards.sdram import WRITE
from hw.axi import PORT_BITS, ReadPort

# The pads run at 4 times the clock; the slowest grade of 7 series takes 394 MHz.
MIN_CLOCK_HZ, MAX_CLOCK_HZ = 25_000_000, 75_000_000


class Ddr3(wiring.Component):
    """Read bursts and write words of a DDR3 chip of 16 bits, 8 banks x 16,384 rows x 1,024 columns.

    The chip's clock is ours, and its DLL is off, which is allowed at such clocks: data then comes
    at any time within some nanoseconds, and `boards.ddr3_startup.Training` finds when.  All
    accesses are whole bursts of 16 bytes; a write masks half of it.  After the training a reset
    keeps the contents, and must last for 16 cycles: commands of before it are done by then.

    port_bits: 64 or 128
    clock_hz:  of `sync` and of the chip
    Ports: `axi` (the slave's side of `hw.axi.ReadPort`), `writes` (address in bytes, a multiple of
    8, and 8 bytes), `pins`, `ready` (the chip is initialised and read right), `failed` (it is not,
    until a reset tries again).
    Latency of a read 20 cycles where its row is open, 22 where another one is (at 50 MHz, where
    data comes 8.5 ns late; a cycle more for each 20 ns); throughput 3.8 bytes a cycle in long
    bursts.
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
        pins = self.pins
        m.submodules.power_up = power_up = PowerUp(self._timings, self._cycles)
        m.submodules.training = training = Training(self._bits)
        m.submodules.reads = reads = Reads(self._bits)
        m.submodules.commands = commands = Commands(self._timings, self._cycles)
        m.submodules.written = written = _WriteData()
        m.submodules.capture = capture = Capture()

        writes = self._masters(m, training, reads.axi)
        m.d.comb += [
            training.start.eq(power_up.done), commands.enable.eq(power_up.done),
            commands.write.eq(writes.valid), writes.ready.eq(commands.writes),
            commands.write_block.eq(writes.payload.address[4:ADDRESS_BITS]),
            commands.read.eq(reads.wants), commands.read_block.eq(reads.address),
            reads.go.eq(commands.reads), commands.reading.eq(capture.under_way),
            written.go.eq(commands.writes), written.word.eq(writes.payload),
            capture.go.eq(commands.reads), capture.position.eq(training.position),
            capture.samples.eq(pins.dq_i), reads.valid.eq(capture.valid),
            reads.block.eq(capture.block),
            self.ready.eq(training.done), self.failed.eq(training.failed)]

        m.d.comb += [pins.rst.eq(power_up.rst), pins.cke.eq(power_up.cke)]
        # A write under way has its data whatever happens here.
        command = Signal(COMMAND, reset_less=True)
        m.d.sync += command.eq(Mux(power_up.done, commands.command, power_up.command))
        m.d.comb += [getattr(pins, name).eq(command[name])
                     for name in ("ras", "cas", "we", "ba", "a")]
        m.d.comb += [getattr(pins, name).eq(getattr(written, name))
                     for name in ("dq_o", "dm_o", "dq_oe", "dqs_o")]
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
    `dqs_o` for the pins, `WRITE_LATENCY` cycles after its command, resets or not.  They are driven
    a cycle longer at both ends, for the strobe's pre- and postamble.
    """

    def __init__(self) -> None:
        pins = Ddr3Pins().members
        super().__init__({"go": In(1), "word": In(WRITE)} | {
            name: pins[name] for name in ("dq_o", "dm_o", "dq_oe", "dqs_o")})

    def elaborate(self, platform):
        m = Module()
        begin = WRITE_LATENCY - 1
        # Bit n: n + 1 cycles after `go`.
        line = Signal(begin + BURST_CYCLES + 1, reset_less=True)
        next_data, next_high = Signal(64, reset_less=True), Signal(reset_less=True)
        data, high = Signal(64, reset_less=True), Signal(reset_less=True)
        strobe, driven = Signal(reset_less=True), Signal(reset_less=True)
        words, mask = Signal(32, reset_less=True), Signal(reset_less=True)
        m.d.sync += line.eq(Cat(self.go, line))
        with m.If(self.go):
            m.d.sync += [next_data.eq(self.word.data), next_high.eq(self.word.address[3])]
        with m.If(line[begin - 1]):
            m.d.sync += [data.eq(next_data), high.eq(next_high)]
        now = line[begin:begin + BURST_CYCLES]
        meant = Mux(high, now[2:].any(), now[:2].any())
        m.d.sync += [
            strobe.eq(now.any()), driven.eq(line[begin - 1:].any()), mask.eq(~meant),
            words.eq(Mux(now[0] | now[2], data[:32], data[32:]))]
        m.d.comb += [self.dqs_o.eq(strobe), self.dq_oe.eq(driven), self.dq_o.eq(words),
                     self.dm_o.eq(mask.replicate(2))]
        return m
