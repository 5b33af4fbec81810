# SPDX-License-Identifier: Apache-2.0
"""Weights in single data rate SDRAM of 16 bits: an AXI4 read slave, and writes of the host."""

from dataclasses import dataclass

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.axi import PORT_BITS, ReadPort

WRITE = data.StructLayout({"address": 32, "data": 64})
WORD_BITS = 16
BANK_BITS, ROW_BITS, COLUMN_BITS = 2, 13, 9
ADDRESS_BITS = 1 + COLUMN_BITS + BANK_BITS + ROW_BITS
SIZE = 1 << ADDRESS_BITS
ALL_BANKS = 1 << 10   # on the address pins, with a precharge
CAS_LATENCY = 2
# Bursts of one word, in reading and in writing: a command for each.
MODE = 1 << 9 | CAS_LATENCY << 4
# From a command in its register to the data in ours: registers of the pins, and the chip.
READ_LATENCY = CAS_LATENCY + 1
INIT_REFRESHES = 8
MODE_CYCLES = 2
# Beats that are asked for before they are taken.
BEATS_AHEAD = 16
# At CAS latency 2 data comes 6 ns after the chip's clock and is taken a period after it; 9 ns are
# for the pins' and the board's delays.
MAX_CLOCK_HZ = 66_000_000


@dataclass(frozen=True)
class SdramTimings:
    """Of a chip in nanoseconds; by default those of AS4C16M16SA-7 (data sheet, table 16)."""

    power_up: float = 200_000
    precharge: float = 21
    activate: float = 21          # to a read or write
    active: float = 42            # from activate to precharge, at least
    refresh_cycle: float = 63
    write_recovery: float = 14
    refresh_interval: float = 7_800


class SdramPins(wiring.Signature):
    """To the chip, everything true when high; the command is that of ras, cas and we together."""

    def __init__(self) -> None:
        super().__init__({
            "ras": Out(1), "cas": Out(1), "we": Out(1), "ba": Out(BANK_BITS), "a": Out(ROW_BITS),
            "dq_o": Out(WORD_BITS), "dq_oe": Out(1), "dq_i": In(WORD_BITS)})


