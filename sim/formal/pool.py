# SPDX-License-Identifier: Apache-2.0
"""Pool: words go to memory, or are ORed into the windows of their positions; its queue has room."""

from types import ModuleType
from typing import Any
from unittest.mock import patch

from amaranth import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib.fifo import SyncFIFO

from hw.config import MIN_INTERVAL, POOL_ROWS
from hw.isa import Instruction
from hw.layout import LINE_WORDS
from hw.spike_memory import SpikeMemory
from sim.formal.harness import Break, Harness, Proof, small

SIDE = 5           # bits of a map's height and width
LINES = (15, 15)   # of the spike memory
TILE_WORDS = 3     # of the proof of the queue


class _AnyQueue(SyncFIFO):
    """Nothing but the ports of what `queue-6` proves; the proof drives the outputs."""

    def elaborate(self, platform: object) -> Module:
        return Module()


def _windows(units: ModuleType) -> Harness:
    """Any words in the order of their positions; one window, which can be any, is followed."""
    proof, hardware = Harness(), small(spike_lines=LINES)
    m, unit, memory = proof.m, units.Pool(hardware), SpikeMemory(hardware)
    queue = _AnyQueue(width=units.SpikeWord(hardware).size, depth=6)
    with patch.object(units, "SyncFIFO", lambda width, depth: queue):
        probes = proof.add(unit)
    word, inside = probes["word"], proof.add(memory, "memory")
    ins = proof.constant(Instruction(hardware), "instruction")
    m.d.comb += unit.instruction.eq(ins)
    proof.drive(unit.i.payload, "i_payload")
    proof.drive(unit.i.valid, "i_valid")
    proof.claim("entry", queue.w_en == (unit.i.valid & ins.fire))
    proof.claim("as_it_came", queue.w_data == unit.i.payload.as_value())
    for port, mine in (("pool_read", unit.read), ("pool_write", unit.write)):
        for name in mine.signature.members:
            m.d.comb += Value.cast(getattr(getattr(memory, port), name)).eq(
                Value.cast(getattr(mine, name)))
    # The engine reads the other half meanwhile.
    for name in ("en", "addresses"):
        proof.drive(getattr(memory.gather, name), f"gather_{name}")
    m.d.comb += memory.gather.half.eq(~ins.target_half)

    shown, item = proof.drive(queue.r_rdy, "shown"), proof.drive(queue.r_data, "r_data")
    waits = proof.later(shown & ~queue.r_en, "item_waits")
    proof.assume(~waits | (shown & (item == proof.later(item, "item_before"))))
    window = _Window(proof, ins, word.tag, shown, waits)
    proof.claim("row_of_windows", probes["below"] == waits)
    proof.implies("rows_of_windows", shown, queue.r_en == (waits | ~word.tag.row))

    # What the window is once all that came was written; the first word of it forgets what was.
    expected = Signal(len(word.spikes), name="expected")
    with m.If(window.visited):
        m.d.sync += expected.eq(Mux(window.known & ins.pool, expected, 0) | word.spikes)
    held = Array(inside.word(m, f"half{half}bank{bank}", window.line, len(word.spikes))
                 for half in (0, 1) for bank in range(LINE_WORDS))[
                     Cat(window.bank, ins.target_half)]
    proof.implies("held", window.known & ~proof.later(window.visited, "written_now"),
                  held == expected)
    proof.claim("idle", unit.idle == ~(shown | proof.later(shown, "shown_before")))
    proof.claim("row_done", unit.row_done == proof.later(
        shown & queue.r_en & word.tag.row_end, "row_ends"))
    return proof


class _Window:
    """The window of any position, step and channels; its place is what the tags say.

    waits:   the word that is shown was in the cycle before: its lower row of windows is due
    visited: a word is ORed into it in this cycle; known: one was before
    """

    def __init__(self, proof: Harness, ins: Any, tag: Any, shown: Any, waits: Any) -> None:
        m, pool = proof.m, ins.pool
        self.line, self.bank = proof.constant(tag.target.shape(), "line"), proof.constant(2, "bank")
        height, width, my_y, my_x = (proof.constant(SIDE, name)
                                     for name in ("height", "width", "my_y", "my_x"))
        proof.assume((self.line < LINES[0])
                     & (Mux(pool, my_y << 1, my_y) < height) & (Mux(pool, my_x << 1, my_x) < width))

        # Words that may belong to it are `mine`, and come position by position.
        mine, over = proof.free(1, "mine"), Signal(name="over")
        y, x = Signal(SIDE, name="y"), Signal(SIDE, name="x")
        y_last, x_last = y == height - 1, x == width - 1
        takes = shown & mine & (waits | ~tag.row)
        proof.assume(~waits | (mine == proof.later(mine, "mine_before")))
        with m.If(takes):
            m.d.sync += [x.eq(Mux(x_last, 0, x + 1)), y.eq(y + (x_last & ~y_last)),
                         over.eq(x_last & y_last)]
        proof.assume(~(shown & mine & over))
        proof.claim("inside_map", (y < height) & (x < width))

        # Tags as Drain makes them.
        proof.assume(~shown | pool | ~(tag.column | tag.row))
        proof.assume(~(shown & mine) | (
            (tag.left == (x == 0)) & (tag.top == (y == 0))
            & (tag.column == (pool & x[0] & ~x_last)) & (tag.row == (pool & y[0] & ~y_last))))
        row = tag.target + Mux(waits, Mux(
            tag.around, ins.target_row - ins.target_size, ins.target_row), 0)
        beyond = row + Mux(tag.bank == LINE_WORDS - 1, ins.target_column, 0)
        at, right = (Signal(len(tag.target), name=name) for name in ("at", "right_at"))
        m.d.comb += [at.eq(row), right.eq(beyond)]
        here = Mux(pool, (((y >> 1) + waits) == my_y) & ((x >> 1) == my_x),
                   (y == my_y) & (x == my_x))
        beside = (((y >> 1) + waits) == my_y) & ((x >> 1) + 1 == my_x)
        hit = (at == self.line) & (tag.bank == self.bank)
        hit_right = tag.column & (right == self.line) & ((tag.bank + 1)[:2] == self.bank)
        self.known = Signal(name="known")
        self.visited = shown & mine & (hit | hit_right)
        with m.If(self.visited):
            m.d.sync += self.known.eq(1)
        # Words have one place each (`hw.layout.SpikeMap`); before, anything may have been in it.
        proof.assume(~(shown & mine) | ((hit == here) & (hit_right == (tag.column & beside))))
        proof.assume(~(shown & ~mine & self.known) | ~(hit | hit_right))
        # Not twice within two cycles (`pool-queue-*`).
        proof.assume(~(shown & (hit | hit_right)
                       & proof.later(shown & (hit | hit_right), "hit_before")))
        # So that induction knows which position comes first in a window.
        first_y, first_x = (Mux(pool, Mux(place == 0, 0, (place << 1) - 1), place)[:SIDE]
                            for place in (my_y, my_x))
        proof.claim("known", self.known == (
            over | (y > first_y) | ((y == first_y) & (x > first_x))))


