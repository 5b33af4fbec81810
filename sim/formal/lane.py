# SPDX-License-Identifier: Apache-2.0
"""One lane alone, whose adder tree is as wide as in any hardware: the exact sum."""

from types import ModuleType
from typing import Any

from amaranth import Mux, Signal, signed

from hw.lanes import tree_levels
from sim.formal.harness import Harness, Proof
from sim.formal.lanes import GATE, LAST_TERM, NARROW, NEGATE, WIDE, lane_hardware, tree_sum


def _lane(changes: dict[str, Any], units: ModuleType) -> Harness:
    """One lane alone: any weights and controls in each cycle, in wide integers."""
    proof = Harness()
    hardware = lane_hardware(**changes)
    geometry, width = hardware.geometry, hardware.acc_width
    m, unit = proof.m, units.Lane(hardware)
    probes = proof.add(unit)
    weights, wrote = proof.drive(unit.weights, "weights"), proof.drive(unit.wrote, "wrote")
    close, shift, negate, move, fork, resume = (
        proof.drive(getattr(unit, name), name)
        for name in ("close", "shift", "negate", "move", "fork", "resume"))
    proof.assume(~(close & shift))
    levels = tree_levels(hardware)
    added = Signal(signed(WIDE), name="added")
    m.d.comb += added.eq(tree_sum([
        Mux(wrote[slot // geometry.ports], 0, weight) if slot % geometry.ports else weight
        for slot, weight in enumerate(weights)]))
    total, kept, after, waits, out = (Signal(signed(WIDE), name=name) for name in (
        "total", "kept", "after", "waits", "out"))
    doubled = Mux(negate, -(total << 1), total << 1)
    base = Mux(close, Mux(resume, kept, 0), Mux(shift, doubled, total))
    # Weights are some cycles on their way through the tree, the controls come when they leave it.
    m.d.comb += after.eq(base + proof.later(added, "new", levels))
    m.d.sync += total.eq(after)
    half = 1 << width - 1
    proof.assume((after >= -half) & (after < half))   # hw.bounds
    for of_unit, ours, when, value in (
            ("kept", kept, fork, total), ("finished", waits, close, total), ("", out, move, waits)):
        with m.If(when):
            m.d.sync += ours.eq(value)
        held = unit.sum if not of_unit else probes[of_unit].as_signed()
        proof.claim(of_unit or "sum", held == ours)
    proof.claim("acc", probes["acc"] == total)
    return proof


PROOFS = [
    Proof(f"lane-{banks}x2", "hw.lanes", f"A lane of {2 * banks} weights of 8 bits in each cycle: "
          "the exact sum of all, and what it keeps", lambda units, banks=banks: _lane(
              {"banks": banks, "spike_word": 8, "lanes": 8, "weight_bits": 8,
               "acc_width": 13, "pairs": True}, units),
          depth=8, induction=8, broken=(NARROW, GATE, NEGATE, *extra), quick=banks == 4)
    for banks, extra in ((3, (LAST_TERM,)), (4, ()), (8, ()))
]
