# SPDX-License-Identifier: Apache-2.0
"""Dispatch as a whole: each spike of each line once, as an event of its bank, within its group."""

from types import ModuleType
from typing import Any

from amaranth import Cat, Const, Mux, Signal

from sim.formal.harness import Break, Harness, Proof, small

# Rows of the line that is followed; those of all others are below, and none is 0.
MARKED_ROW = 16
OTHER_ROWS = 6
# Cycles until something leaves when something waits, and until a line is taken.
PATIENCE = 6
_GROUPS = 4   # bits of counters of groups


def _dispatch(ports: int, streamed: bool, units: ModuleType) -> Harness:
    """Any lines, in any groups, of any layer; one line, which can be any, is known by its row."""
    proof = Harness()
    m = proof.m
    hardware = small(banks=2, ports=ports, weight_rows=31, queue_depth=2, **(
        {"port_bits": 64, "residual_words": 0, "program_words": 8} if streamed else {}))
    unit = units.Dispatch(hardware)
    proof.add(unit)
    ins = proof.constant(unit.instruction.shape(), "instruction")
    m.d.comb += unit.instruction.as_value().eq(ins.as_value())
    proof.assume((ins.word_stride != 0) & (ins.word_stride <= 3) & (ins.planes != 0)
                 & (ins.planes <= 2) & (ins.last_interval <= 2))
    loading = proof.drive(unit.loading, "loading") if streamed else Const(0)
    permit = proof.drive(unit.permit, "permit") if streamed else Const(1)
    line, taken = unit.i.payload, proof.source(unit.i, "i")
    # The first cycle is that of the instruction's `start`, and takes no line.
    proof.assume(proof.started | ~unit.i.valid)
    proof.assume(~unit.i.valid | (line.kernel_row <= 2))

    # The line that is followed, and its group.
    marks, marked = proof.free(1, "marks"), Signal(name="marked")
    proof.assume(~unit.i.valid | Mux(marks & ~marked, line.row == MARKED_ROW,
                                     (line.row != 0) & (line.row <= OTHER_ROWS)))
    waited = proof.later(unit.i.valid & ~unit.i.ready, "line_waited")
    proof.assume(~waited | (marks == proof.later(marks, "marks_before")))
    words, first, kernel_row = (Signal(shape, name=name) for name, shape in (
        ("words", len(line.words.as_value())), ("first", 2), ("kernel_row", 2)))
    arrived, group = Signal(_GROUPS, name="arrived"), Signal(_GROUPS, name="group")
    m.d.sync += arrived.eq(arrived + (taken & line.last))
    with m.If(taken & marks & ~marked):
        m.d.sync += [marked.eq(1), words.eq(line.words), first.eq(line.first),
                     kernel_row.eq(line.kernel_row), group.eq(arrived)]

    # Where its spikes have to appear.
    o = unit.o.payload
    opens = o.close | o.shift
    closed, now = Signal(_GROUPS, name="closed"), Signal(_GROUPS, name="now")
    m.d.comb += now.eq(closed + opens)
    m.d.sync += closed.eq(now)
    seen, hits = Signal(len(words), name="seen"), []
    for slot, row in enumerate(o.rows):
        hit = Signal(len(words), name=f"hit{slot}")
        for place in range(len(words)):
            word, channel = divmod(place, hardware.geometry.spike_word)
            column = (word - first)[:2]
            turn = Mux(ins.kernel3, kernel_row + column, 0)
            its_row = MARKED_ROW + Mux(column[0], ins.word_stride, 0) + Mux(
                column[1], ins.word_stride << 1, 0)
            m.d.comb += hit[place].eq((row == its_row) & ((channel + turn)[0] == slot // ports))
        mine = row >= MARKED_ROW
        proof.implies(f"known{slot}", mine, marked & (hit & words).any())
        proof.implies(f"once{slot}", mine, ~(hit & seen).any())
        proof.implies(f"own_group{slot}", mine, now == group)
        hits.append(Mux(mine, hit, 0))
    for n, one in enumerate(hits):
        for other in hits[:n]:
            proof.claim(f"different{n}", ~(one & other).any())
    every = hits[0]
    for hit in hits[1:]:
        every = every | hit
    m.d.sync += seen.eq(seen | every)
    ends = marked & opens & (closed == group)
    proof.implies("all_seen", ends, seen == words)
    proof.claim("counted", o.count == sum(row != 0 for row in o.rows))
    _groups(proof, unit, ins, o, arrived, closed)
    if streamed:
        told = Signal(2, name="told")   # of the line: that it ended its group, of the last tile
        with m.If(taken & marks & ~marked):
            m.d.sync += told.eq(Cat(line.last, line.last_tile))
        _streamed(proof, unit, o, loading, Mux(marked & told[0] & (now == group), told, 0))
    _progress(proof, unit, o, opens, arrived != closed, permit & (loading == 0))
    return proof


def _groups(proof: Harness, unit: Any, ins: Any, o: Any, arrived: Signal, closed: Signal) -> None:
    """Which of them close, shift and change their sign, and how closely they follow each other."""
    proof.claim("ended_groups_only", ~(o.close | o.shift) | (arrived != closed))
    plane, m = closed & (ins.planes - 1), proof.m   # of one or two
    last = ~ins.samples | (plane == ins.planes - 1)
    proof.implies("close_or_shift", o.close | o.shift, (o.close == last) & (o.shift == ~last))
    proof.implies("negate", o.shift, o.negate == (ins.signed_input & (plane == 0)))
    # The finish pipeline has one group at work and one waiting, at most.
    left = Signal(4, name="left")
    m.d.sync += left.eq(Mux(o.close, left + ins.last_interval, left) - (left != 0))
    proof.implies("room", o.close, left <= ins.last_interval)


def _streamed(proof: Harness, unit: Any, o: Any, loading: Any, told: Any) -> None:
    """A bank's second port is free when it loads; groups close when the pipeline has room."""
    for bank, loads in enumerate(loading):
        proof.implies(f"port{bank}_free", proof.later(loads, f"loads{bank}"),
                      o.rows[2 * bank + 1] == 0)
    proof.claim("closed_told", o.close == proof.later(unit.closed, "close_told"))
    proof.implies("permitted", unit.closed, unit.permit)
    proof.implies("tile_told", told[0] & unit.closed, unit.last_tile == told[1])


def _progress(proof: Harness, unit: Any, o: Any, opens: Any, waits: Any, willing: Any) -> None:
    """Nothing is left inside, and no line outside, for more than PATIENCE cycles."""
    quiet, stalled = (Signal(range(PATIENCE + 2), name=name) for name in ("quiet", "stalled"))
    moves = opens | (o.count != 0)
    for counter, idle in ((quiet, waits & ~moves), (stalled, unit.i.valid & ~unit.i.ready)):
        proof.m.d.sync += counter.eq(Mux(idle, counter + (willing & (counter <= PATIENCE)), 0))
    proof.claim("goes_on", quiet <= PATIENCE)
    proof.claim("line_is_taken", stalled <= PATIENCE)


_CLAIM = "each spike once, in its bank and group; groups closed in time"
_UNFINISHED = Break("& ~unfinished", "")

PROOFS = [
    Proof("dispatch-one-port", "hw.dispatch", f"Dispatch, an event per bank and cycle: {_CLAIM}",
          lambda units: _dispatch(1, False, units), depth=12, broken=(
              Break("Mux(close, left == 0, left <= ins.last_interval)", "0"),
              Break("enter.eq(full & room)", "enter.eq(full)"),
              _UNFINISHED,
              Break("column = (n - line.first)[:2]", "column = Const(n, 2)"),
              Break("self.i.ready.eq(~full | enter)", "self.i.ready.eq(1)"),
              Break("left == 0, left <= ins.last_interval", "1, 1"),
              Break("(plane == 0)", "(plane != 0)"))),
    Proof("dispatch-two-ports", "hw.dispatch",
          f"Dispatch, two events per bank and cycle: {_CLAIM}",
          lambda units: _dispatch(2, False, units), depth=11, broken=(
              _UNFINISHED,
              Break("scan.i.payload.tag.eq(in_tag)", "scan.i.payload.tag.eq(following)"))),
    Proof("dispatch-streamed", "hw.dispatch",
          f"Dispatch beside loading tiles and a residual stream that is not here: {_CLAIM}",
          lambda units: _dispatch(2, True, units), depth=10, broken=(
              Break("(goes_on | (free & permit))", "(goes_on | free)"),
              Break("scan.blocked.eq(self.loading[bank])", "scan.blocked.eq(0)"),
              Break("marks.bit_select(tag, 1)", "marks.bit_select(in_tag, 1)"))),
]
