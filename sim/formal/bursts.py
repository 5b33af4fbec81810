# SPDX-License-Identifier: Apache-2.0
"""AXI bursts: what is asked for has room, what is announced is there, and all of it in order."""

from types import ModuleType
from typing import Any

from amaranth import Mux, Signal

from hw.axi import BURST, READ_AHEAD
from sim.formal.harness import Break, Harness, Proof
from sim.formal.queues import Scoreboard, buffered_invariant

BITS = 64


def _start(proof: Harness, unit: Any) -> None:
    """A transfer of any size at any time, but not before the one before is over."""
    start = proof.drive(unit.start, "start")
    for name in ("address", "beats"):
        proof.drive(getattr(unit, name), name)
    proof.assume(~(start & unit.busy))


def _reader(units: ModuleType) -> Harness:
    """The memory answers whenever it likes, with no more beats than it was asked for."""
    proof = Harness()
    unit = units.Reader(BITS)
    probes = proof.add(unit)
    _start(proof, unit)
    asked = proof.sink(unit.port.ar, "ar")
    came, taken = proof.source(unit.port.r, "r"), proof.sink(unit.o, "o")
    outstanding = Signal(range(READ_AHEAD + 1), name="outstanding")
    proof.m.d.sync += outstanding.eq(outstanding - came + Mux(
        asked, unit.port.ar.payload.len + 1, 0))
    proof.assume(~unit.port.r.valid | (outstanding != 0))
    board = Scoreboard(proof, came, unit.port.r.payload.data, taken, unit.o.payload, READ_AHEAD)
    proof.implies("never_waits", unit.port.r.valid, unit.port.r.ready)
    proof.claim("level_told", unit.level == board.level)
    buffered_invariant(proof, probes, "queue.", board, READ_AHEAD)
    proof.claim("room_true", probes["room"] + outstanding + board.level == READ_AHEAD)
    # An address that waits was allowed, and room only grows meanwhile.
    proof.implies("offered_fits", probes["bursts.offered"], probes["room"] >= 64)
    # Bursts are full ones and a last one, so the memory knows by its place which beat is its last.
    place = Signal(range(BURST), name="place")
    proof.m.d.sync += place.eq(Mux(came & unit.port.r.payload.last, 0, place + came))
    proof.assume(unit.port.r.payload.last == ((place == BURST - 1) | (
        (outstanding == 1) & (probes["bursts.left"] == 0))))
    begun = (place + outstanding)[:10]
    proof.implies("full_bursts", probes["bursts.left"] != 0, begun % BURST == 0)
    proof.implies("begun_ends", outstanding == 0, place == 0)
    for n, under_way in enumerate(probes["under_way"]):
        proof.claim(f"burst{n}_counted", under_way == (begun > n * BURST))
    proof.claim("bursts_fit", begun <= READ_AHEAD)
    _watched(proof, unit, unit.port.ar.valid | (outstanding != 0), asked | came,
             came & (unit.port.r.payload.resp != 0))
    # `busy` of the unit ends after that of its bursts.
    proof.claim("bursts_first", probes["bursts.left"] + outstanding + board.level
                == probes["left"])
    return proof


def _writer(units: ModuleType) -> Harness:
    """The memory takes addresses and beats when it likes, and acknowledges what it was told."""
    proof = Harness()
    unit = units.Writer(BITS)
    probes = proof.add(unit)
    _start(proof, unit)
    came = proof.source(unit.i, "i")
    announced = proof.sink(unit.port.aw, "aw")
    sent = proof.sink(unit.port.w, "w")
    answered = proof.source(unit.port.b, "b")
    proof.assume(~unit.port.b.valid | (probes["unanswered"] != 0))
    board = Scoreboard(proof, came, unit.i.payload, sent, unit.port.w.payload.data, READ_AHEAD)
    buffered_invariant(proof, probes, "queue.", board, READ_AHEAD)
    waiting, owed = probes["waiting"], probes["owed"]
    proof.claim("all_counted", waiting + owed == board.level)
    proof.implies("never_waits", owed != 0, unit.port.w.valid)
    proof.claim("room_told", unit.room + board.level == READ_AHEAD)
    proof.implies("offered_waits", probes["bursts.offered"], waiting >= probes["bursts.size"])
    proof.claim("bursts_first", probes["bursts.left"] + owed == probes["left"])
    _watched(proof, unit, unit.port.aw.valid | (probes["unanswered"] != 0),
             announced | sent | answered, answered & (unit.port.b.payload != 0))
    return proof


def _watched(proof: Harness, unit: Any, owed: Any, moved: Any, refused: Any) -> None:
    """What `hw.faults` is told of the memory."""
    for name, true in (("owed", owed), ("moved", moved), ("refused", refused)):
        proof.claim(f"{name}_told", unit.watch[name] == true)


PROOFS = [
    Proof("axi-reader", "hw.axi",
          "Reader: every beat once, in order; addresses stay; the R channel never waits; its watch",
          _reader, depth=8, induction=2, broken=(
              Break("self.watch.owed.eq(bursts.o.valid | under_way[0])",
                    "self.watch.owed.eq(bursts.o.valid)"),
              Break("under_way.eq(under_way >> 1)", "under_way.eq(under_way)"),
              Break("taken.eq(self.o.valid & self.o.ready)", "taken.eq(self.o.ready)"),
              Break("self.o.valid.eq(self.busy & (self.allow | offered))",
                    "self.o.valid.eq(self.busy & self.allow & ~offered)"))),
    Proof("axi-writer", "hw.axi",
          "Writer: every beat once, in order; addresses stay; the W channel never waits; its watch",
          _writer, depth=8, induction=2, broken=(
              Break("self.watch.refused.eq(answered & (port.b.payload != OKAY))",
                    "self.watch.refused.eq(sent & (port.b.payload != OKAY))"),
              Break("(waiting >= bursts.size)", "(waiting + 1 >= bursts.size)"),
              Break("queue.r_en.eq(sent)", "queue.r_en.eq(port.w.ready)"))),
]
