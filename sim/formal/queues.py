# SPDX-License-Identifier: Apache-2.0
"""Queues in use: what goes in comes out, once, in order, unchanged."""

from types import ModuleType
from typing import Any

from amaranth import Mux, Signal, Value

from hw.axi import READ_AHEAD
from hw.tiles import PARAM_SLOTS
from hw.window import QUEUE
from sim.formal.harness import Break, Harness, Probes, Proof

WIDTH = 4
# hw.scan (queue_depth by default), hw.pool (spike words of half the lanes).
PLAIN_DEPTHS = (2, 6, 16)
# hw.window, hw.fetch, boards.sdram, hw.axi.
BUFFERED_DEPTHS = (QUEUE, PARAM_SLOTS, 16, READ_AHEAD)


class Scoreboard:
    """What a queue of any kind promises, told by one item at a time, which can be any.

    An item that goes in when `marked` says so, by default at any time, is followed, one at a time:
    when as many items have come out as were before it, it comes out, and equals what went in.  As
    that holds for any item, none is lost, duplicated, moved or changed.

    level:    items inside
    followed: one of them is, `ahead` items are before it, and it is `item`
    """

    def __init__(self, proof: Harness, push: Any, item: Any, pop: Any, popped: Any,
                 capacity: int, name: str = "item", marked: Any = None) -> None:
        self.level = Signal(range(capacity + 2), name=f"{name}_level")
        self.followed, self.ahead = Signal(name=f"{name}_followed"), Signal(
            range(capacity + 2), name=f"{name}_ahead")
        self.item = Signal(Value.cast(item).shape(), name=f"{name}_followed_value")
        m = proof.m
        marked = proof.free(1, f"{name}_marked") if marked is None else marked
        m.d.sync += self.level.eq(self.level + push - pop)
        with m.If(push & marked & ~self.followed):
            m.d.sync += [self.followed.eq(1), self.ahead.eq(self.level - pop),
                         self.item.eq(item)]
        with m.If(self.followed & pop):
            m.d.sync += [self.ahead.eq(self.ahead - 1), self.followed.eq(self.ahead != 0)]
        proof.claim(f"{name}_room", self.level <= capacity)
        proof.implies(f"{name}_not_invented", pop, self.level != 0)
        proof.implies(f"{name}_unchanged", self.followed & pop & (self.ahead == 0),
                      Value.cast(popped) == self.item)
        # So that induction begins with a scoreboard that could be.
        proof.implies(f"{name}_inside", self.followed, self.ahead < self.level)


def around(start: Any, offset: Any, depth: int, m: Any, name: str) -> Signal:
    """A place in a ring of `depth` words."""
    place, total = Signal(range(depth), name=name), Signal(range(2 * depth + 1))
    m.d.comb += [total.eq(start + offset), place.eq(Mux(total >= depth, total - depth, total))]
    return place


def _plain(depth: int, units: ModuleType) -> Harness:
    proof = Harness()
    queue = units.SyncFIFO(width=WIDTH, depth=depth)
    probes = proof.add(queue)
    push, pop = _drive(proof, queue)
    board = Scoreboard(proof, push, queue.w_data, pop, queue.r_data, depth)
    start = probes["consume"]
    proof.claim("level_true", queue.level == board.level)
    proof.claim("start_inside", start < depth)
    proof.claim("end_true", probes["produce"] == around(start, board.level, depth, proof.m, "end"))
    word = probes.word(proof.m, "storage", around(start, board.ahead, depth, proof.m, "at"), WIDTH)
    proof.implies("word_kept", board.followed, word == board.item)
    return proof


def _buffered(depth: int, units: ModuleType) -> Harness:
    proof = Harness()
    queue = units.SyncFIFOBuffered(width=WIDTH, depth=depth)
    probes = proof.add(queue)
    push, pop = _drive(proof, queue)
    board = Scoreboard(proof, push, queue.w_data, pop, queue.r_data, depth)
    proof.claim("level_true", queue.level == board.level)
    buffered_invariant(proof, probes, "", board, depth)
    # Nobody waits for more than one cycle for what is inside.
    hidden = proof.later((queue.level != 0) & ~queue.r_rdy, "hidden")
    proof.implies("soon_shown", hidden, queue.r_rdy)
    return proof


def buffered_levels(proof: Harness, probes: Probes, path: str, items: Any, depth: int) -> None:
    """How many of `items` lie in which part of a SyncFIFOBuffered, so that induction knows."""
    inner, name = depth - 1, f"{path}queue".removeprefix("queue.").replace(".", "_")
    start, shown, level = (probes[path + name] for name in ("consume", "r_rdy", "inner_level"))
    proof.claim(f"{name}_level", items == level + shown)
    proof.claim(f"{name}_inner_level", level <= inner)
    # The word in front is in a register of its own, and moves there within a cycle.
    proof.implies(f"{name}_front", ~shown, level <= 1)
    proof.claim(f"{name}_start", start < inner)
    proof.claim(f"{name}_end", probes[path + "produce"] == around(
        start, level, inner, proof.m, f"{name}_end_at"))


def buffered_invariant(proof: Harness, probes: Probes, path: str, board: Scoreboard,
                       depth: int) -> None:
    """Where the items of a scoreboard lie in a SyncFIFOBuffered, so that induction knows."""
    buffered_levels(proof, probes, path, board.level, depth)
    start, shown = (probes[path + name] for name in ("consume", "r_rdy"))
    word = probes.word(proof.m, path + "storage", around(
        start, Mux(shown, board.ahead - 1, board.ahead)[:len(board.ahead)], depth - 1, proof.m,
        "queue_at"), len(board.item))
    front = shown & (board.ahead == 0)
    proof.implies("queue_word", board.followed,
                  Mux(front, probes[path + "r_data"] == board.item, word == board.item))


def _drive(proof: Harness, queue: Any) -> tuple[Value, Value]:
    """Both ends do what they like; returns that an item goes in, and out."""
    proof.drive(queue.w_data, "w_data")
    return (proof.drive(queue.w_en, "w_en") & queue.w_rdy,
            proof.drive(queue.r_en, "r_en") & queue.r_rdy)


_FULL = Break("self.w_rdy.eq(self.level != self.depth),\n            self.r_rdy",
              "self.w_rdy.eq(1),\n            self.r_rdy")
_BUFFERED = (
    Break("self.w_rdy.eq(inner_level != inner_depth)", "self.w_rdy.eq(1)"),
    Break("do_inner_read  = inner_r_rdy & (~self.r_rdy | self.r_en)",
          "do_inner_read  = inner_r_rdy"),
)

PROOFS = [
    Proof(f"queue-{depth}", "amaranth.lib.fifo",
          f"SyncFIFO of {depth} words: every item once, in order, unchanged",
          lambda units, depth=depth: _plain(depth, units), depth=max(8, min(24, depth + 4)),
          induction=3, broken=(_FULL,), quick=depth == 6)
    for depth in PLAIN_DEPTHS
] + [
    Proof(f"queue-buffered-{depth}", "amaranth.lib.fifo",
          f"SyncFIFOBuffered of {depth} words: every item once, in order, unchanged; shown within "
          "a cycle",
          lambda units, depth=depth: _buffered(depth, units), depth=min(24, depth + 6),
          induction=3, broken=_BUFFERED if depth < READ_AHEAD else _BUFFERED[1:],
          quick=depth == QUEUE)
    for depth in BUFFERED_DEPTHS
]
