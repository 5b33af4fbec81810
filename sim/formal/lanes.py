# SPDX-License-Identifier: Apache-2.0
"""LaneArray: the sum of a group is that of the weights that its events name, exactly."""

from collections.abc import Sequence
from typing import Any

from amaranth import Array, Const, Mux, Signal, Value, signed
from amaranth.lib import data

from hw.config import HardwareConfig
from hw.lanes import EVENT_COUNT_BITS, LaneArray, tree_levels
from sim.formal.harness import Break, Harness, Probes, Proof, small

WIDE = 32
ROWS = 3   # of weights, besides the one of zeros
# Weights that are on chip from the start: of a lane all different, of both signs.
IMAGES = ((0, 0b1001, 0b0110, 0b1111), (0, 0b0111, 0b1110, 0b1000), (0, 0x4b29, 0x87d1, 0xfe35))


def lane_hardware(**changes: Any) -> HardwareConfig:
    """Hardware with few weights."""
    return small(**{"weight_rows": ROWS + 1, "acc_width": 6, "program_words": 8} | changes)


def lane_sums(hardware: HardwareConfig, lanes: type[LaneArray]) -> tuple[Harness, Any, Probes]:
    """Any events of any groups; a lane, which can be any, in wide integers.

    Returns also the unit, of that class, and its probes.
    """
    proof = Harness()
    geometry, bits = hardware.geometry, hardware.weight_bits
    images = [] if hardware.streamed else IMAGES[:geometry.banks]
    m, unit = proof.m, lanes(hardware, images)
    probes = proof.add(unit)
    events, levels = proof.drive(unit.i.payload, "i"), tree_levels(hardware)
    interval = proof.constant(unit.interval.shape(), "interval")
    m.d.comb += unit.interval.eq(interval)
    proof.assume((interval != 0) & (interval < 6))
    for row in events.rows:
        proof.assume(row <= ROWS)
    # As `dispatch-*` prove: a group or a plane begins, or neither does.
    proof.assume(~(events.close & events.shift))
    if hardware.pairs:
        proof.assume(~(events.fork & (events.close | events.shift)))
    clearing, writes = Const(0), None
    if hardware.streamed:
        # From reset on, until what the banks showed at first has left the adders; no events yet.
        clearing = proof.drive(unit.clearing, "clearing")
        proof.assume(Mux(proof.started, ~clearing | proof.later(clearing, "cleared"), clearing))
        proof.assume(clearing | proof.later(proof.started, "shown", levels + 1))
        proof.assume(~clearing | (events.as_value() == 0))
        writes = _writes(proof, unit, hardware)
    else:
        # A reset takes some cycles, in which Dispatch names row 0.
        proof.assume(proof.started | (probes["banks.weights"].as_value() == 0))

    # What the events of this cycle add: weights as they are now.
    lane = proof.constant(range(geometry.lanes), "lane")
    added = Signal(signed(WIDE), name="added")
    weights = []
    for slot, row in enumerate(events.rows):
        bank = slot // geometry.ports
        word = probes.word(m, f"banks.bank{bank}", row, geometry.lanes * bits)
        weight = word.word_select(lane, bits).as_signed()
        if writes is not None:
            proof.claim(f"zero{slot}", probes.word(
                m, f"banks.bank{bank}", Const(0, len(row)), geometry.lanes * bits) == 0)
            if slot % geometry.ports:
                # That port writes: Dispatch sends it no event then.
                proof.assume(~writes[bank] | (row == 0))
        weights.append(weight)
    m.d.comb += added.eq(tree_sum(weights))

    # The accumulator is some cycles behind.
    behind = levels + 1
    new = proof.later(added, "new_added", behind)
    last = data.View(events.shape(), proof.later(events, "new", behind))
    total, kept, after = (Signal(signed(WIDE), name=name) for name in ("total", "kept", "after"))
    start = Const(0)
    if hardware.pairs:
        start = Mux(last.resume, kept, 0)
        with m.If(last.fork):
            m.d.sync += kept.eq(total)
    doubled = Mux(last.negate, -(total << 1), total << 1)
    m.d.comb += after.eq(Mux(last.close, start, Mux(last.shift, doubled, total)) + new)
    m.d.sync += total.eq(after)
    low, high = -(1 << hardware.acc_width - 1), (1 << hardware.acc_width - 1) - 1
    proof.assume((after >= low) & (after <= high))   # hw.bounds
    counts = [("count", "events")] + [("odd_count", "odd_events")] * hardware.beside
    waits, waiting = _groups(proof, probes, unit, hardware, lane, last, total, counts, interval)

    # What the unit holds, so that induction knows.
    proof.implies("nothing_yet", clearing, (total == 0) & (kept == 0) & ~waits)
    for name, of_unit, ours in (("sum", "acc", total), ("kept", "kept", kept),
                                ("waiting", "finished", waiting)):
        if name != "kept" or hardware.pairs:
            held = Array(Value.cast(probes[f"lane{n}.{of_unit}"])
                         for n in range(geometry.lanes))[lane].as_signed()
            when = {"sum": ~clearing, "kept": 1, "waiting": waits}[name]
            proof.implies(f"unit_{name}", when, held == ours)
    return proof, unit, probes


