# SPDX-License-Identifier: Apache-2.0
"""Dispatch: lines of spikes to one event per bank and cycle, group by group."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.gather import EventLine, LineOrigin
from hw.isa import INTERVAL_BITS, Instruction, bits_for, last_of
from hw.layout import LINE_WORDS
from hw.scan import TAG_BITS, Scan


class Events(data.StructLayout):
    """One cycle of work for the lanes.

    rows:   by event slot (port of a bank: bank * ports + port), the weight row to add; 0 (the
            all-zero row) where there is no event
    count:  events among them; with `beside` those of the even position, and `odd_count` of the odd
    close:  these events open a new group, the sum before them is complete
    shift:  these events open a new bit plane, the sum before them doubles, and changes its sign if
            `negate`
    fork:   the sum before these events is kept, and goes on; resume: besides `close`, the new group
            starts from the kept sum
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        slots = hardware.geometry.slots
        super().__init__({
            "rows": data.ArrayLayout(unsigned(bits_for(hardware.weight_rows)), slots),
            "count": unsigned(bits_for(slots)), "close": 1, "shift": 1, "negate": 1,
        } | ({"odd_count": unsigned(bits_for(slots))} if hardware.beside else {})
          | ({"fork": 1, "resume": 1} if hardware.pairs else {}))


def tap_turn(kernel_row: int, column: int, banks: int) -> int:
    """By how many banks the channels of a tap are moved on."""
    return (kernel_row + column) % banks


