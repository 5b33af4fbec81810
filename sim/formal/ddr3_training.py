# SPDX-License-Identifier: Apache-2.0
"""The training of the DDR3 controller: where it looks, and what it takes."""

from types import ModuleType
from unittest.mock import patch

from amaranth import Array, Mux, Signal

from boards.ddr3_startup import LEAST_RUN
from sim.formal.harness import Break, Harness, Proof


class _Training:
    """Resets whenever it pleases; a memory that takes and answers when it likes.

    Its answers are right at positions `low` to `high` - 1 and wrong once or more before and after
    them; which is all that there can be of memories, as nothing is read after a first run.
    """

    def __init__(self, proof: Harness, bits: int, positions: int, tries: int,
                 units: ModuleType) -> None:
        self._proof, self._positions, self._tries = proof, positions, tries
        self._reset = proof.free(1, "reset")
        with patch.multiple(units, POSITIONS=positions, TRIES=tries):
            self._unit = unit = units.Training(bits)
            self._probes = proof.add(unit, reset=self._reset)
        self._start = proof.drive(unit.start, "start")
        proof.assume(self._start | ~proof.later(self._start, "started_before"))
        self._low, self._high = (proof.constant(range(positions + 1), name)
                                 for name in ("low", "high"))
        proof.assume((self._low <= self._high) & (self._high <= positions))
        self._run, self._over = self._high - self._low, unit.done | unit.failed
        whole = sum(word << 16 * n for n, word in enumerate(units.PATTERN))
        self._memory(bits, whole)
        self._asks(bits, whole)
        self._promises()
        self._ends()
        self._invariant(128 // bits)

    def _memory(self, bits: int, whole: int) -> None:
        """Reads as the contract has them: `try` ones so far at `where`, another `under_way`."""
        proof, m, unit = self._proof, self._proof.m, self._unit
        r, beats, last_try = unit.axi.r, 128 // bits, self._tries - 1
        self._where = where = Signal(range(self._positions + 1), name="where")
        self._try = try_ = Signal(range(self._tries), name="try")
        self._under_way, self._bad = Signal(name="under_way"), Signal(name="bad")
        self._number, self._written = Signal(range(2), name="number"), Signal(2, name="written")
        number, bad = self._number, self._bad
        proof.drive(unit.writes.ready, "writes_ready")
        proof.drive(unit.axi.ar.ready, "ar_ready")
        valid, payload = proof.drive(r.valid, "r_valid"), proof.drive(r.payload, "r")
        self._wrote, self._asked, self._beat = (
            each.valid & each.ready for each in (unit.writes, unit.axi.ar, r))
        right = payload.data == Array(
            whole >> bits * n & (1 << bits) - 1 for n in range(beats))[number]
        self._inside = (where >= self._low) & (where < self._high)
        is_last = number == beats - 1
        decides = is_last & (try_ == last_try)
        proof.assume(~valid | (self._under_way & (payload.last == is_last) & Mux(
            self._inside, right, ~decides | bad | ~right)))
        m.d.sync += self._written.eq(self._written + self._wrote)
        with m.If(self._asked):
            m.d.sync += self._under_way.eq(1)
        with m.If(self._beat):
            m.d.sync += [number.eq(Mux(is_last, 0, number + 1)), bad.eq(bad | ~right)]
            with m.If(is_last):
                m.d.sync += [self._under_way.eq(0), try_.eq(try_ + 1)]
            with m.If(decides):
                m.d.sync += [try_.eq(0), where.eq(where + 1), bad.eq(0)]
        with m.If(self._reset):
            m.d.sync += [register.eq(0) for register in (
                where, try_, self._under_way, number, bad, self._written)]

    def _asks(self, bits: int, whole: int) -> None:
        """The pattern is written, then read at one position after the other."""
        unit, implies, reads = self._unit, self._proof.implies, self._under_way
        ar, writes = unit.axi.ar, unit.writes
        word, words = writes.payload, Array(whole >> 64 * n & (1 << 64) - 1 for n in range(2))
        # What is read last: the first one that is wrong after a run.
        self._last = last = Signal(range(self._positions), name="last")
        self._proof.m.d.comb += last.eq(Mux(
            (self._run != 0) & (self._high != self._positions), self._high, self._positions - 1))
        implies("pattern_written", writes.valid, (self._written < 2)
                & (word.address == self._written << 3) & (word.data == words[self._written[0]]))
        implies("first_written", ar.valid, self._written == 2)
        implies("pattern_read", ar.valid, (ar.payload.addr == 0) & (ar.payload.burst == 1)
                & (ar.payload.len == 128 // bits - 1)
                & (ar.payload.size == (bits // 8).bit_length() - 1))
        implies("where_told", ar.valid | reads, (unit.position == self._where)
                & (self._where <= last))
        implies("one_at_a_time", ar.valid, ~reads)
        implies("takes_at_once", reads, unit.axi.r.ready)
        implies("only_after_power_up", writes.valid | ar.valid | unit.failed, self._start)
        implies("over", self._over, ~writes.valid & ~ar.valid & ~reads)

    def _promises(self) -> None:
        unit, proof, position = self._unit, self._proof, self._unit.position
        proof.implies("middle_taken", unit.done, (self._run >= LEAST_RUN)
                      & (position == self._low + (self._run >> 1)) & ~unit.failed)
        proof.implies("fails_without", unit.failed, self._run < LEAST_RUN)
        proof.implies("for_ever", proof.later(unit.done, "was_done"), unit.done)
        proof.implies("anew", proof.later(self._reset, "was_reset"), ~unit.failed)
        # `boards.ddr3_reads.Capture` relies on it; what is read at the last position, last, has
        # left that when the position begins anew.
        before = proof.later(position, "position_before")
        proof.claim("upward_by_one", (position <= before + 1) | (
            proof.later(self._where, "where_before") == self._positions))
        proof.implies("moves_between_reads", proof.later(
            self._under_way & ~self._reset, "was_under_way"), position == before)

    def _ends(self) -> None:
        """Of the reads there are so many, and nothing else takes longer than two cycles."""
        proof, unit = self._proof, self._unit
        writes, ar = unit.writes, unit.axi.ar
        waits = (writes.valid & ~writes.ready) | (ar.valid & ~ar.ready) | (
            self._under_way & ~unit.axi.r.valid)
        moves = self._wrote | self._asked | self._beat
        self._still = still = Signal(range(4), name="still")
        proof.m.d.sync += still.eq(Mux(self._start & ~self._over & ~waits & ~moves & ~self._reset,
                                       still + (still != 3), 0))
        proof.claim("goes_on", still <= 2)

    def _invariant(self, beats: int) -> None:
        """For the induction."""
        proof, implies, position, failed = (self._proof, self._proof.implies, self._unit.position,
                                            self._unit.failed)
        on = {name: self._probes.named("fsm_state") == self._probes.state(name)
              for name in ("Write", "Ask", "Look", "Next", "Judge", "End")}
        part, tries, wrong, first, run = (self._probes[name] for name in (
            "part", "tries", "wrong", "first", "run"))
        reading = on["Ask"] | on["Look"] | on["Next"]
        proof.claim("one_state", sum(on.values()) == 1)
        implies("write_true", on["Write"], (self._written == part) & (self._where == 0)
                & (tries == 0) & ~wrong & (run == 0) & ~failed & ~self._bad)
        implies("written_true", ~on["Write"], (self._written == 2) & self._start)
        proof.claim("look_true", self._under_way == on["Look"])
        implies("part_true", ~on["Write"], part == self._number)
        proof.claim("number_true", self._number <= Mux(on["Look"], beats - 1, 0))
        proof.claim("tries_true", (tries == self._try) & (self._try < self._tries))
        implies("here", reading, (self._where == position + on["Next"]) & (position <= self._last))
        implies("wrong_true", reading, wrong == Mux(
            on["Next"], ~((position >= self._low) & (position < self._high)), self._bad))
        implies("bad_true", self._inside, ~self._bad)
        implies("not_over", reading | on["Judge"], ~self._over)
        implies("next_true", on["Next"], (self._try == 0) & ~self._bad)
        so_far = Mux((self._run != 0) & (position > self._low), position - self._low, 0)
        implies("run_true", reading, run == so_far)
        implies("judge_true", on["Judge"], run == self._run)
        implies("first_true", ~on["Write"] & (run != 0), first == self._low)
        implies("end_true", on["End"], self._over & ~(self._unit.done & failed))
        implies("over_true", self._over, on["End"] | (on["Write"] & ~failed))
        implies("done_true", self._unit.done, self._start)
        implies("still_not", on["Write"] | on["Look"] | on["Next"], self._still == 0)
        implies("still_once", on["Ask"] | on["Judge"], self._still <= 1)


def _training(bits: int, positions: int, tries: int, units: ModuleType) -> Harness:
    proof = Harness()
    _Training(proof, bits, positions, tries, units)
    return proof


PROOFS = [
    Proof(f"ddr3-training-{name}", "boards.ddr3_startup",
          f"DDR3 training, {positions} positions, port of {bits} bits: it ends with the middle of "
          "the first right run, or failed",
          lambda units, bits=bits, positions=positions, tries=tries: _training(
              bits, positions, tries, units), depth=depth, induction=2, broken=broken, quick=quick)
    for name, bits, positions, tries, depth, quick, broken in (
        *((str(bits), bits, 64, 4, 14, False, (
            Break("writes.payload.address.eq(part << 3)", "writes.payload.address.eq(0)"),
            Break("with m.If(tries == TRIES - 1):", "with m.If(tries == TRIES - 2):")))
          for bits in (64, 128)),
        # So that broken copies come to the end.
        ("short", 128, 4, 2, 24, True, (
            Break("position.eq(first + (run >> 1))", "position.eq(first)"),
            Break("with m.If(run >= LEAST_RUN):", "with m.If(run != 0):"),
            Break("right.eq(~wrong & (", "right.eq(("),
            Break("Signal(range(POSITIONS), reset_less=True)", "Signal(range(POSITIONS))"),
            Break("(wrong & (run != 0)) | (position", "(position"))))
]
