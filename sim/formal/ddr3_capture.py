# SPDX-License-Identifier: Apache-2.0
"""Blocks of the DDR3 out of samples of its pins, whenever data comes."""

from types import ModuleType
from unittest.mock import patch

from amaranth import Cat, Signal, Value

from boards.ddr3_chip import BURST_CYCLES, SLOTS
from boards.ddr3_startup import POSITIONS
from sim.formal.harness import Break, Harness, Proof

PINS = 2
# From `go` to the samples of position 0, as tests/boards/test_ddr3_reads.py has it too; from a
# block's first word to all of it being here.
EARLIEST = 8
WHOLE = BURST_CYCLES + 1
LATEST = EARLIEST + POSITIONS // SLOTS - 1 + WHOLE


def _capture(units: ModuleType) -> Harness:
    """Any samples, reads whenever it pleases but for the time that a block takes, any positions.

    A block is what was at each second slot pair of the samples from its position on: nothing else
    is known of them, so this is what any chip gives that puts its words there.
    """
    proof = Harness()
    m = proof.m
    with patch.multiple(units, WORD_BITS=PINS, BLOCK=2 * PINS * BURST_CYCLES):
        unit = units.Capture()
        probes = proof.add(unit)
    go, samples = proof.drive(unit.go, "go"), proof.drive(unit.samples, "samples")
    position = proof.drive(unit.position, "position")
    before = proof.later(position, "position_before")
    # Bit n: a read n cycles ago.
    past = Signal(LATEST + 1, name="past")
    m.d.sync += past[1:].eq(Cat(go, past[1:]))
    proof.assume(~go | ~past[1:BURST_CYCLES].any())
    fixed = proof.later(unit.under_way, "was_under_way")
    proof.assume((~fixed & (~past[1:].any() | (position <= before + SLOTS))) | (position == before))

    cycle, slot = position[3:], position[:3]
    ages = [past[n:] for n in range(LATEST + 1)]
    due = ages[EARLIEST + WHOLE].bit_select(cycle, 1)
    missing = Cat(past[n] & ((cycle + EARLIEST + WHOLE) >= n) for n in range(1, LATEST + 1))
    proof.claim("each_once", unit.valid == due)
    proof.claim("under_way_told", unit.under_way == missing.any())

    # Samples of each pin in the cycles before this one, the earliest first.
    seen = [samples]
    for n in range(1, WHOLE + 1):
        seen.insert(0, proof.later(seen[0], f"samples_before{n}"))

    def word(number: int, first: int, at: Value) -> Value:
        """That of a block whose first word was so many cycles ago."""
        half, which = number // 2, number % 2
        return Cat(Cat(each[SLOTS * bit:SLOTS * (bit + 1)] for each in seen[
            WHOLE - first + half:WHOLE - first + half + 2])[SLOTS // 2 * which:].bit_select(at, 1)
            for bit in range(PINS))
    proof.implies("block_true", unit.valid,
                  unit.block == Cat(word(n, WHOLE, slot) for n in range(2 * BURST_CYCLES)))

    # For the induction.
    line, piece, count = (probes[name] for name in ("line", "piece", "count"))
    proof.claim("line_true", line == past[1:len(line) + 1])
    for n in range(1, BURST_CYCLES):
        proof.claim(f"reads_apart{n}", (past[1:] & (past[1:] >> n)) == 0)
        proof.claim(f"piece{n}_true", (piece == n) == ages[EARLIEST + 2 + n].bit_select(cycle, 1))
    proof.claim("count_true", count == sum(missing[n] for n in range(len(missing))))
    proof.claim("samples_kept", probes["before"] == seen[-2])
    proof.claim("pair_true", probes["two"] == Cat(word(n, 2, before[:3]) for n in range(2)))
    earlier = probes["earlier"]
    for n in range(1, BURST_CYCLES):
        for k in range(n):
            top = 2 * PINS * (BURST_CYCLES - 1 - n + k)
            proof.implies(f"pair{k}_of_{n}", piece == n, earlier[top:top + 2 * PINS] == Cat(
                word(2 * k + each, 2 + n, slot) for each in range(2)))
    return proof


PROOFS = [
    Proof("ddr3-capture", "boards.ddr3_reads",
          "DDR3 samples: at any position, each block once, in order, of the words that were there",
          _capture, depth=18, induction=2, broken=(
              Break("slot, cycle = self.position[:3], self.position[3:]",
                    "slot, cycle = self.position[:3], self.position[4:]"),
              Break("window[SLOTS // 2 * half:]", "window[SLOTS // 2 * half + 1:]"),
              Break("self.under_way.eq(count != 0)", "self.under_way.eq(line.any())"),
              Break("_EARLIEST = READ_LATENCY + 3", "_EARLIEST = READ_LATENCY + 2")), quick=True),
]