class Dispatch(wiring.Component):
    """Feed the lanes with one event for each port of each bank and cycle, never mixing two groups.

    Channel c of a word belongs to bank c % banks; from tap to tap of a 3x3 convolution the
    banks move on by one (`tap_turn`), since a channel that is set at one tap is likely to be
    set at the others. A bank that has finished its part of a group waits for the others; the
    group closes in the cycle in which the next one's events issue, so a change of group costs
    nothing unless the group had no event at all (one cycle). The finish pipeline needs
    `last_interval` cycles for a group; on average groups close no faster, but two may follow
    each other closely, since one can wait. With `samples` the bit planes of a sum join in the
    lanes: only its last one closes, the others shift, as soon as they can. With `pairs` three
    groups belong to a pair of positions: the first forks, the second closes and the third
    resumes from the fork.

    Throughput: `slots` events per cycle.  Latency from `i` to `o`: 7 cycles.
    Ports: `instruction`, `i` (lines of `Gather`), `o` (one `Events` each cycle; zero rows, count
    and close when there is nothing to do); with streamed weights `loading` (by bank: its second
    port writes in the next cycle); with a spilled residual stream `permit` (the finish
    pipeline can take the group), `last_tile` (that it is in), `closed` (pulse: it was taken).
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)),
            "i": In(stream.Signature(EventLine(hardware))),
            "o": Out(stream.Signature(Events(hardware), always_valid=True, always_ready=True)),
        } | ({"loading": In(hardware.geometry.banks)} if hardware.streamed else {})
          | ({"permit": In(1), "last_tile": Out(1), "closed": Out(1)}
             if hardware.spills_residual else {}))

    def elaborate(self, platform):
        m = Module()
        banks, spills = self._hardware.geometry.banks, self._hardware.spills_residual
        ins = self.instruction
        scans = [Scan(self._hardware) for _ in range(banks)]
        for e, scan in enumerate(scans):
            m.submodules[f"scan{e}"] = scan

        # Lines in: the slices of all banks, and of which there is any spike, in a register.
        line, size = self.i.payload, self._hardware.geometry.slice_bits
        cut = [Signal(scan.i.payload.shape()["bits"].shape, name=f"cut{e}")
               for e, scan in enumerate(scans)]
        some, full, enter = Signal(banks), Signal(), Signal()
        origin = Signal(LineOrigin(self._hardware))
        m.d.comb += self.i.ready.eq(~full | enter)
        turns = [Signal(range(banks), name=f"turn{n}") for n in range(LINE_WORDS)]
        slices = []   # by word and bank
        for n, (turn, word) in enumerate(zip(turns, line.words, strict=True)):
            column = (n - line.first)[:2]
            last = tap_turn(2, LINE_WORDS - 1, 1 << 8)
            m.d.comb += turn.eq(Mux(ins.kernel3, Array(k % banks for k in range(last + 1))[
                line.kernel_row + column], 0))
            # The last slices of a word may have one channel less.
            parts = [Cat(word[e::banks], Const(0, size - len(word[e::banks])))
                     for e in range(banks)]
            slices.append([Array(parts[(e - k) % banks] for k in range(banks))[turn]
                           for e in range(banks)])
        with m.If(self.i.ready):
            m.d.sync += [full.eq(self.i.valid),
                         *(origin[name].eq(line[name]) for name, _ in origin.shape())]
            for e in range(banks):
                bits = Cat(slices[n][e] for n in range(LINE_WORDS))
                m.d.sync += [cut[e].eq(bits), some[e].eq(bits.any())]

        # Each slice that is not empty to the queue of its bank, numbered by its group.
        in_tag, tag = Signal(TAG_BITS), Signal(TAG_BITS)
        # Whether all banks and the numbers have room, in one register: Gather's whole pipeline and
        # the spike memory's enable hang on it.
        following, room = Signal(TAG_BITS), Signal(init=1)
        m.d.comb += [following.eq(in_tag + (enter & origin.last)), enter.eq(full & room)]
        # One number stays free, so that equal numbers always mean the same group.
        space = (following + 1 - tag)[:TAG_BITS] != 0
        m.d.sync += [in_tag.eq(following),
                     room.eq(space & Cat(scan.ready_next for scan in scans).all())]
        for e, scan in enumerate(scans):
            m.d.comb += [
                scan.i.payload.bits.eq(cut[e]), scan.i.payload.row.eq(origin.row),
                scan.i.payload.first.eq(origin.first), scan.i.payload.tag.eq(in_tag),
                scan.word_stride.eq(ins.word_stride), scan.i.valid.eq(enter & some[e]),
            ]

        # Close the group when gather has left it and no bank holds any of it.
        # One finished group may wait for the finish pipeline: what it has before it must be less.
        backlog, free = Signal(INTERVAL_BITS + 1), Signal(init=1)
        plane = Signal(ins.planes.shape())
        unfinished = Cat(scan.pending for scan in scans).any()
        last_plane = plane == last_of(m, ins.planes)[:len(plane)]
        shifts = ins.samples & ~last_plane
        fork = Const(0)
        if self._hardware.pairs:
            third = Signal(2)   # of the three groups of a pair, the one at work
            fork = ins.pairs & (third == 0)
        complete, close = Signal(), Signal()
        permit = self.permit if spills else 1
        goes_on = shifts | fork
        m.d.comb += [complete.eq((in_tag != tag) & ~unfinished
                                 & (goes_on | (free & permit))),
                     close.eq(complete & ~goes_on)]
        if self._hardware.pairs:
            with m.If(complete & ins.pairs):
                m.d.sync += third.eq(Mux(third == 2, 0, third + 1))
            m.d.sync += [self.o.payload.fork.eq(complete & fork),
                         self.o.payload.resume.eq(ins.pairs & (third == 1))]
        if spills:
            marks = Signal(1 << TAG_BITS)   # by group number
            with m.If(enter & origin.last):
                m.d.sync += marks.bit_select(in_tag, 1).eq(origin.last_tile)
            m.d.comb += [self.last_tile.eq(marks.bit_select(tag, 1)), self.closed.eq(close)]
        with m.If(complete):
            m.d.sync += tag.eq(tag + 1)
            m.d.sync += plane.eq(Mux(last_plane, 0, plane + 1))
        left = Signal.like(backlog)
        m.d.comb += left.eq(backlog - (backlog != 0))
        m.d.sync += [backlog.eq(left + Mux(close, ins.last_interval, 0)),
                     free.eq(Mux(close, left == 0, left <= ins.last_interval))]

        # Events of the current group out.
        valid = Cat(scan.valid for scan in scans)
        rows = [row for scan in scans for row in scan.rows]
        words = [word for scan in scans for word in scan.words]

        def counted(outside):
            """Events of one of two positions beside each other: one column is none of its taps."""
            if not self._hardware.beside:
                return valid
            return [each & ~(ins.beside & (word == outside))
                    for each, word in zip(valid, words, strict=True)]

        m.d.sync += [self.o.payload.close.eq(close), self.o.payload.shift.eq(complete & shifts),
                     self.o.payload.negate.eq(ins.signed_input & (plane == 0)),
                     self.o.payload.count.eq(sum(counted(3)))]
        if self._hardware.beside:
            m.d.sync += self.o.payload.odd_count.eq(sum(counted(0)))
        for bank, scan in enumerate(scans):
            m.d.comb += [scan.tag.eq(tag), scan.onward.eq(complete)]
            if self._hardware.streamed:
                m.d.comb += scan.blocked.eq(self.loading[bank])
        for slot, row in enumerate(rows):
            m.d.sync += self.o.payload.rows[slot].eq(Mux(valid[slot], row, 0))
        return m
