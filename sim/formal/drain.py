# SPDX-License-Identifier: Apache-2.0
"""Drain: every sum of every position once, in order, in time, with the tag of plain loops."""

from types import ModuleType
from typing import Any

from amaranth import Array, Cat, Const, Mux, Signal, Value

from hw.isa import Emit, Instruction
from hw.tiles import PARAM_SLOTS
from sim.formal.harness import Break, Harness, Probes, Proof, small

LANES = 4
CHANNEL_BEATS = 15   # beats of all tiles of a layer


class _Loops:
    """Where a layer is: tile, y, x, timestep, turn of a pair, plane; beat of the group at work.

    send:  a beat goes out in this cycle; ends: it is the last one of its timestep
    """

    def __init__(self, proof: Harness, ins: Any, start: Any, valid: Any, pairs: Any,
                 beside: Any, neurons: int) -> None:
        m = self.m = proof.m
        self.ins, self.pairs, self.two = ins, pairs, pairs | beside
        for name, field in (("tile", ins.tiles), ("y", ins.height), ("x", ins.width),
                            ("step", ins.timesteps), ("plane", ins.planes)):
            setattr(self, name, Signal(field.shape(), name=f"at_{name}"))
        self.turn, self.running = Signal(name="at_turn"), Signal(name="running")
        self.number = Signal(16, name="at_number")   # of the position in its tile
        self.beat, self.active, self.again, self.age = (
            Signal(shape, name=f"at_{name}") for name, shape in (
                ("beat", range(LANES + 1)), ("active", 1), ("again", 1), ("age", 14)))
        self.due = Signal(range(neurons + 1), name="due")

        self.beats = Mux(self.tile == ins.tiles - 1, ins.last_beats, LANES // neurons)
        half = ins.last_beats >> 1
        self.upper = beside & (self.beat >= half)
        self.channel = self.beat - Mux(self.upper, half, 0)
        self.odd = self.turn | self.upper
        self.here = self.x | self.odd
        self.x_last, self.y_last = self.here == ins.width - 1, self.y == ins.height - 1
        self.step_last = self.step == ins.timesteps - 1
        self.plane_last = ins.samples | (self.plane == ins.planes - 1)
        self.ring = Signal(ins.target_rows.shape(), name="at_ring")
        self.ring_last = self.ring == ins.target_rows - 1
        self.row_over = ~ins.pool | self.y[0] | self.y_last

        # A beat a cycle, of the classifier one in `neurons`; a repetition after the interval.
        longest = Mux(ins.interval > self.beats, ins.interval, self.beats)
        between = self.again & (self.beat == 0)
        self.send = Signal(name="send")
        m.d.comb += self.send.eq(valid | (self.active & Mux(
            between, self.age == longest + 1, self.due == 0)))
        self.ends = self.send & (self.beat == self.beats - 1)
        repeats = ins.repeat & self.plane_last & ~self.step_last
        m.d.sync += [self.due.eq(Mux(self.send & (ins.emit == Emit.LOGITS), neurons - 1,
                                     self.due - (self.due != 0))),
                     self.age.eq(Mux(self.send & (self.beat == 0), 1,
                                     self.age + ~self.age.all()))]
        with m.If(self.send):
            m.d.sync += [self.beat.eq(Mux(self.ends, 0, self.beat + 1)),
                         self.active.eq(~self.ends | repeats)]
        with m.If(self.ends):
            m.d.sync += self.again.eq(repeats)
            self._next()
        with m.If(start):
            m.d.sync += [self.running.eq(1)] + [each.eq(0) for each in (
                self.tile, self.y, self.x, self.step, self.plane, self.turn, self.number,
                self.ring)]

    def _next(self) -> None:
        m, ins = self.m, self.ins
        repeats = ins.repeat & self.plane_last & ~self.step_last
        with m.If(~repeats):
            m.d.sync += self.plane.eq(Mux(self.plane_last, 0, self.plane + 1))
        with m.If(self.plane_last):
            m.d.sync += self.turn.eq(self.pairs & ~self.turn)
        with m.If(self.plane_last & (~self.pairs | self.turn)):
            m.d.sync += self.step.eq(Mux(self.step_last, 0, self.step + 1))
            with m.If(self.step_last):
                m.d.sync += [self.x.eq(Mux(self.x_last, 0, self.x + 1 + self.two)),
                             self.number.eq(self.number + 1 + self.two)]
                with m.If(self.x_last):
                    m.d.sync += self.y.eq(self.y + 1)
                    with m.If(self.row_over):
                        m.d.sync += self.ring.eq(Mux(self.ring_last, 0, self.ring + 1))
                    with m.If(self.y_last):
                        m.d.sync += [self.y.eq(0), self.number.eq(0), self.tile.eq(self.tile + 1)]
                        with m.If(self.tile == ins.tiles - 1):
                            m.d.sync += self.running.eq(0)


def _drain(options: dict[str, Any], units: ModuleType) -> Harness:
    proof, neurons = Harness(), options.get("neurons", 1)
    hardware = small(**{"lanes": LANES, "acc_width": 3, "neurons": neurons, "program_words": 8,
                        "channel_beats": CHANNEL_BEATS}
                     | options)
    m, unit = proof.m, units.Drain(hardware)
    probes = proof.add(unit)
    ins = proof.constant(Instruction(hardware), "instruction")
    m.d.comb += unit.instruction.eq(ins)
    start, restart = proof.drive(unit.start, "start"), proof.drive(unit.restart, "restart")
    valid = proof.drive(unit.i.valid, "i_valid")
    sums = proof.drive(unit.i.payload, "i_payload")
    pairs = ins.pairs if hardware.pairs else Const(0)
    beside = ins.beside if hardware.beside else Const(0)
    window = ins.target_window if hardware.spills_maps else Const(0)
    at = _Loops(proof, ins, start, valid, pairs, beside, neurons)
    _allowed(proof, hardware, ins, at, pairs, beside, window)

    # The lanes hold a sum until the next one, which comes when this one has gone.
    proof.assume(~valid | (at.running & ~at.active & ~start))
    proof.assume(~start | (proof.started & ~at.running & ~at.active))
    proof.assume(valid | ~at.active | (sums.as_value() == proof.later(sums, "sums_before")))
    released = Signal(unit.released.shape(), name="tiles_released")
    over = at.ends & at.plane_last & (~pairs | at.turn) & at.step_last & at.x_last & at.y_last
    m.d.sync += released.eq(Mux(restart, 0, released + over))
    proof.claim("released", unit.released == released)
    proof.claim("done", unit.done == (over & (at.tile == ins.tiles - 1)))

    # What is sent in this cycle is there in the next one.
    out, tag = unit.o, unit.o.payload.tag
    sent = proof.later(at.send, "sent")
    proof.claim("each_beat", out.valid == sent)
    values = Array(Cat(sums.sums[n + k] for k in range(neurons))
                   for n in range(0, LANES, neurons))[at.beat]
    proof.implies("values", sent, out.payload.values.as_value()
                  == proof.later(values, "due_values"))
    events = Mux(at.upper, sums.odd_events, sums.events) if hardware.beside else sums.events
    proof.implies("events", sent, out.payload.events
                  == proof.later(Mux(at.again, 0, events), "due_events"))
    for name, value in _tag(hardware, ins, at, pairs, beside, window, over, released).items():
        field = Value.cast(getattr(tag, name))
        due = Signal(len(field), name=f"tag_{name}")
        m.d.comb += due.eq(value)
        when = ~beside if name == "residual" else 1   # no such layer adds to the stream
        proof.implies(name, sent & when, field == proof.later(due, f"due_{name}"))
    _invariant(proof, probes, hardware, ins, at, pairs, window)
    return proof


def _allowed(proof: Harness, hardware: Any, ins: Any, at: _Loops, pairs: Any, beside: Any,
             window: Any) -> None:
    """What the compiler writes; sizes may be any."""
    for name in ("planes", "timesteps", "tiles", "height", "width", "last_beats", "target_rows"):
        proof.assume(getattr(ins, name) != 0)
    beats = hardware.geometry.beats
    proof.assume((ins.last_beats <= beats) & (ins.interval != 0) & (ins.target_rows < 1000))
    proof.assume((ins.tiles < 16) & ((ins.tiles - 1) * beats + ins.last_beats <= CHANNEL_BEATS))
    # Rows on chip: all, or a ring of them.
    proof.assume(window | (ins.target_rows == Mux(ins.pool, (ins.height + 1) >> 1, ins.height)))
    proof.assume(~(ins.repeat & (pairs | (ins.emit == Emit.LOGITS))))
    proof.assume(~(pairs & beside) & (~at.two | ~ins.width[0]))
    proof.assume(~beside | (ins.target_grid & ~ins.last_beats[0] & (ins.tiles == 1)))
    proof.assume(~at.number[1:].all())   # no more positions than its bits count
    if hardware.pairs:
        proof.assume(~ins.target_pair | (~ins.target_grid & ~ins.pool & ~ins.width[0]))
        bits = len(ins.residual_odd)
        stride = (ins.timesteps * ins.residual_stride)[:bits]
        proof.assume(~pairs | ((ins.residual_odd == stride) & (
            ins.residual_even == (ins.residual_stride - stride)[:bits])))
        shared = ins.target_grid | ins.target_pair | ins.pool
        bits = len(ins.target_odd)
        proof.assume(~pairs | (
            Mux(shared, ins.target_odd == 0, (ins.target_odd << 1)[:bits] == ins.target_column)
            & (ins.target_even == (ins.target_step - ins.target_odd)[:bits])))


def _place(hardware: Any, ins: Any, at: _Loops, pairs: Any, window: Any) -> dict[str, Any]:
    """Line of a tile, row, column and step, from those before."""
    pair = ins.target_pair if hardware.pairs else Const(0)
    column = Mux(ins.pool, at.x >> 1, at.x)
    lines = Mux(ins.target_grid, column >> 2, Mux(pair | (pairs & ~ins.pool), at.x >> 1, column))
    tile = ins.target_base + Mux(window, 0, at.tile * ins.target_tile)
    row = tile + at.ring * ins.target_row
    position = row + lines * ins.target_column
    odd = at.turn * ins.target_odd if hardware.pairs else 0
    return {"tile": tile, "row": row, "position": position,
            "step": position + at.step * ins.target_step + odd, "column": column, "pair": pair}


def _tag(hardware: Any, ins: Any, at: _Loops, pairs: Any, beside: Any, window: Any, over: Any,
         released: Any) -> dict[str, Any]:
    geometry = hardware.geometry
    per_word = (geometry.spike_word // geometry.neurons).bit_length() - 1
    channel_beat = at.tile * geometry.beats + at.channel
    word, place = channel_beat >> per_word, _place(hardware, ins, at, pairs, window)
    pair, first = place["pair"], (at.number == 0) & ~at.odd & (at.step == 0)
    last = at.x_last & at.y_last & at.step_last
    emit = Mux(ins.accumulate, last, at.plane_last)
    column = Mux(ins.pool, at.here >> 1, at.here)
    return {
        "beat": at.beat, "channel_beat": channel_beat,
        "param": Cat(at.channel[:len(at.beat) - 1], released[:(PARAM_SLOTS - 1).bit_length()])
        if hardware.streamed else ins.param_base + channel_beat,
        "fresh": Mux(ins.accumulate, first, at.plane == 0),
        "subtract": ins.signed_input & ~ins.samples & (at.plane == 0), "emit": emit,
        "first_timestep": at.step == 0, "first_token": first,
        "residual": ((at.number + at.odd) * ins.timesteps + at.step) * ins.residual_stride
        + channel_beat,
        "target": place["step"] + Mux(ins.target_grid, at.channel >> per_word,
                                      Mux(pair, word >> 1, word >> 2)),
        "bank": Mux(ins.target_grid, column[:2], Mux(pair, Cat(word[0], at.here[0]), word[:2])),
        "left": at.here == 0, "top": at.y == 0, "around": at.ring_last,
        "column": ins.pool & at.here[0] & ~at.x_last, "row": ins.pool & at.y[0] & ~at.y_last,
        "row_end": at.ends & at.x_last & at.step_last & emit & at.row_over,
        "position": at.number + at.odd, "timestep": at.step,
    } | ({"odd": at.turn} if hardware.pairs else {})


def _invariant(proof: Harness, probes: Probes, hardware: Any, ins: Any, at: _Loops, pairs: Any,
               window: Any) -> None:
    """What the unit's registers are, so that induction knows."""
    beats, m = hardware.geometry.beats, proof.m
    place = _place(hardware, ins, at, pairs, window)
    number = at.number * ins.timesteps + at.step
    odd = at.turn * ins.residual_odd if hardware.pairs else 0
    registers = {
        "plane": at.plane, "timestep": at.step, "x": at.x, "y": at.y, "tile": at.tile,
        "position": at.number, "ring": at.ring, "channel_beat": at.tile * beats,
        "residual_tile": at.tile * beats,
        "residual": number * ins.residual_stride + at.tile * beats + odd,
        "target_tile": place["tile"], "target_row": place["row"],
        "target_position": place["position"], "target": place["step"]}
    for name, value in registers.items():
        ours = Signal(len(probes[name]), name=f"ref_{name}")
        m.d.comb += ours.eq(value)
        when = ~at.two | pairs if name == "residual" else 1
        proof.implies(f"unit_{name}", at.running & when, probes[name] == ours)
    column = Signal(2, name="ref_column")
    m.d.comb += column.eq(place["column"])
    proof.implies("unit_column", at.running & ins.target_grid, probes["column"] == column)
    between = at.active & at.again & (at.beat == 0)
    longest = Mux(ins.interval > at.beats, ins.interval, at.beats)
    waits = at.age <= longest
    proof.claim("unit_active", probes["active"] == (at.active & ~(between & waits)))
    proof.claim("unit_repeating", probes["repeating"] == (between & waits))
    proof.claim("unit_again", (between & waits) | (probes["again"] == at.again))
    proof.claim("unit_beat", probes["beat"] == at.beat)
    proof.implies("unit_pitch", at.active, probes["pitch"] == Mux(
        at.age < ins.interval, ins.interval - at.age, 0))
    proof.implies("unit_pause", at.active, probes["pause"] == at.due)
    if hardware.pairs:
        proof.claim("unit_turn", probes["turn"] == at.turn)
    # Inside its loops.
    proof.implies("inside", at.running, (at.tile < ins.tiles) & (at.y < ins.height)
                  & (at.x < ins.width) & (at.step < ins.timesteps) & (at.plane < ins.planes)
                  & (at.ring < ins.target_rows) & (at.beat < at.beats))
    proof.claim("idle", at.running | (~at.active & ~at.turn & (at.beat == 0)))
    proof.implies("again", at.again, at.active & (at.step != 0) & ins.repeat & at.plane_last)
    proof.implies("at_work", at.beat != 0, at.active)
    proof.implies("old", at.active & (ins.emit != Emit.LOGITS), Mux(
        at.beat == 0, (at.age >= at.beats) & (waits | (at.age == longest + 1)),
        at.age == at.beat))
    proof.implies("begun", at.active & (at.beat == 0), at.again)
    proof.claim("due", at.due < hardware.geometry.neurons)
    proof.claim("even", ~at.two | ~at.x[0])
    proof.implies("one_plane", ins.samples, at.plane == 0)
    proof.claim("turns", pairs | ~at.turn)
    proof.implies("all_rows", at.running & ~window, at.ring == Mux(
        ins.pool, at.y >> 1, at.y))
    proof.implies("first", at.running & (at.number == 0), (at.x == 0) & (at.y == 0))


_BREAKS = {
    "plain": (
        Break("ending.eq(sending & (beat == beats - 1))", "ending.eq(sending & (beat == beats))"),
        Break("Mux(again, 0, events)", "events"),
        Break("pitch.eq(ins.interval - 1)", "pitch.eq(ins.interval)"),
        Break("target.eq(target + ins.target_step)]\n            if",
              "target.eq(target + ins.target_column)]\n            if"),
        Break("Mux(y[0] | ~ins.pool, Mux(ring_last", "Mux(y[0] & ins.pool, Mux(ring_last"),
        Break("tag.fresh.eq(Mux(ins.accumulate, group_first, plane == 0))",
              "tag.fresh.eq(plane == 0)"),
        Break("self.i.valid | (active & (pause == 0))", "active & (pause == 0)")),
    "classifier": (
        Break("pause.eq(geometry.neurons - 1)", "pause.eq(geometry.neurons - 2)"),
        Break("slots[tag.beat]", "slots[0]")),
    "window": (
        Break("on = Mux(ring_last, ins.target_base, target_row + ins.target_row)",
              "on = Mux(ring_last, ins.target_base, target_row)"),
        Break("self.released[:(PARAM_SLOTS - 1).bit_length()]", "self.released[:1]"),
        Break("Mux(ins.target_window & ~ring_last, ring + 1, 0)", "0")),
    "pairs": (
        Break("residual.eq(residual + ins.residual_even)", "residual.eq(residual)"),
        Break("column + (odd & ~ins.pool)", "column + odd"),
        Break("turn.eq(pairs & ~turn)", "turn.eq(pairs)"),
        Break("beat - Mux(beside, half, 0)", "beat"),
        Break("events = Mux(beside, self.i.payload.odd_events, events)",
              "events = self.i.payload.events"))}

PROOFS = [
    Proof(f"drain-{label}", "hw.drain", f"Drain, {what}: each beat of each sum once, in order, in "
          "time, with the tag of plain loops over tile, position, timestep, plane",
          lambda units, options=options: _drain(options, units), depth=8, induction=2,
          broken=_BREAKS[label])
    for label, what, options in (
        ("plain", "a position at a time, repeated sums", {}),
        ("classifier", "beats of two neurons, of the classifier class by class", {"neurons": 2}),
        ("window", "rows of windowed maps, streamed parameters, all the rest",
         {"port_bits": 64, "spills_maps": True, "pairs": True, "beside": True}),
        ("pairs", "two positions at a time", {"pairs": True, "beside": True}))
]
