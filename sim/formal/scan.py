# SPDX-License-Identifier: Apache-2.0
"""Event scanner: each set bit exactly once, in the turn of its group; the searches that it uses."""

from types import ModuleType

from amaranth import Const, Module, Mux, Signal

from hw.layout import LINE_WORDS
from hw.scan import TAG_BITS
from sim.formal.harness import Break, Harness, Proof, small

MARKED_ROW = 16
WORD = 2


def _scan(ports: int, units: ModuleType) -> Harness:
    """Any slices of any groups; one slice, which can be any, is known by its weight row."""
    proof = Harness()
    m = proof.m
    unit = units.Scan(small(ports=ports, weight_rows=31, queue_depth=2))
    proof.add(unit)
    stride = proof.constant(2, "stride")
    proof.assume(stride >= WORD)
    m.d.comb += unit.word_stride.eq(stride)
    proof.drive(unit.blocked, "blocked")
    onward = proof.drive(unit.onward, "onward")
    item, pushed = unit.i.payload, proof.source(unit.i, "i")

    # Groups as Dispatch numbers and closes them; it sends no empty slices.
    tag, in_tag = Signal(TAG_BITS, name="tag"), Signal(TAG_BITS, name="in_tag")
    advance = proof.free(1, "advance")
    m.d.comb += unit.tag.eq(tag)
    m.d.sync += [in_tag.eq(in_tag + advance), tag.eq(tag + onward)]
    proof.assume(~advance | ((in_tag + 2 - tag)[:TAG_BITS] != 0))
    proof.assume(~(advance & unit.i.valid & ~unit.i.ready))   # the slice that waits keeps its tag
    proof.assume(~onward | ((in_tag != tag) & ~unit.pending))
    proof.assume(~unit.i.valid | ((item.bits != 0) & (item.tag == in_tag)))

    # The slice that is followed.
    marks = proof.free(1, "marks")
    marked, bits, seen = Signal(name="marked"), Signal(len(item.bits), name="bits"), Signal(
        len(item.bits), name="seen")
    first, group = Signal(2, name="first"), Signal(TAG_BITS, name="group")
    proof.assume(~unit.i.valid | Mux(marks & ~marked, item.row == MARKED_ROW, item.row < 4))
    waited = proof.later(unit.i.valid & ~unit.i.ready, "i_waited")
    proof.assume(~waited | (marks == proof.later(marks, "marks_before")))
    with m.If(pushed & marks & ~marked):
        m.d.sync += [marked.eq(1), bits.eq(item.bits), first.eq(item.first), group.eq(in_tag)]
    now = Signal(TAG_BITS)   # the group whose events come in this cycle
    m.d.comb += now.eq(tag + onward)
    places = []
    for port in range(ports):
        row, word = unit.rows[port], unit.words[port]
        mine, channel = Signal(name=f"mine{port}"), Signal(6, name=f"channel{port}")
        place, bit = Signal(range(LINE_WORDS * WORD), name=f"place{port}"), Signal(
            len(item.bits), name=f"bit{port}")
        base = Mux(word[0], stride, 0) + Mux(word[1], stride << 1, 0) + MARKED_ROW
        m.d.comb += [mine.eq(unit.valid[port] & (row >= MARKED_ROW)), channel.eq(row - base),
                     place.eq(((first + word)[:2] << 1) + channel[0]),
                     bit.eq(Mux(mine, 1 << place, 0))]
        proof.implies(f"known{port}", mine, marked & (channel < WORD) & (bits & bit).any())
        proof.implies(f"once{port}", mine, ~(seen & bit).any())
        proof.implies(f"own_group{port}", mine, group == now)
        places.append(bit)
    if ports == 2:
        proof.implies("two", places[0].any() & places[1].any(), places[0] != places[1])
    m.d.sync += seen.eq(seen | places[0] | (places[1] if ports == 2 else 0))
    closed = Signal(name="closed")
    with m.If(marked & onward & (tag == group)):
        m.d.sync += closed.eq(1)
    proof.implies("all_seen", marked & onward & (tag == group) & ~closed, seen == bits)

    # The group at work goes on, and makes room.
    quiet = Signal(4, name="quiet")
    m.d.sync += quiet.eq(Mux(unit.pending & ~unit.valid.any() & ~onward, quiet + 1, 0))
    proof.claim("progress", quiet < 6)
    full = Signal(4, name="full")
    m.d.sync += full.eq(Mux(unit.i.valid & ~unit.i.ready & ~unit.pending & (tag == in_tag),
                            full + 1, 0))
    proof.claim("room", full < 4)
    return proof


def _search(width: int, units: ModuleType) -> Harness:
    """The lowest set bit, the bits without it, and how many there are, by what defines them."""
    proof = Harness()
    m: Module = proof.m
    bits, chosen = proof.free(width, "given"), proof.free(range(width), "chosen")
    index, number = Signal(range(width)), Signal(range(width + 1))
    m.d.comb += [index.eq(units.find_first(bits)), number.eq(sum(bits))]
    rest, count = units.without_first(m, bits, "rest"), units.count_to_three(m, bits, "number")
    bit = bits.bit_select(chosen, 1)
    below = (bits & ((Const(1, width + 1) << chosen) - 1)[:width]).any()
    proof.implies("lowest", bit & ~below, index == chosen)
    proof.implies("none", bits == 0, index == 0)
    proof.claim("others", rest.bit_select(chosen, 1) == (bit & below))
    proof.claim("count", count == Mux(number > 3, 3, number))
    return proof


_ROOM = Break("self._depth - 1) & ~queue.w_en))", "self._depth - 1)))")
_BLOCKED = Break("taken.eq(take & ~(front.second & self.blocked))", "taken.eq(take)")
_AHEAD = Break("& (following.tag == current.tag)", "")
_PENDING = Break("(found_valid, found.tag), ", "")
_OTHERS = Break("current.bits.eq(Mux(taken_ahead, following.others, following.bits))",
                "current.bits.eq(following.bits)")
_BACK = Break("push.eq(found_valid & ~back_valid)", "push.eq(found_valid)")

PROOFS = [
    Proof("scan-one-port", "hw.scan",
          "Scan, one event a cycle: each set bit once, within its group",
          lambda units: _scan(1, units), depth=11, broken=(_PENDING, _ROOM), quick=True),
    Proof("scan-two-ports", "hw.scan",
          "Scan, two events a cycle: each set bit once, within its group",
          lambda units: _scan(2, units), depth=10,
          broken=(_ROOM, _BLOCKED, _AHEAD, _PENDING, _OTHERS, _BACK)),
    *(Proof(f"search-{width}", "hw.scan",
            f"find_first, without_first, count_to_three of {width} bits",
            lambda units, width=width: _search(width, units), depth=1, induction=1,
            broken=(Break("Mux(low, low_index, high_index)", "Mux(high, low_index, high_index)"),
                    Break("Mux(some[:n].any(), part, part", "Mux(some[:n].all(), part, part"),
                    Break("high.eq(c | d | (a & b))", "high.eq(c | d)")),
            quick=width == 32) for width in (8, 32, 64)),
]
