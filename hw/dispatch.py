# SPDX-License-Identifier: Apache-2.0
"""Dispatch: lines of spikes to one event per bank and cycle, group by group."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.gather import EventLine, LineOrigin
from hw.isa import INTERVAL_BITS, Instruction, bits_for
from hw.layout import LINE_WORDS

# Bits of a part in which a carry runs from bit to bit.
_PART = 16
# Groups are numbered modulo 2**TAG_BITS between gather and lanes.
TAG_BITS = 3


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


def find_first(bits):
    """Index of the lowest set bit (0 if there is none), by a tree of multiplexers."""
    width = max(1, (len(bits) - 1).bit_length())

    def search(part):
        """Whether a bit is set, and the index of the first one."""
        if len(part) == 1:
            return part, Const(0, 0)
        half = 1 << (len(part) - 1).bit_length() - 1
        (low, low_index), (high, high_index) = search(part[:half]), search(part[half:])
        return low | high, Cat(Mux(low, low_index, high_index)[:(half - 1).bit_length()], ~low)

    found, index = search(bits)
    return Mux(found, index, 0)[:width]


def without_first(m, bits, name):
    """A signal of the bits but for the lowest one that is set, by parts whose carries are short."""
    starts = range(0, len(bits), _PART)
    rest, some = Signal(len(bits), name=name), Signal(len(starts), name=f"{name}_some")
    for n, start in enumerate(starts):
        part = bits[start:start + _PART]
        m.d.comb += [some[n].eq(part.any()), rest[start:start + _PART].eq(
            Mux(some[:n].any(), part, part & (part - 1)[:len(part)]))]
    return rest


def tap_turn(kernel_row: int, column: int, banks: int) -> int:
    """By how many banks the channels of a tap are moved on."""
    return (kernel_row + column) % banks


class Scan(wiring.Component):
    """One bank: queue of nonzero slices of lines, an event for each port and cycle.

    The first port takes the first event of the slice at hand.  The second one takes its last event,
    or, if it has only one, the first event of the slice of the same group that waits.  Events are
    found ahead of time, without regard to the group at work, and two cycles' worth of them wait
    with their rows: so nothing that depends on all banks comes near the search for set bits.

    Ports: `i` slices {bits, row, first, tag}, LINE_WORDS parts of `slice_bits`; `word_stride` (rows
    from a word to the next, constant); `tag` of the group at work, whose events go out; `blocked`
    (the second port is not free); `valid`, `rows` and `words` (of the line, counted from the first)
    by port; `pending`, `pending_tag` (group of the oldest event that is left).
    Latency 4 cycles from `i`.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._part, self._ports = hardware.geometry.slice_bits, hardware.geometry.ports
        self._spread_part = 1 << (self._part - 1).bit_length()
        row = unsigned(bits_for(hardware.weight_rows))
        origin = {"row": row, "first": 2, "tag": unsigned(TAG_BITS)}
        self._slice = data.StructLayout({"bits": unsigned(LINE_WORDS * self._part), **origin})
        self._current = data.StructLayout(
            {"bits": unsigned(LINE_WORDS * self._spread_part), **origin})
        index = (LINE_WORDS * self._spread_part - 1).bit_length()
        self._found = data.StructLayout({
            "tag": unsigned(TAG_BITS), "second": 1, "places": data.ArrayLayout(
                data.StructLayout({"index": index, "row": row, "first": 2}), self._ports)})
        self._ready = data.StructLayout({
            "tag": unsigned(TAG_BITS), "second": 1, "rows": data.ArrayLayout(row, self._ports),
            "words": data.ArrayLayout(2, self._ports)})
        self._depth = hardware.queue_depth
        super().__init__({
            "i": In(stream.Signature(self._slice)), "word_stride": In(row), "tag": In(TAG_BITS),
            "blocked": In(1), "valid": Out(self._ports),
            "rows": Out(data.ArrayLayout(row, self._ports)),
            "words": Out(data.ArrayLayout(2, self._ports)),
            "pending": Out(1), "pending_tag": Out(TAG_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = SyncFIFO(width=self._slice.size, depth=self._depth)
        head, current, present = (data.View(self._slice, queue.r_data), Signal(self._current),
                                  Signal())
        found, found_valid = Signal(self._found), Signal()
        front, back = Signal(self._ready), Signal(self._ready)
        front_valid, back_valid = Signal(), Signal()
        m.d.comb += [queue.w_data.eq(self.i.payload), queue.w_en.eq(self.i.valid),
                     self.i.ready.eq(queue.w_rdy)]

        # Find the events of the slice at hand; go on to the next one after its last.
        go = present & (~found_valid | ~back_valid)
        # Signals, not expressions: what is sliced bit by bit would be written out once for each.
        waiting, backwards = Signal.like(current.bits), Signal.like(current.bits)
        m.d.comb += [waiting.eq(self._spread(head.bits)), backwards.eq(current.bits[::-1])]
        rest, arriving, second = without_first(m, current.bits, "rest"), waiting, Const(0)
        places = [(find_first(current.bits), current)]
        if self._ports == 2:
            single = rest == 0
            last = Signal.like(find_first(backwards))
            m.d.comb += last.eq(len(current.bits) - 1 - find_first(backwards))
            ahead = queue.r_rdy & (head.tag == current.tag)
            second = ~single | ahead
            places.append((Mux(single, find_first(waiting), last), None))
            rest = rest & without_first(m, backwards, "forth")[::-1]
            # What is taken ahead belongs to the group at hand.
            arriving = Mux(go & single & ahead, without_first(m, waiting, "behind"), waiting)
        with m.If(~present | (go & (rest == 0))):
            m.d.comb += queue.r_en.eq(1)
            m.d.sync += [*(current[name].eq(head[name]) for name in ("row", "first", "tag")),
                         current.bits.eq(arriving), present.eq(queue.r_rdy & (arriving != 0))]
        with m.Elif(go):
            m.d.sync += current.bits.eq(rest)
        with m.If(go):
            m.d.sync += [found.tag.eq(current.tag), found.second.eq(second)]
            for n, (index, origin) in enumerate(places):
                place = found.places[n]
                m.d.sync += place.index.eq(index)
                for name in ("row", "first"):
                    m.d.sync += place[name].eq(
                        current[name] if origin is not None
                        else Mux(single, head[name], current[name]))
        with m.If(go | ~back_valid):
            m.d.sync += found_valid.eq(go)

        # Their weight rows; two wait, so that who waits need not know who is taken.
        item, push, taken = Signal(self._ready), Signal(), Signal()
        m.d.comb += [item.tag.eq(found.tag), item.second.eq(found.second),
                     push.eq(found_valid & ~back_valid)]
        for n in range(self._ports):
            word, row = self._place(found.places[n])
            m.d.comb += [item.rows[n].eq(row), item.words[n].eq(word)]
        with m.If(~front_valid | taken):
            m.d.sync += [front.eq(Mux(back_valid, back, item)),
                         front_valid.eq(back_valid | push), back_valid.eq(0)]
        with m.Elif(push):
            m.d.sync += [back.eq(item), back_valid.eq(1)]

        # Give those of the group at work.
        take = front_valid & (front.tag == self.tag)
        m.d.comb += [
            self.valid[0].eq(take), self.rows.eq(front.rows), self.words.eq(front.words),
            taken.eq(take),
            self.pending.eq(front_valid | found_valid | present | queue.r_rdy),
            self.pending_tag.eq(Mux(front_valid, front.tag, Mux(found_valid, found.tag, Mux(
                present, current.tag, head.tag)))),
        ]
        if self._ports == 2:
            m.d.comb += [self.valid[1].eq(take & front.second & ~self.blocked),
                         taken.eq(take & ~(front.second & self.blocked))]
            with m.If(take & front.second & self.blocked):   # the second one has its turn next
                m.d.sync += [front.second.eq(0), front.rows[0].eq(front.rows[1]),
                             front.words[0].eq(front.words[1])]
        return m

    def _spread(self, bits):
        """A slice with each of its parts at a power of two, so that an event's index names both."""
        gap = Const(0, self._spread_part - self._part)
        return Cat(Cat(bits[n * self._part:(n + 1) * self._part], gap) for n in range(LINE_WORDS))

    def _place(self, at):
        """Word, counted from the first one, and weight row of an event."""
        # Low bits of the event's index: its channel in the word; above them the word.
        bits = (self._spread_part - 1).bit_length()
        word, stride = (at.index[bits:] - at.first)[:2], self.word_stride
        strides = Array([0, stride, stride << 1, (stride << 1) + stride])
        return word, at.row + strides[word] + at.index[:bits]


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

    Throughput: `slots` events per cycle.  Latency from `i` to `o`: 6 cycles.
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
        space = Signal()
        m.d.comb += [
            # One number stays free, so that equal numbers always mean the same group.
            space.eq((in_tag + 1 - tag)[:TAG_BITS] != 0),
            enter.eq(full & space & Cat(scan.i.ready for scan in scans).all()),
        ]
        for e, scan in enumerate(scans):
            m.d.comb += [
                scan.i.payload.bits.eq(cut[e]), scan.i.payload.row.eq(origin.row),
                scan.i.payload.first.eq(origin.first), scan.i.payload.tag.eq(in_tag),
                scan.word_stride.eq(ins.word_stride), scan.i.valid.eq(enter & some[e]),
            ]
        with m.If(enter & origin.last):
            m.d.sync += in_tag.eq(in_tag + 1)

        # Close the group when gather has left it and no bank holds any of it.
        # One finished group may wait for the finish pipeline: what it has before it must be less.
        backlog, free = Signal(INTERVAL_BITS + 1), Signal(init=1)
        plane = Signal(ins.planes.shape())
        unfinished = Cat(scan.pending & (scan.pending_tag == tag) for scan in scans).any()
        last_plane = plane == (ins.planes - 1)[:len(plane)]
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
        now = (tag + complete)[:TAG_BITS]
        m.d.sync += tag.eq(now)
        with m.If(complete):
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
            m.d.comb += scan.tag.eq(now)
            if self._hardware.streamed:
                m.d.comb += scan.blocked.eq(self.loading[bank])
        for slot, row in enumerate(rows):
            m.d.sync += self.o.payload.rows[slot].eq(Mux(valid[slot], row, 0))
        return m
