# SPDX-License-Identifier: Apache-2.0
"""Scan: the events of one bank, found in the slices of lines that wait for it."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import bits_for
from hw.layout import LINE_WORDS

# Bits of a part in which a carry runs from bit to bit.
_PART = 16
# Groups are numbered modulo 2**TAG_BITS between gather and lanes.
TAG_BITS = 3


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


def count_to_three(m, bits, name):
    """A signal of the number of set bits, 3 for all above, by a tree of saturating adders."""
    low, high = bits, Const(0, len(bits))
    while len(low) > 1:
        half = (len(low) + 1) // 2
        (a, b), (c, d) = (low[:half], low[half:]), (high[:half], high[half:])
        low, high = (Signal(half, name=f"{name}_{bit}{half}") for bit in ("low", "high"))
        m.d.comb += [high.eq(c | d | (a & b)), low.eq((a ^ b) | (c & d) | (a & c) | (b & d))]
    return Cat(low, high)


class Scan(wiring.Component):
    """One bank: queue of nonzero slices of lines, an event for each port and cycle.

    The first port takes the first event of the slice at hand.  The second one takes its last event,
    or, if it has only one, the first event of the slice of the same group that comes next.  Events
    are found ahead of time, without regard to the group at work, and two cycles' worth of them wait
    with their rows: so nothing that depends on all banks comes near the search for set bits.

    Ports: `i` slices {bits, row, first, tag}, LINE_WORDS parts of `slice_bits`, and `ready_next`
    (`i.ready` in the next cycle); `word_stride` (rows from a word to the next, constant); `tag` of
    the group at work, and `onward` (its last event is out, the group after it is at work in this
    cycle already); `blocked` (the second port is not free); `valid`, `rows` and `words` (of the
    line, counted from the first) by port; `pending` (an event of group `tag` is left).
    Latency 5 cycles from `i`: queue, next slice, slice at hand, found, in front.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._part, self._ports = hardware.geometry.slice_bits, hardware.geometry.ports
        self._spread_part = 1 << (self._part - 1).bit_length()
        row = unsigned(bits_for(hardware.weight_rows))
        origin = {"row": row, "first": 2, "tag": unsigned(TAG_BITS)}
        width = LINE_WORDS * self._spread_part
        index = (width - 1).bit_length()
        self._slice = data.StructLayout({"bits": unsigned(LINE_WORDS * self._part), **origin})
        self._current = data.StructLayout({"bits": unsigned(width), **origin})
        # Besides its bits, the index of the first of them and the others.
        self._next = data.StructLayout(
            {"bits": unsigned(width), "index": index, "others": unsigned(width), **origin})
        self._found = data.StructLayout({
            "tag": unsigned(TAG_BITS), "second": 1, "places": data.ArrayLayout(
                data.StructLayout({"index": index, "row": row, "first": 2}), self._ports)})
        self._ready = data.StructLayout({
            "tag": unsigned(TAG_BITS), "second": 1, "rows": data.ArrayLayout(row, self._ports),
            "words": data.ArrayLayout(2, self._ports)})
        self._depth = hardware.queue_depth
        super().__init__({
            "i": In(stream.Signature(self._slice)), "word_stride": In(row),
            "tag": In(TAG_BITS), "onward": In(1),
            "blocked": In(1), "ready_next": Out(1), "valid": Out(self._ports),
            "rows": Out(data.ArrayLayout(row, self._ports)),
            "words": Out(data.ArrayLayout(2, self._ports)),
            "pending": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.queue = queue = SyncFIFO(width=self._slice.size, depth=self._depth)
        head, present = data.View(self._slice, queue.r_data), Signal()
        room = Signal(init=1)
        following, following_valid = Signal(self._next), Signal()
        current = Signal(self._current)
        found, found_valid = Signal(self._found), Signal()
        front, back = Signal(self._ready), Signal(self._ready)
        front_valid, back_valid = Signal(), Signal()
        m.d.comb += [queue.w_data.eq(self.i.payload), queue.w_en.eq(self.i.valid & room),
                     self.i.ready.eq(room)]
        # A register, as it stops everything before: what leaves makes room a cycle later.
        m.d.comb += self.ready_next.eq((queue.level < self._depth - 1)
                                       | ((queue.level == self._depth - 1) & ~queue.w_en))
        m.d.sync += room.eq(self.ready_next)

        # The next slice, whose first event may be taken before its turn.
        # Signals, not expressions: what is sliced bit by bit would be written out once for each.
        waiting, finished = Signal.like(current.bits), Signal()
        m.d.comb += [waiting.eq(self._spread(head.bits)),
                     queue.r_en.eq(~following_valid | finished)]
        with m.If(queue.r_en):
            m.d.sync += [following_valid.eq(queue.r_rdy), following.bits.eq(waiting),
                         following.index.eq(find_first(waiting)),
                         *(following[name].eq(head[name]) for name in ("row", "first", "tag"))]
            if self._ports == 2:
                m.d.sync += following.others.eq(without_first(m, waiting, "behind"))

        # Find the events of the slice at hand; go on to the next one after its last.
        go = present & (~found_valid | ~back_valid)
        number = count_to_three(m, current.bits, "number")
        rest, second, taken_ahead = without_first(m, current.bits, "rest"), Const(0), Const(0)
        places = [(find_first(current.bits), current)]
        if self._ports == 2:
            backwards, single = Signal.like(current.bits), number == 1
            last = Signal.like(following.index)
            m.d.comb += [backwards.eq(current.bits[::-1]),
                         last.eq(len(current.bits) - 1 - find_first(backwards))]
            ahead = following_valid & (following.tag == current.tag)
            second = ~single | ahead
            places.append((Mux(single, following.index, last), None))
            rest = rest & without_first(m, backwards, "forth")[::-1]
            # What is taken ahead belongs to the group at hand.
            taken_ahead = go & single & ahead
        m.d.comb += finished.eq(~present | (go & (number <= self._ports)))
        with m.If(finished):
            m.d.sync += [
                *(current[name].eq(following[name]) for name in ("row", "first", "tag")),
                current.bits.eq(Mux(taken_ahead, following.others, following.bits)),
                present.eq(following_valid & ~(taken_ahead & (following.others == 0)))]
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
                        else Mux(single, following[name], current[name]))
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
        after = (self.tag + 1)[:TAG_BITS]
        take = front_valid & Mux(self.onward, front.tag == after, front.tag == self.tag)
        m.d.comb += [
            self.valid[0].eq(take), self.rows.eq(front.rows), self.words.eq(front.words),
            taken.eq(take),
            # Their groups follow each other, so any place may hold the last one of this group.
            self.pending.eq(Cat(valid & (tag == self.tag) for valid, tag in (
                (front_valid, front.tag), (found_valid, found.tag), (present, current.tag),
                (following_valid, following.tag), (queue.r_rdy, head.tag))).any()),
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
