# SPDX-License-Identifier: Apache-2.0
"""Dispatch: lines of spikes to one event per bank and cycle, group by group."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.gather import EventLine
from hw.isa import Instruction, bits_for
from hw.layout import LINE_WORDS

# Groups are numbered modulo 2**TAG_BITS between gather and lanes.
TAG_BITS = 3


class Events(data.StructLayout):
    """One cycle of work for the lanes.

    rows:  by bank, the weight row to add; 0 (the all-zero row) where the bank has no event
    count: events among them
    close: these events open a new group, the sum before them is complete
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        banks = hardware.geometry.banks
        super().__init__({
            "rows": data.ArrayLayout(unsigned(bits_for(hardware.weight_rows)), banks),
            "count": unsigned(bits_for(banks)), "close": 1})


def find_first(bits):
    """Index of the lowest set bit (0 if there is none)."""
    index = Const(0, max(1, (len(bits) - 1).bit_length()))
    for i in reversed(range(len(bits))):
        index = Mux(bits[i], i, index)
    return index[:max(1, (len(bits) - 1).bit_length())]


class Scan(wiring.Component):
    """One bank: queue of nonzero slices of lines, one event at a time.

    Ports: `i` slices {bits, row, first, tag}, LINE_WORDS parts of `slice_bits`; `word_stride` (rows
    from a word to the next, constant); `tag` of the event that stands ready, `pending` with it;
    `take` removes it; `row` is its weight row.
    Throughput one event per cycle, also across slices; latency 2 cycles from `i`.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._part = hardware.geometry.slice_bits
        self._slice = data.StructLayout({
            "bits": unsigned(LINE_WORDS * self._part),
            "row": unsigned(bits_for(hardware.weight_rows)), "first": 2,
            "tag": unsigned(TAG_BITS)})
        self._depth = hardware.queue_depth
        row = self._slice["row"].shape
        super().__init__({
            "i": In(stream.Signature(self._slice)), "take": In(1), "word_stride": In(row),
            "valid": Out(1), "row": Out(row),
            "ready_tag": Out(TAG_BITS), "pending": Out(1), "pending_tag": Out(TAG_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = SyncFIFO(width=self._slice.size, depth=self._depth)
        head = data.View(self._slice, queue.r_data)
        current = Signal(self._slice)
        rest = current.bits & (current.bits - 1)[:len(current.bits)]
        # Low bits of the event's index: its channel in the word; above them the word.
        event = find_first(current.bits)
        bits = (self._part - 1).bit_length()
        word = (event[bits:] - current.first)[:2]
        stride = self.word_stride
        offset = Array([0, stride, stride << 1, (stride << 1) + stride])[word]
        m.d.comb += [
            queue.w_data.eq(self.i.payload), queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            self.row.eq(current.row + offset + event[:bits]),
            self.ready_tag.eq(current.tag),
            # A slice that only waits in the queue is pending work of its group, too.
            self.pending.eq(self.valid | queue.r_rdy),
            self.pending_tag.eq(Mux(self.valid, current.tag, head.tag)),
            queue.r_en.eq(~self.valid | (self.take & (rest == 0))),
        ]
        with m.If(self.take):
            m.d.sync += current.bits.eq(rest)
        with m.If(queue.r_en):
            m.d.sync += [self.valid.eq(queue.r_rdy), current.eq(head)]
        return m


class Dispatch(wiring.Component):
    """Feed the lanes with up to one event per bank and cycle, never mixing two groups.

    Channel c of a word belongs to bank c % banks.  A bank that has finished its part of a group
    waits for the others; the group closes in the cycle in which the next one's events issue, so a
    change of group costs nothing unless the group had no event at all (one cycle).  Groups close at
    least `interval` cycles apart (`last_interval` after a group of the last plane), the time that
    the finish pipeline needs.

    Throughput: banks events per cycle.  Latency from `i` to `o`: 3 cycles.
    Ports: `instruction`, `i` (lines of `Gather`), `o` (one `Events` each cycle; zero rows, count
    and close when there is nothing to do); with a spilled residual stream `permit` (the finish
    pipeline can take the group), `last_tile` (that it is in), `closed` (pulse: it was taken).
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)),
            "i": In(stream.Signature(EventLine(hardware))),
            "o": Out(stream.Signature(Events(hardware), always_valid=True, always_ready=True)),
        } | ({"permit": In(1), "last_tile": Out(1), "closed": Out(1)}
             if hardware.spills_residual else {}))

    def elaborate(self, platform):
        m = Module()
        banks, spills = self._hardware.geometry.banks, self._hardware.spills_residual
        ins = self.instruction
        scans = [Scan(self._hardware) for _ in range(banks)]
        for e, scan in enumerate(scans):
            m.submodules[f"scan{e}"] = scan

        # Lines in: the slice of each bank to its queue, where it is not empty.
        in_tag, tag = Signal(TAG_BITS), Signal(TAG_BITS)
        space = Signal()
        m.d.comb += [
            # One number stays free, so that equal numbers always mean the same group.
            space.eq((in_tag + 1 - tag)[:TAG_BITS] != 0),
            self.i.ready.eq(space & Cat(scan.i.ready for scan in scans).all()),
        ]
        for e, scan in enumerate(scans):
            m.d.comb += [
                scan.i.payload.bits.eq(Cat(word[e::banks] for word in self.i.payload.words)),
                scan.i.payload.row.eq(self.i.payload.row),
                scan.i.payload.first.eq(self.i.payload.first),
                scan.word_stride.eq(ins.word_stride),
                scan.i.payload.tag.eq(in_tag),
                scan.i.valid.eq(self.i.valid & self.i.ready & (scan.i.payload.bits != 0)),
            ]
        with m.If(self.i.valid & self.i.ready & self.i.payload.last):
            m.d.sync += in_tag.eq(in_tag + 1)

        # Close the group when gather has left it and no bank holds any of it.
        interval, plane = Signal(ins.interval.shape()), Signal(ins.planes.shape())
        unfinished = Cat(scan.pending & (scan.pending_tag == tag) for scan in scans).any()
        close = Signal()
        permit = self.permit if spills else 1
        m.d.comb += close.eq((in_tag != tag) & ~unfinished & (interval == 0) & permit)
        if spills:
            marks = Signal(1 << TAG_BITS)   # by group number
            with m.If(self.i.valid & self.i.ready & self.i.payload.last):
                m.d.sync += marks.bit_select(in_tag, 1).eq(self.i.payload.last_tile)
            m.d.comb += [self.last_tile.eq(marks.bit_select(tag, 1)), self.closed.eq(close)]
        now = (tag + close)[:TAG_BITS]
        m.d.sync += tag.eq(now)
        last_plane = plane == (ins.planes - 1)[:len(plane)]
        with m.If(close):
            m.d.sync += [plane.eq(Mux(last_plane, 0, plane + 1)),
                         interval.eq(Mux(last_plane, ins.last_interval, ins.interval) - 1)]
        with m.Elif(interval != 0):
            m.d.sync += interval.eq(interval - 1)

        # Events of the current group out.
        take = [scan.valid & (scan.ready_tag == now) for scan in scans]
        m.d.sync += [self.o.payload.close.eq(close),
                     self.o.payload.count.eq(sum(take))]
        for e, scan in enumerate(scans):
            m.d.comb += scan.take.eq(take[e])
            m.d.sync += self.o.payload.rows[e].eq(Mux(take[e], scan.row, 0))
        return m
