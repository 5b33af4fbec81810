# SPDX-License-Identifier: Apache-2.0
"""Reading of the DDR3 controller: bursts as blocks, and beats out of these."""

from types import ModuleType
from typing import Any
from unittest.mock import patch

from amaranth import Array, Mux, Signal, Value

from sim.formal.harness import Break, Harness, Probes, Proof
from sim.formal.queues import Scoreboard, around, buffered_invariant, buffered_levels

# Bits of an address in halves of a block, 8 bytes each; and of what is noted of a block: its two
# halves are beats, the last one ends a burst.
HALVES, ENTRY = 25, 3
SHORT = 4   # blocks that are asked for ahead


class _Asked:
    """What is noted of each block that was asked for and has not left, the first one first.

    level:  how many these are
    before: beats of the first n of them; those of all are `beats`
    """

    def __init__(self, proof: Harness, probes: Probes, depth: int, put: Any, take: Any) -> None:
        m, queue = proof.m, probes["asked"]
        self.level = Signal(range(depth + 2), name="asked_level")
        self.notes = [Signal(ENTRY, name=f"note{n}") for n in range(depth)]
        m.d.sync += self.level.eq(self.level + put - take)
        for n, note in enumerate(self.notes):
            following = self.notes[n + 1] if n + 1 < depth else note
            m.d.sync += note.eq(Mux(put & (self.level == n + take), queue.w_data,
                                    Mux(take, following, note)))
        self.before = [Signal(range(2 * depth + 1), name="before0")]
        for n, note in enumerate(self.notes):
            self.before.append(Signal(range(2 * depth + 1), name=f"before{n + 1}"))
            m.d.comb += self.before[-1].eq(self.before[n] + note[0] + note[1])
        self.beats = Signal(range(2 * depth + 1), name="beats_asked")
        m.d.comb += self.beats.eq(Array(self.before)[self.level])
        proof.claim("asked_room", self.level <= depth)
        buffered_levels(proof, probes, "asked.", self.level, depth)
        start, shown = probes["asked.consume"], queue.r_rdy
        proof.implies("note_shown", shown, queue.r_data == self.notes[0])
        for n in range(depth - 1):
            word = probes.word(m, "asked.storage", around(start, n, depth - 1, m, f"note_at{n}"),
                               ENTRY)
            proof.implies(f"note{n}_kept", n < probes["asked.inner_level"],
                          word == Mux(shown, self.notes[n + 1], self.notes[n]))


