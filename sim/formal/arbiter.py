# SPDX-License-Identifier: Apache-2.0
"""Several masters on one memory controller: who is answered, and what is written."""

from types import ModuleType
from typing import Any

from amaranth import Array, Cat, Mux, Signal, Value

from sim.formal.harness import Break, Harness, Proof
from sim.formal.queues import Scoreboard, buffered_invariant

BITS = 4
SOURCES = 3   # weights, residual stream, maps; of writes, the host and the last two


def _reads(count: int, units: ModuleType) -> Harness:
    """Masters ask when they like; memory answers in order, with bursts of any length."""
    proof = Harness()
    m, unit = proof.m, units.ReadArbiter(BITS, count)
    probes, memory = proof.add(unit), unit.memory
    for n, master in enumerate(unit.masters):
        proof.source(master.ar, f"ar{n}")
        proof.sink(master.r, f"r{n}")
    asked, beat = proof.sink(memory.ar, "ar"), proof.source(memory.r, "r")
    asks = Cat(master.ar.valid & master.ar.ready for master in unit.masters)
    shown = Cat(master.r.valid for master in unit.masters)
    taken = Cat(master.r.valid & master.r.ready for master in unit.masters)
    who, owner = _place(proof, asks, "who"), _place(proof, shown, "owner")
    proof.claim("one_address", Mux(asked, _one(asks), ~asks.any()))
    for n, master in enumerate(unit.masters):
        proof.implies(f"address{n}_unchanged", asks[n],
                      Value.cast(memory.ar.payload) == Value.cast(master.ar.payload))
        proof.implies(f"beat{n}_unchanged", shown[n],
                      Value.cast(master.r.payload) == Value.cast(memory.r.payload))
    proof.claim("one_beat", Mux(beat, _one(taken), ~taken.any()))
    proof.implies("one_is_shown", shown.any(), memory.r.valid & _one(shown))

    # Whose each burst is: told at its last beat by the scoreboard, and by it at every other.
    board = Scoreboard(proof, asked, who, beat & memory.r.payload.last, owner, units.UNDER_WAY,
                       "burst")
    proof.assume(~memory.r.valid | (board.level != 0))
    proof.implies("right_owner", board.followed & (board.ahead == 0) & shown.any(),
                  owner == board.item)
    buffered_invariant(proof, probes, "order.", board, units.UNDER_WAY)
    chosen, held = probes["chosen"], probes["held"]
    inside = [probes.word(m, "order.storage", n, len(chosen)) for n in range(units.UNDER_WAY - 1)]
    proof.claim("of_a_master", Cat(each < count for each in (chosen, *inside)).all()
                & (~probes["order.r_rdy"] | (probes["order.r_data"] < count)))
    asking = Cat(master.ar.valid for master in unit.masters)
    proof.implies("chosen_asks", held, Array(asking)[chosen])

    # Nobody waits while others have more than a turn each, or while memory stands ready.
    for n in range(count):
        passed = Signal(range(count + 1), name=f"passed{n}")
        m.d.sync += passed.eq(Mux(asking[n] & ~asks[n], passed + asked, 0))
        proof.claim(f"turn{n}", passed < count)
        # Masters that come before it: one that is chosen comes next, else the one after it.
        before = Array((n - last) % count for last in range(count))[chosen]
        after = Array((n - last - 1) % count + 1 for last in range(count))[chosen]
        proof.claim(f"turn{n}_comes", Mux(held, passed + before < count, passed + after <= count))
    _goes_on(proof, "address", asking.any() & memory.ar.ready & (board.level != units.UNDER_WAY),
             asked, 1)
    _goes_on(proof, "beat", memory.r.valid & Cat(each.r.ready for each in unit.masters).all(),
             beat, 1)
    return proof


def _one(lines: Any) -> Value:
    return (lines != 0) & ((lines & (lines - 1)[:len(lines)]) == 0)


def _place(proof: Harness, lines: Any, name: str) -> Signal:
    """Number of the lowest line that is 1."""
    place = Signal(range(len(lines)), name=name)
    for n in reversed(range(len(lines))):
        with proof.m.If(lines[n]):
            proof.m.d.comb += place.eq(n)
    return place


def _goes_on(proof: Harness, name: str, may: Any, moved: Any, patience: int) -> None:
    """Where something may move, it does, after at most `patience` cycles."""
    quiet = Signal(range(patience + 2), name=f"{name}_quiet")
    proof.m.d.sync += quiet.eq(Mux(may & ~moved, quiet + (quiet <= patience), 0))
    proof.claim(f"{name}_goes_on", quiet <= patience)