class Sdram(wiring.Component):
    """Read bursts and write words of an SDRAM of 4 banks x 8,192 rows x 512 columns x 16 bits.

    The row of the last access stays open.  Refreshes come first, then writes, then reads.  A reset
    keeps the contents, and must last for 16 cycles: commands of before it are done by then.

    port_bits: 64 or 128
    clock_hz:  of `sync` and of the chip, whose clock rises in the middle of our cycle
    Ports: `axi` (the slave's side of `hw.axi.ReadPort`), `writes` (address in bytes, a multiple of
    8, and 8 bytes), `pins`, `ready` (the chip is initialised).
    Latency of a read 7 cycles and a beat where its row is open, 13 and a beat where another one is
    (at 50 MHz); throughput 1.9 bytes a cycle in long bursts.
    Raises ValueError for another port, or a clock above 66 MHz or too slow for refreshes.
    """

    def __init__(self, port_bits: int, clock_hz: int, timings: SdramTimings | None = None) -> None:
        if port_bits not in PORT_BITS:
            raise ValueError(f"port_bits must be {' or '.join(map(str, PORT_BITS))}, "
                             f"not {port_bits!r}")
        if not 10_000_000 <= clock_hz <= MAX_CLOCK_HZ:
            raise ValueError("clock of a design with SDRAM must be 10 to "
                             f"{MAX_CLOCK_HZ / 1e6:g} MHz, not {clock_hz / 1e6:g} MHz")
        self._bits, self._hz = port_bits, clock_hz
        self._timings = timings or SdramTimings()
        super().__init__({"axi": In(ReadPort(port_bits)), "writes": In(stream.Signature(WRITE)),
                          "pins": Out(SdramPins()), "ready": Out(1)})

    def _cycles(self, nanoseconds: float) -> int:
        """Rounded up; of exact products, so that 20 ns at 50 MHz are one."""
        return -(-round(nanoseconds * self._hz) // 1_000_000_000)

    def elaborate(self, platform):
        m = Module()
        timings, pins, axi, writes = self._timings, self.pins, self.axi, self.writes
        precharge, activate, active, refresh, recovery = map(self._cycles, (
            timings.precharge, timings.activate, timings.active, timings.refresh_cycle,
            timings.write_recovery))
        power_up = self._cycles(timings.power_up)
        # Cycles until the next command, until a precharge because of the row's age and of writes.
        wait = Signal(range(max(precharge, activate, refresh) + 1))
        young, wet = Signal(range(active + 1)), Signal(range(recovery + 1))
        # A reset does not wait for power again: rows would be open too long, and none refreshed.
        asleep = Signal(range(power_up + 1), init=power_up, reset_less=True)
        for counter in (wait, young, wet, asleep):
            with m.If(counter != 0):
                m.d.sync += counter.eq(counter - 1)
        m.d.sync += [pins.ras.eq(0), pins.cas.eq(0), pins.we.eq(0), pins.dq_oe.eq(0)]

        def command(ras, cas, we, cycles=1):
            m.d.sync += [pins.ras.eq(ras), pins.cas.eq(cas), pins.we.eq(we), wait.eq(cycles - 1)]

        interval = round(timings.refresh_interval * self._hz) // 1_000_000_000
        m.submodules.due = due = _RefreshTimer(interval)
        m.submodules.reads = reads = _Reads(self._bits)
        wiring.connect(m, wiring.flipped(axi), reads.axi)

        # What comes next: a write or the read under way, and whether its row is open.
        target = Signal(ADDRESS_BITS - 1)
        column, bank, row = (target[:COLUMN_BITS], target[COLUMN_BITS:][:BANK_BITS],
                             target[COLUMN_BITS + BANK_BITS:])
        is_open, open_bank, open_row = Signal(), Signal(BANK_BITS), Signal(ROW_BITS)
        here, word = Signal(), Signal(2)
        m.d.comb += [
            # A write may come while the words of a beat are read.
            target.eq(Mux(writes.valid & ~reads.reading, writes.payload.address[1:ADDRESS_BITS],
                          reads.address)),
            here.eq(is_open & (open_bank == bank) & (open_row == row)),
            reads.dq.eq(pins.dq_i), reads.may_begin.eq(~due.now & ~writes.valid & here),
        ]
        init_left = Signal(range(INIT_REFRESHES + 1), init=INIT_REFRESHES)
        m.d.sync += [pins.ba.eq(bank), pins.a.eq(column)]
        with m.FSM(init="Precharge"):
            with m.State("Precharge"), m.If(Cat(wait, young, wet, asleep) == 0):
                command(1, 0, 1, precharge)
                m.d.sync += [pins.a.eq(ALL_BANKS), is_open.eq(0)]
                m.next = "Idle"
                with m.If(init_left != 0):
                    m.next = "Refresh"
            with m.State("Refresh"), m.If(wait == 0):
                command(1, 1, 0, refresh)
                m.d.comb += due.taken.eq(1)
                m.next = "Idle"
                with m.If(init_left != 0):
                    m.d.sync += init_left.eq(init_left - 1)
                    m.next = "Refresh"
                    with m.If(init_left == 1):
                        m.next = "Mode"
            with m.State("Mode"), m.If(wait == 0):
                command(1, 1, 1, MODE_CYCLES)
                m.d.sync += [pins.a.eq(MODE), pins.ba.eq(0), self.ready.eq(1)]
                m.next = "Idle"
            with m.State("Idle"), m.If(wait == 0):
                with m.If(due.now):
                    m.next = "Refresh"
                    with m.If(is_open):
                        m.next = "Precharge"
                with m.Elif(writes.valid | reads.wants):
                    m.next = "Activate"
                    with m.If(here):
                        m.next = "Read"
                        with m.If(writes.valid):
                            # The chip still drives the data pins while reads are under way.
                            m.next = "Idle"
                            with m.If(~reads.under_way):
                                m.next = "Write"
                    with m.Elif(is_open):
                        m.next = "Precharge"
            with m.State("Activate"):
                command(1, 0, 0, activate)
                m.d.sync += [pins.a.eq(row), is_open.eq(1), open_bank.eq(bank), open_row.eq(row),
                             young.eq(active - 1)]
                m.next = "Idle"
            with m.State("Read"):
                m.d.comb += reads.reading.eq(1)
                with m.If(reads.go):
                    command(0, 1, 0)
                with m.Elif(~reads.full):
                    m.next = "Idle"
            with m.State("Write"):
                words = Array(writes.payload.data[n * WORD_BITS:(n + 1) * WORD_BITS]
                              for n in range(4))
                command(0, 1, 1)
                m.d.sync += [pins.a.eq(Cat(word, column[2:])), pins.dq_o.eq(words[word]),
                             pins.dq_oe.eq(1), word.eq(word + 1), wet.eq(recovery)]
                with m.If(word == 3):
                    m.d.comb += writes.ready.eq(1)
                    m.next = "Idle"
        return m


class _RefreshTimer(wiring.Component):
    """`now`, once in `interval` cycles, until `taken`."""

    def __init__(self, interval: int) -> None:
        self._interval = interval
        super().__init__({"now": Out(1), "taken": In(1)})

    def elaborate(self, platform):
        m = Module()
        count = Signal(range(self._interval))
        with m.If(self.taken):
            m.d.sync += self.now.eq(0)
        m.d.sync += count.eq(count + 1)
        with m.If(count == self._interval - 1):
            m.d.sync += [count.eq(0), self.now.eq(1)]
        return m


class _Reads(wiring.Component):
    """The bursts of the AXI port, word by word.

    Ports: `axi`; `wants`: a burst is under way, whose next word is at `address`; while `reading`,
    `go`: read that word now, where a beat begins only if it `may_begin`; `full`: it waits for the
    master; `under_way`: words are to come; `dq`: they come `READ_LATENCY` cycles after the cycle
    that follows `go`.
    """

    def __init__(self, port_bits: int) -> None:
        self._bits = port_bits
        super().__init__({
            "axi": In(ReadPort(port_bits)), "wants": Out(1), "address": Out(ADDRESS_BITS - 1),
            "reading": In(1), "may_begin": In(1), "go": Out(1), "full": Out(1),
            "under_way": Out(1), "dq": In(WORD_BITS)})

    def elaborate(self, platform):
        m = Module()
        words = self._bits // WORD_BITS
        m.submodules.queue = queue = SyncFIFOBuffered(width=self._bits + 1, depth=BEATS_AHEAD)
        left, word = Signal(9), Signal(range(words))
        room = Signal(range(BEATS_AHEAD + 1), init=BEATS_AHEAD)
        inside, ends = word != 0, word == words - 1
        ar, r = self.axi.ar, self.axi.r
        m.d.comb += [
            self.wants.eq(left != 0), ar.ready.eq(left == 0),
            self.go.eq(self.reading & (inside | self.may_begin & self.wants & (room != 0))),
            self.full.eq(self.may_begin & self.wants & (room == 0)),
        ]
        with m.If(self.go):
            m.d.sync += [self.address.eq(self.address + 1), word.eq(word + 1)]
            with m.If(ends):
                m.d.sync += left.eq(left - 1)
        with m.If(ar.valid & ar.ready):
            m.d.sync += [self.address.eq(ar.payload.addr[1:]), left.eq(ar.payload.len + 1)]
        m.d.sync += room.eq(room - (self.go & ~inside) + (r.valid & r.ready))

        # What each word that is under way is: there, end of a beat, end of a burst.
        coming = Signal(data.ArrayLayout(3, READ_LATENCY + 1))
        m.d.sync += [coming[0].eq(Cat(self.go, self.go & ends, left == 1)),
                     *(coming[n + 1].eq(coming[n]) for n in range(READ_LATENCY))]
        there, beat_ends, last = coming[READ_LATENCY]
        earlier = Signal(self._bits - WORD_BITS)
        with m.If(there):
            m.d.sync += earlier.eq(Cat(earlier, self.dq)[WORD_BITS:])
        m.d.comb += [
            self.under_way.eq(Cat(here[0] for here in coming).any()),
            queue.w_en.eq(beat_ends), queue.w_data.eq(Cat(earlier, self.dq, last)),
            r.valid.eq(queue.r_rdy), queue.r_en.eq(r.ready),
            r.payload.data.eq(queue.r_data[:-1]), r.payload.last.eq(queue.r_data[-1]),
        ]
        return m
