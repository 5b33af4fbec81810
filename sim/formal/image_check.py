# SPDX-License-Identifier: Apache-2.0
"""The check of a weight image in memory: what it reads and takes into its CRC, and its verdict."""

from types import ModuleType
from typing import Any
from unittest.mock import patch

from amaranth import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.tiles import CRC_PLACE, MAGIC
from sim.formal.harness import Break, Harness, Probes, Proof

BITS = 64
BLOCK, MORE = 2, 1     # beats of a block, which are those of a burst; at most beats after it
BEAT_BYTES = BITS // 8
COVERED = [n for n in range(BEAT_BYTES * (BLOCK + MORE)) if not 0 <= n - CRC_PLACE < 8]
# Cycles of a check, if memory does not wait: each byte, each beat, each burst, the verdict.
CYCLES = (BLOCK + MORE) * (BEAT_BYTES + 1) + -(-(BLOCK + MORE) // BLOCK) + 1


class _Digest(wiring.Component):
    """In place of a CRC: any value comes of the bytes that it is given."""

    def __init__(self) -> None:
        super().__init__({"start": In(1), "valid": In(1), "data": In(8), "crc": Out(32)})

    def create(self) -> "_Digest":
        return self

    def elaborate(self, platform: object) -> Module:
        return Module()


def _image_check(waits: bool, units: ModuleType) -> Harness:
    """Any image, or what is none; another one comes at times; memory may answer when it likes."""
    proof, digest = Harness(), _Digest()
    m = proof.m
    with (patch.object(units, "BURST", BLOCK),
          patch.object(units, "block_bytes", lambda bits: BLOCK * bits // 8),
          patch.object(units, "CRC32_ISO_HDLC", lambda width: digest)):
        unit = units.ImageCheck(BITS)
        probes = proof.add(unit)
    present, clear = proof.drive(unit.present, "present"), proof.drive(unit.clear, "clear")
    address = proof.constant(32, "address")
    m.d.comb += unit.address.eq(address)
    beats = [proof.constant(BITS, f"beat{n}") for n in range(BLOCK + MORE)]
    known, more = beats[0][:32] == MAGIC, Mux(beats[0][:32] == MAGIC, beats[0][32:60], 0)
    proof.assume(more <= MORE)
    sum_, ar, r = proof.constant(32, "digest"), unit.port.ar, unit.port.r
    m.d.comb += digest.crc.eq(sum_)

    # What is read: the block, and what it says that follows.
    asked = proof.sink(ar, "ar")
    offers = proof.drive(r.valid, "answers")
    proof.assume(proof.stable(r, "r"))
    came = offers & r.ready
    ahead, number = Signal(4, name="ahead"), Signal(4, name="number")
    idle = ~unit.busy
    size = (ar.payload.len + 1)[:4]
    m.d.sync += [ahead.eq(Mux(idle, 0, ahead + Mux(asked, size, 0))),
                 number.eq(Mux(idle, 0, number + came))]
    proof.assume(~offers | (number != ahead))
    if not waits:
        # One check, whose times are known, so that the solver sees it through.
        begun = proof.later(unit.busy, "begun")
        proof.assume(present & ar.ready & (offers | (number == ahead)) & (more == 0)
                     & (begun | ~clear))
    m.d.comb += [r.payload.data.eq(Array(beats)[number[:2]]), r.payload.resp.eq(0),
                 r.payload.last.eq(number + 1 == ahead)]
    proof.implies("reads_the_image", ar.valid, (ar.payload.addr == (
        address + BEAT_BYTES * ahead)[:32]) & (ar.payload.len < BLOCK)
        & (ahead + size <= BLOCK + more) & (ar.payload.size == 3) & (ar.payload.burst == 1))
    proof.implies("takes_what_it_asked_for", idle, number == ahead)

    # What the CRC is taken of: the covered bytes, each once, in their order.
    every = Cat(beats)
    count = Signal(range(len(COVERED) + 1), name="count")
    m.d.sync += count.eq(Mux(digest.start, 0, count + digest.valid))
    proof.implies("bytes_in_order", digest.valid, digest.data == Array(
        every[8 * n:8 * n + 8] for n in COVERED)[count])
    total = BEAT_BYTES * (BLOCK - 1 + more)
    verdict, old = Cat(unit.good, unit.bad), proof.later(Cat(unit.good, unit.bad), "old")
    whole = proof.later(count, "counted") == total
    right = known & (sum_ == beats[1][:32])
    comes = verdict.any() & ~old.any()
    proof.implies("verdict_of_all_bytes", comes, whole & (
        proof.later(number, "came") == BLOCK + more))
    proof.implies("good_is_right", unit.good, right & ~unit.bad)
    proof.implies("bad_is_wrong", unit.bad, ~right)

    # Another image: no verdict is kept, nor one that was begun before.
    cleared = proof.later(clear, "cleared")
    stale = Signal(name="stale")
    m.d.sync += stale.eq(unit.busy & (stale | clear))
    proof.implies("no_verdict_of_what_is_gone", cleared | proof.later(stale, "was_stale"),
                  ~verdict.any())
    proof.implies("verdict_stays", old.any() & ~cleared, verdict == old)
    # It begins at once, and ends within a cycle a byte if memory does not wait.
    proof.implies("begins", proof.later(present & ~clear & idle & ~verdict.any(), "may_begin"),
                  unit.busy)
    cycles = Signal(range(CYCLES + 2), name="cycles")
    willing = (~ar.valid | ar.ready) & ((number == ahead) | offers)
    m.d.sync += cycles.eq(Mux(idle, 0, cycles + (willing & (cycles <= CYCLES))))
    proof.claim("ends", cycles <= CYCLES)
    proof.implies("ends_with_a_verdict", proof.later(unit.busy & ~clear & ~stale, "checked")
                  & idle & ~cleared, verdict.any())
    _inside(proof, probes, beats, number, ahead, more, count, cycles)
    proof.implies("stale_told", unit.busy, probes["stale"] == stale)
    proof.implies("no_verdict_while_busy", unit.busy, ~verdict.any())
    return proof


def _inside(proof: Harness, unit: Probes, beats: list[Any], number: Signal, ahead: Signal,
            more: Any, count: Signal, cycles: Signal) -> None:
    """How far the unit is, so that induction knows."""
    state, implies = unit.named("fsm_state"), proof.implies
    idle, ask, wait, takes, judge = (state == unit.state(name) for name in (
        "Idle", "Ask", "Beat", "Bytes", "Judge"))
    every, field = Cat(beats), beats[1][:32]
    # Bytes that it has been through, bursts that it has asked for.
    through, bursts = Signal(8, name="through"), Signal(4, name="bursts")
    proof.m.d.comb += [
        through.eq(BEAT_BYTES * number - Mux(takes, BEAT_BYTES - unit["byte"], 0)),
        bursts.eq((ahead + BLOCK - 1) // BLOCK)]
    proof.claim("state_known", idle | ask | wait | takes | judge)
    implies("first_of_all", idle & ~proof.later(~idle, "was_busy"), (number == 0) & (ahead == 0))
    implies("counted", ~idle, (number <= ahead) & (ahead <= BLOCK + Mux(number == 0, 0, more))
            & ((unit["known"] == (beats[0][:32] == MAGIC)) | (number == 0)))
    implies("left_true", ~idle, unit["left"] + number == BLOCK + Mux(number == 0, 0, more))
    implies("burst_true", wait | takes | judge, unit["in_burst"] + number == ahead)
    implies("burst_ended", ask | judge, number == ahead)
    implies("burst_begins", ask, (ahead % BLOCK == 0) & (unit["left"] != 0))
    implies("burst_waits", wait, number != ahead)
    implies("bytes_of_a_beat", takes, number != 0)
    implies("ended", judge, unit["left"] == 0)
    implies("place_true", ~idle, unit["place"] == BLOCK * BEAT_BYTES * bursts)
    implies("begins_at_a_block", ~idle & (ahead % BLOCK != 0), ahead == BLOCK + more)
    # The last bytes of a beat are in a register, the first ones of it went through.
    rest = Array(every[8 * n:8 * n + BITS] for n in range(BEAT_BYTES * (BLOCK + MORE)))
    mask = Array((1 << BITS - 8 * n) - 1 for n in range(BEAT_BYTES))
    implies("beat_true", takes, (unit["beat"] ^ rest[through[:5]]) & mask[unit["byte"]] == 0)
    end = CRC_PLACE + 8
    implies("count_true", ~idle, (unit["count"] == Mux(through >= end, end, through)) & (
        count == Mux(through >= end, through - 8, Mux(through >= CRC_PLACE, CRC_PLACE, through))))
    for n in range(5):
        known = field[:8 * n] if n else 0
        at = through >= CRC_PLACE + 4 if n == 4 else through == CRC_PLACE + n
        implies(f"field{n}_true", ~idle & at, unit["expected"][32 - 8 * n:] == known)
    each = BEAT_BYTES + 1
    implies("in_time", ~idle, cycles <= bursts + each * number - Mux(
        takes, BEAT_BYTES - unit["byte"], 0))


PROOFS = [
    Proof("image-check", "boards.image_check",
          "ImageCheck: its CRC is of the image's bytes, once, in order; the verdict is its",
          lambda units: _image_check(True, units), depth=13, induction=2, broken=(
              Break("(count < _UNCOVERED.start) |", "(count <= _UNCOVERED.start) |"),
              Break("m.d.sync += left.eq(BURST - 1 + beats)", "m.d.sync += left.eq(beats)"))),
    Proof("image-check-verdict", "boards.image_check",
          "ImageCheck, memory that answers at once, no beats after the block: likewise",
          lambda units: _image_check(False, units), depth=23, broken=(
              Break("good.eq(known & (crc.crc == expected))", "good.eq(crc.crc == expected)"),
              Break("bad.eq(~known | (crc.crc != expected))", "bad.eq(crc.crc != expected)"),
              Break("with m.If(~stale):", "with m.If(1):"))),
]