def tree_sum(terms: Sequence[Any]) -> Any:
    """Two by two, as in the tree, so that a solver finds equal sums; nothing can overflow."""
    while len(terms) > 1:
        terms = [sum(terms[n:n + 2]) for n in range(0, len(terms), 2)]
    return terms[0]


def _writes(proof: Harness, unit: Any, hardware: HardwareConfig) -> Value:
    """Rows arrive at any time, but none of zeros; returns by bank that it writes in this cycle."""
    load = {name: proof.drive(getattr(unit.load, name), f"load_{name}")
            for name in unit.load.signature.members}
    proof.assume((load["address"] != 0) & (load["address"] <= ROWS)
                 & (load["select"] < hardware.geometry.banks))
    return proof.later(Mux(load["en"], 1 << load["select"], 0)[:hardware.geometry.banks],
                       "writes")


def _groups(proof: Harness, probes: Probes, unit: Any, hardware: HardwareConfig, lane: Any,
            last: Any, total: Signal, counts: list[tuple[str, str]],
            interval: Any) -> tuple[Signal, Signal]:
    """Each closed group comes out, once, in order, when the one before has had its time.

    Returns that a group waits, and its sum.
    """
    m = proof.m
    sums = [Signal(signed(WIDE), name=f"sum_{part}") for part in ("waits", "out")]
    number = {name: [Signal(EVENT_COUNT_BITS, name=f"{name}_{part}")
                     for part in ("now", "kept", "waits", "out")] for name, _ in counts}
    # Dispatch: of the cycles that the pipeline needs for groups before, less than one is left.
    left = Signal(8, name="left")
    m.d.sync += left.eq(Mux(last.close, left + interval, left) - (left != 0))
    proof.assume(~last.close | (left <= interval))

    waits, gone = Signal(name="waits"), Signal(range(8), init=7, name="since_last")
    out = unit.o.valid
    moves = Signal(name="moves")
    m.d.comb += moves.eq(waits & (gone >= interval - 1))
    with m.If(last.close):
        m.d.sync += [waits.eq(1), sums[0].eq(total)]
    with m.Elif(moves):
        m.d.sync += waits.eq(0)
    m.d.sync += gone.eq(Mux(moves, 0, gone + ~gone.all()))
    with m.If(moves):
        m.d.sync += sums[1].eq(sums[0])
    for name, (now, kept, waiting, gone_out) in number.items():
        begin = Const(0)
        if hardware.pairs:
            begin = Mux(last.resume, kept, 0)
            with m.If(last.fork):
                m.d.sync += kept.eq(now)
        m.d.sync += now.eq(Mux(last.close, begin, now) + last[name])
        with m.If(last.close):
            m.d.sync += waiting.eq(now)
        with m.If(moves):
            m.d.sync += gone_out.eq(waiting)
    proof.implies("none_lost", last.close, ~waits | moves)
    proof.claim("in_time", out == proof.later(moves, "moved"))
    shown = unit.o.payload.sums.as_value().word_select(lane, hardware.acc_width).as_signed()
    # It stays until the next one.
    proof.claim("sum", shown == sums[1])
    proof.claim("unit_waits", probes["waiting"] == waits)
    rest = Mux(gone < interval - 1, interval - 1 - gone, 0)
    proof.claim("unit_busy", probes["busy"] == rest)
    proof.claim("backlog", left == rest + Mux(waits, interval, 0))
    for name, field in counts:
        now, kept, waiting, gone_out = number[name]
        proof.claim(name, unit.o.payload[field] == gone_out)
        proof.claim(f"unit_{name}", probes.named(field) == now)
        proof.implies(f"unit_{name}_waits", waits, probes.named(f"{field}_finished") == waiting)
        if hardware.pairs:
            proof.claim(f"unit_{name}_kept", probes.named(f"{field}_kept") == kept)
    return waits, sums[0]