def _queue(neurons: int, units: ModuleType) -> Harness:
    """Groups of any sizes, as closely as `hw.compiler` lets them follow each other."""
    hardware = small(lanes=2 * TILE_WORDS, neurons=neurons, spike_lines=LINES)
    proof = Harness()
    m, unit = proof.m, units.Pool(hardware)
    probes = proof.add(unit)
    ins = proof.constant(Instruction(hardware), "instruction")
    m.d.comb += unit.instruction.eq(ins)
    proof.drive(unit.i.payload, "i_payload")
    proof.drive(unit.i.valid, "i_valid")
    largest = proof.constant(range(TILE_WORDS + 1), "largest")
    size = proof.free(range(TILE_WORDS + 1), "size")
    proof.assume((size != 0) & (size <= largest))
    per_word, valid, tag = hardware.geometry.spike_word // neurons, unit.i.valid, unit.i.payload.tag
    interval, longest = Signal(8, name="interval"), Signal(8, name="longest")
    m.d.comb += longest.eq(largest * Mux(ins.pool, max(POOL_ROWS, per_word), per_word))
    m.d.comb += interval.eq(Mux(longest < MIN_INTERVAL, MIN_INTERVAL, longest))

    # A group's words come one after the other, a word in `per_word` cycles; the next group then,
    # or later.
    number, left, pause, wait = (Signal(range(32), name=name)
                                 for name in ("number", "left", "pause", "wait"))
    first = valid & (left == 0)
    proof.assume(valid == Mux(left == 0, first, pause == 0))
    proof.assume(~first | (wait == 0))
    m.d.sync += [
        left.eq(Mux(first, size - 1, left - (valid & (left != 0)))),
        number.eq(Mux(first, 1, number + valid)),
        pause.eq(Mux(valid, per_word - 1, pause - (pause != 0))),
        wait.eq(Mux(first, interval - 1, wait - (wait != 0)))]
    proof.assume(~valid | (tag.timestep == Mux(first, 0, number)))
    proof.assume(ins.pool | ~(tag.column | tag.row))

    queue = probes["queue"]
    proof.implies("room", valid & ins.fire, queue.w_rdy)
    # So words of the same channels are two cycles apart: a window's, too.
    word = probes["word"]
    taken = proof.later(queue.r_rdy & queue.r_en, "taken")
    proof.implies("apart", taken & queue.r_rdy,
                  word.tag.timestep != proof.later(word.tag.timestep, "timestep_before"))
    return proof


PROOFS = [
    Proof("pool-windows", "hw.pool",
          "Pool and SpikeMemory: each window is the OR of its positions, each word without pooling "
          "at its place, whatever was there", _windows, depth=6, induction=4, quick=True, broken=(
              Break("top = below | word.tag.top", "top = word.tag.top"),
              Break("(top & (right | word.tag.left))", "(top & word.tag.left)"),
              Break("beyond = ins.target_column if bank == 0 else 0", "beyond = 0"),
              Break("ins.target_row - ins.target_size, ins.target_row)", "0, ins.target_row)"),
              Break("more = word.tag.row & ~below", "more = word.tag.row & 0"),
              Break("& (word.tag.bank == (bank - 1) % LINE_WORDS)", "& home"))),
    *(Proof(f"pool-queue-{neurons}", "hw.pool",
            "Pool, groups as close as they may be: its queue has room for every word, and no "
            f"window is visited twice within two cycles; words of {beats}",
            lambda units, neurons=neurons: _queue(neurons, units), depth=15,
            broken=(*broken, Break("queue.r_en.eq(~more)", "queue.r_en.eq(below)")))
      for neurons, beats, broken in (
          (1, "two beats", [Break("self._depth = 2 if beats", "self._depth = 1 if beats")]),
          (2, "one beat", [
              Break("2 * geometry.lanes // geometry.spike_word + 2", "2"),
              Break("more = word.tag.row & ~below", "more = word.tag.target[0] & ~below")]))),
]
