# SPDX-License-Identifier: Apache-2.0
"""Commands of `boards.ddr3` once its chip is initialised: rows, refreshes, reads and writes."""

from collections.abc import Callable

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from boards.ddr3_chip import (
    ALL_BANKS,
    BANK_BITS,
    BLOCK_BITS,
    BURST_CYCLES,
    COLUMN_BITS,
    COMMAND,
    ROW_BITS,
    TURN_CYCLES,
    WRITE_LATENCY,
    Ddr3Timings,
)

# Between writes: their data waits in one register until that of the one before has gone.
WRITE_CYCLES = BURST_CYCLES + 1


class Commands(wiring.Component):
    """What the chip is told next, where a read or a write of a block is wanted.

    Refreshes come first, then writes, then reads.  The row of the last access stays open.  After a
    reset, which does not know what is open, all is closed and refreshed.

    timings, cycles: of the chip, and of nanoseconds
    Ports: `enable`; `write`, `read` (a block is to be accessed) at `write_block`, `read_block`;
    `writes`, `reads`: in this cycle it is; `reading`: blocks are under way; `command`.
    Latency none; throughput a read in 4 cycles, a write in 5.
    """

    def __init__(self, timings: Ddr3Timings, cycles: Callable[[float], int]) -> None:
        self._timings, self._cycles = timings, cycles
        block = In(BLOCK_BITS)
        super().__init__({
            "enable": In(1), "write": In(1), "write_block": block, "read": In(1),
            "read_block": block, "writes": Out(1), "reads": Out(1), "reading": In(1),
            "command": Out(COMMAND)})

    def elaborate(self, platform):
        m = Module()
        timings, cycles = self._timings, self._cycles
        precharge, activate, active, refresh, recovery = map(cycles, (
            timings.precharge, timings.activate, timings.active, timings.refresh_cycle,
            timings.write_recovery))
        # From a write to a read or a precharge.
        dry = WRITE_LATENCY + BURST_CYCLES + max(TURN_CYCLES, recovery)
        # Cycles until the next command, until the row may be closed, and until writes are over.
        wait = Signal(range(max(refresh, WRITE_CYCLES, precharge, activate)))
        young, wet = Signal(range(active)), Signal(range(dry))
        for counter in (wait, young, wet):
            with m.If(counter != 0):
                m.d.sync += counter.eq(counter - 1)
        interval = cycles(timings.refresh_interval) - 1   # rounded up, less one: in time
        age, due = Signal(range(interval)), Signal(init=1)
        m.d.sync += age.eq(Mux(age == interval - 1, 0, age + 1))
        with m.If(age == interval - 1):
            m.d.sync += due.eq(1)

        target = Signal(BLOCK_BITS)
        bank, row = target[COLUMN_BITS - 3:][:BANK_BITS], target[COLUMN_BITS - 3 + BANK_BITS:]
        is_open, open_bank, open_row = Signal(init=1), Signal(BANK_BITS), Signal(ROW_BITS)
        wanted, elsewhere = self.write | self.read, Signal()
        m.d.comb += [
            target.eq(Mux(self.write, self.write_block, self.read_block)),
            elsewhere.eq(wanted & ~(is_open & (open_bank == bank) & (open_row == row))),
            self.command.ba.eq(bank), self.command.a.eq(target[:COLUMN_BITS - 3] << 3)]

        def command(ras, cas, we, after):
            m.d.comb += [self.command.ras.eq(ras), self.command.cas.eq(cas),
                         self.command.we.eq(we)]
            m.d.sync += wait.eq(after - 1)

        # What is decided goes out although a reset begins; during one there is nothing to decide.
        awake = Signal()
        m.d.sync += awake.eq(1)
        with m.If(~self.enable | ~awake | (wait != 0)):
            pass
        with m.Elif(is_open & (due | elsewhere)), m.If((young == 0) & (wet == 0)):
            command(1, 0, 1, precharge)
            m.d.comb += self.command.a.eq(ALL_BANKS)
            m.d.sync += is_open.eq(0)
        with m.Elif(due):
            command(1, 1, 0, refresh)
            m.d.sync += due.eq(0)
        with m.Elif(elsewhere):
            command(1, 0, 0, activate)
            m.d.comb += self.command.a.eq(row)
            m.d.sync += [is_open.eq(1), open_bank.eq(bank), open_row.eq(row), young.eq(active - 1)]
        # The chip still drives the data pins while blocks are under way.
        with m.Elif(self.write), m.If(~self.reading):
            command(0, 1, 1, WRITE_CYCLES)
            m.d.comb += self.writes.eq(1)
            m.d.sync += wet.eq(dry - 1)
        with m.Elif(self.read & (wet == 0)):
            command(0, 1, 0, BURST_CYCLES)
            m.d.comb += self.reads.eq(1)
        return m