class _Reads:
    """Any bursts; blocks are read whenever it pleases and come any time later, in order.

    One beat, which can be any, is followed: `ahead` beats come before it, `half` is its address.
    """

    def __init__(self, proof: Harness, bits: int, depth: int, units: ModuleType) -> None:
        self._proof, self._both = proof, bits == 64
        with patch.object(units, "BLOCKS_AHEAD", depth):
            self._unit = unit = units.Reads(bits)
            self._probes = probes = proof.add(unit)
        ar, r = unit.axi.ar, unit.axi.r
        self._burst, self._beat = proof.source(ar, "ar"), proof.sink(r, "r")
        self._go, self._valid = proof.drive(unit.go, "go"), proof.drive(unit.valid, "valid")
        proof.drive(unit.block, "block")
        proof.assume(unit.wants | ~self._go)
        self._queue, self._asks = probes["queue"], probes["asked"]
        self._leaves = self._queue.r_en & self._queue.r_rdy
        self._asked = _Asked(proof, probes, depth, self._go, self._leaves)
        proof.implies("go_fits", self._go, self._asks.w_rdy)
        self._owed = Signal(11, name="owed")
        proof.m.d.sync += self._owed.eq(
            self._owed + Mux(self._burst, ar.payload.len + 1, 0) - self._beat)
        proof.implies("not_invented", r.valid, self._owed != 0)
        proof.claim("okay", r.payload.resp == 0)
        self._follow()
        self._block(depth)
        self._moves()
        self._invariant(depth)

    def _follow(self) -> None:
        """The beat that is followed, from its burst on until it has been given."""
        proof, m, ar = self._proof, self._proof.m, self._unit.axi.ar.payload
        marked, over, ahead = Signal(name="marked"), Signal(name="over"), Signal(11, name="ahead")
        self._half, self._final = Signal(HALVES, name="half"), Signal(name="final")
        number = proof.constant(8, "number")
        with m.If(self._burst & proof.free(1, "marks") & ~marked & (number <= ar.len)):
            m.d.sync += [
                marked.eq(1), ahead.eq(self._owed - self._beat + number),
                self._final.eq(number == ar.len), self._half.eq(
                    ar.addr[3:] + number if self._both else (ar.addr[4:] + number) << 1)]
        self._marked, self._over, self._ahead = marked, over, ahead
        self._active = marked & ~over
        with m.If(self._beat & self._active):
            m.d.sync += [ahead.eq(ahead - 1), over.eq(ahead == 0)]

    def _block(self, depth: int) -> None:
        """The block that it is in, when that was asked for, and what came for it."""
        proof, m, unit, r = self._proof, self._proof.m, self._unit, self._unit.axi.r
        asked, queue, active, half = self._asked, self._queue, self._active, self._half
        inside, place = Signal(name="inside"), Signal(range(depth + 1), name="place")
        further = Signal(12, name="further")   # than what was asked for
        m.d.comb += further.eq(self._ahead + self._probes["second"] - asked.beats)
        low, high, last = self._asks.w_data
        covers = self._go & active & ~inside & (further < low + high)
        with m.If(covers):
            m.d.sync += [inside.eq(1), place.eq(asked.level - self._leaves)]
        with m.If(inside & self._leaves & (place != 0)):
            m.d.sync += place.eq(place - 1)
        came = Signal(range(depth + 2), name="came")
        m.d.sync += came.eq(came + self._valid - self._leaves)
        proof.assume(~self._valid | (came < asked.level))
        self._board = board = Scoreboard(proof, self._valid, unit.block, self._leaves, queue.r_data,
                                         depth, marked=active & inside & (place == came))
        proof.implies("block_has_room", self._valid, queue.w_rdy)
        proof.implies("of_its_address", covers, unit.address == half[1:])
        if self._both:
            proof.implies("block_once", self._go & low & ~last, high)
        block = board.item.word_select(half[0], 64) if self._both else board.item
        proof.implies("beat_true", r.valid & active & (self._ahead == 0), board.followed & (
            board.ahead == 0) & (r.payload.data == block) & (r.payload.last == self._final))
        self._inside, self._place, self._further, self._came = inside, place, further, came

    def _moves(self) -> None:
        """What may move does within a cycle."""
        proof, unit, left = self._proof, self._unit, self._probes["left"]
        proof.claim("wants_at_once", (left == 0) == unit.axi.ar.ready)
        waits = (self._owed != 0) & ~unit.wants & ~unit.axi.r.valid & (
            self._came == self._asked.level)
        proof.claim("goes_on", ~(waits & proof.later(waits, "waited")))
        wanted = proof.later(unit.wants & ~self._go, "wanted")
        proof.implies("wants_until_it_goes", wanted, unit.wants & (
            unit.address == proof.later(unit.address, "address_before")))

    def _invariant(self, depth: int) -> None:
        """For the induction."""
        proof, asked, board = self._proof, self._asked, self._board
        implies, probes, further = proof.implies, self._probes, self._further
        left, second = probes["left"], probes["second"]
        proof.claim("owed_true", self._owed + second == left + asked.beats)
        proof.claim("came_true", (self._came == board.level) & (self._came <= asked.level))
        buffered_invariant(proof, probes, "queue.", board, depth)
        implies("noted_before", self._queue.r_rdy, self._asks.r_rdy)
        for n, note in enumerate(asked.notes):
            implies(f"note{n}_true", n < asked.level,
                    Value.cast(note[0] | note[1]) if self._both else note[:2] == 1)
        implies("second_true", second, self._unit.axi.r.valid & (asked.notes[0][:2] == 3))
        proof.claim("left_true", left <= 256)
        implies("not_marked", ~self._marked, ~self._over & ~self._inside & ~board.followed)
        outside, inside = self._active & ~self._inside, self._active & self._inside
        there = probes["halves"] + (further if self._both else further << 1)
        lowest = 0 if self._both else 1
        implies("further_true", outside, (further < left) & (self._final == (further == left - 1))
                & (there[lowest:HALVES] == self._half[lowest:]))
        note, before = Array(asked.notes)[self._place], Array(asked.before)[self._place]
        within = Signal(12, name="within")
        proof.m.d.comb += within.eq(self._ahead + second - before)
        implies("inside_true", inside, (self._place < asked.level)
                & (within < note[0] + note[1]) & (self._ahead + second >= before)
                & (self._final == (note[2] & (within + 1 == note[0] + note[1]))))
        if self._both:
            implies("half_true", inside, self._half[0] == ~note[0] | within[0])
        implies("item_true", self._active,
                board.followed == (self._inside & (self._place < self._came)))
        implies("item_place", self._active & board.followed, board.ahead == self._place)


def _reads(bits: int, units: ModuleType) -> Harness:
    proof = Harness()
    _Reads(proof, bits, SHORT, units)
    return proof


PROOFS = [
    Proof(f"ddr3-reads-{bits}", "boards.ddr3_reads",
          f"DDR3 reads, port of {bits} bits: each beat of any burst once, in order, of its block; "
          "each block has room",
          lambda units, bits=bits: _reads(bits, units), depth=6, induction=1,
          broken=broken)
    for bits, broken in (
        (64, (Break("(left != 0) & asked.w_rdy", "left != 0"),
              Break("halves[0] | (left > 1)", "left > 1"),
              Break("upper = second | ~has_low", "upper = second"),
              Break("last.eq(left == taken)", "last.eq(left == 1)"),
              Break("queue.r_en.eq(leaves & ends)", "queue.r_en.eq(leaves)"))),
        (128, (Break("(taken if self._bits == 64 else 2)", "taken"),
               Break("left.eq(ar.payload.len + 1)", "left.eq(ar.payload.len)"),
               Break("is_last & ends", "ends"))))
]