def _words(bits: int, units: ModuleType) -> Harness:
    """Addresses and beats come when they like; a burst is as long as its `last` says."""
    proof = Harness()
    m, unit = proof.m, units.WordWriter(bits)
    probes = proof.add(unit)
    begun, beat = proof.source(unit.axi.aw, "aw"), proof.source(unit.axi.w, "w")
    answered, sent = proof.sink(unit.axi.b, "b"), proof.sink(unit.o, "o")
    parts = bits // 64
    first, words = Signal(32, name="first"), Signal(32, name="words")
    writing, owed = Signal(name="writing"), Signal(name="owed")
    last = beat & unit.axi.w.payload.last
    m.d.sync += [writing.eq((writing | begun) & ~last), owed.eq((owed | last) & ~answered),
                 words.eq(Mux(begun, 0, words + sent))]
    with m.If(begun):
        m.d.sync += first.eq(unit.axi.aw.payload.addr)
    part = words % parts
    proof.implies("one_at_a_time", begun, ~writing & ~owed)
    proof.implies("of_a_burst", unit.o.valid, writing & unit.axi.w.valid)
    proof.implies("address_true", unit.o.valid,
                  unit.o.payload.address == (first + 8 * words)[:32])
    proof.implies("data_true", unit.o.valid, unit.o.payload.data == Array(
        unit.axi.w.payload.data[64 * n:64 * n + 64] for n in range(parts))[part])
    # A beat leaves with the last of its words, so each of them was sent once.
    proof.claim("whole_beats", beat == (sent & (part == parts - 1)))
    proof.claim("answered_when_written", unit.axi.b.valid == owed)
    proof.claim("answered_well", unit.axi.b.payload == 0)
    # Nothing waits for this unit: what the environment allows moves in the same cycle.
    proof.implies("address_at_once", unit.axi.aw.valid & ~writing & ~owed, begun)
    proof.implies("word_at_once", writing & unit.axi.w.valid & unit.o.ready, sent)
    proof.claim("state_true", (unit.axi.aw.ready == ~(writing | owed)) & ~(writing & owed)
                & (probes.named("fsm_state") < 3))
    proof.implies("address_counts", writing, probes["address"] == (first + 8 * words)[:32])
    proof.claim("part_counts", probes["part"] == Mux(writing, part, 0))
    proof.implies("burst_is_whole", owed, part == 0)
    return proof


def _merge(units: ModuleType) -> Harness:
    proof = Harness()
    m, unit = proof.m, units.WriteMerge(SOURCES)
    probes = proof.add(unit)
    taken = Cat(proof.source(each, f"i{n}") for n, each in enumerate(unit.i))
    here = Cat(each.valid for each in unit.i)
    sent = proof.sink(unit.o, "o")
    proof.claim("one_word", Mux(sent, _one(taken), ~taken.any()))
    for n, each in enumerate(unit.i):
        proof.implies(f"word{n}_unchanged", taken[n],
                      Value.cast(unit.o.payload) == Value.cast(each.payload))
    # The source of the last word, and whether it had another one in each cycle since.
    who, source = _place(proof, taken, "who"), Signal(range(SOURCES), name="source")
    goes_on, more = Signal(name="goes_on"), Array(here)[source]
    with m.If(sent):
        m.d.sync += source.eq(who)
    m.d.sync += goes_on.eq(sent | (goes_on & more))
    proof.implies("not_interrupted", goes_on & more & sent, who == source)
    _goes_on(proof, "word", here.any() & unit.o.ready, sent, 1)
    proof.claim("of_a_source", (probes["chosen"] < SOURCES) & (source < SOURCES))
    proof.implies("source_stays", goes_on, probes["chosen"] == source)
    return proof


PROOFS = [
    *(Proof(f"read-arbiter-{count}", "boards.arbiter",
            f"ReadArbiter of {count} masters: every burst whole, to whose it is, by turns",
            lambda units, count=count: _reads(count, units), depth=14, induction=2,
            quick=count == 2, broken=(
                Break("memory.r.ready & memory.r.payload.last", "memory.r.ready"),
                Break("memory.ar.valid.eq(master.ar.valid & order.w_rdy)",
                      "memory.ar.valid.eq(master.ar.valid)"),
                Break("with m.Elif(~held), m.Switch(chosen):", "with m.Else(), m.Switch(chosen):"),
                Break("number in ((last - n) % count for", "number in ((last + 1 + n) % count for"),
            )) for count in (2, 3)),
    *(Proof(f"word-writer-{bits}", "boards.arbiter",
            f"WordWriter of beats of {bits} bits: every word once, at its address; then an answer",
            lambda units, bits=bits: _words(bits, units), depth=8, induction=2, quick=bits == 64,
            broken=(
                Break("address.eq(address + WORD_BYTES)", "address.eq(address + self._words)"),
                Break("with m.If(o.valid & o.ready):", "with m.If(o.ready):"),
                Break("with m.If(w.ready & w.payload.last):", "with m.If(w.ready):"),
                Break("with m.If(b.ready):", "with m.If(1):"))) for bits in (64, 128)),
    Proof("write-merge", "boards.arbiter",
          f"WriteMerge of {SOURCES} sources: every word once, unchanged; no source is interrupted",
          _merge, depth=8, induction=2, broken=(
              Break("with m.If(~self.o.valid):", "with m.If(1):"),
              Break("source.ready.eq(self.o.ready)]", "source.ready.eq(1)]"))),
]