NARROW = Break("acc = Signal(signed(width))", "acc = Signal(signed(width - 1))")
NEGATE = Break("Cat(negate, base).as_signed()", "Cat(0, base).as_signed()")
_MOVES = Break("moving.eq(waiting & (busy == 0))", "moving.eq(waiting)")
_STAYS = Break("m.d.sync += self.sum.eq(finished)", "m.d.sync += self.sum.eq(acc)")
LAST_TERM = Break("terms[len(terms) & ~1:]", "terms[:len(terms) & 1]")
GATE = Break("weight.as_unsigned() & ~self.wrote[slot // ports].replicate(bits)",
              "weight.as_unsigned()")
_CLEARING = Break("lane.close.eq(last.close | self.clearing)", "lane.close.eq(last.close)")
_RESUME = Break("start = Mux(self.resume, kept, 0)", "start = kept")
_FORK = Break("with m.If(self.fork):", "with m.If(self.close):")
_KEPT_COUNT = Break("start = Mux(last.resume, kept, 0)", "start = 0")
_ODD_COUNT = Break("start, events) + last[count])", "start, events) + last.count)")
_WIDE = {"lanes": 4, "spike_word": 4, "acc_width": 8}
_STREAMED = {"port_bits": 64}

PROOFS = [
    Proof(f"lanes-{label}", "hw.lanes", f"LaneArray, {what}: the exact sum and count of each "
          "group, once, in order, in time", lambda units, changes=changes: lane_sums(
              lane_hardware(**changes), units.LaneArray)[0],
          depth=11 if "weight_bits" in changes else 9, induction=9,
          broken=broken, quick=label == "shared")
    for label, what, changes, broken in (
        ("fixed", "weights on chip, an event a cycle", {"ports": 1},
         (NEGATE, NARROW, _MOVES, _STAYS)),
        ("three", "three banks, weights on chip of 4 bits",
         {**_WIDE, "banks": 3, "ports": 1, "weight_bits": 4}, (LAST_TERM,)),
        ("shared", "shared additions", {"pairs": True},
         (_RESUME, _FORK, _KEPT_COUNT)),
        ("beside", "shared additions, positions beside each other",
         {"banks": 2, "pairs": True, "beside": True}, (_ODD_COUNT,)),
        ("streamed", "second ports that load weights", {"banks": 2, **_STREAMED},
         (GATE, _CLEARING)),
        ("eight", "all options, eight weights in each cycle",
         {**_STREAMED, **_WIDE, "banks": 4, "pairs": True, "beside": True}, (GATE, _CLEARING)),
        *((f"{bits}-bit", f"all options, weights of {bits} bits",
           {**_STREAMED, "banks": 2, "pairs": True, "beside": True, "weight_bits": bits,
            "acc_width": bits + 3},
           (NARROW, GATE)) for bits in (4, 6, 8)))
]
