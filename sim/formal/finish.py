# SPDX-License-Identifier: Apache-2.0
"""Finish pipeline: currents, requantization, the saturating residual stream; in wide integers."""

from types import ModuleType
from typing import Any

from amaranth import Mux, Signal, signed

from hw.config import HardwareConfig
from hw.isa import Emit, Instruction
from sim.formal.harness import Break, Harness, Proof, small

WIDE = 48
# As of the shipped digits network: widths of sums, currents and stream, the left shift.
SHIPPED = {"acc_width": 16, "current_width": 18, "residual_width": 16, "fraction": 2,
           "param_width": 15, "shift_left": 3, "shift_width": 3}


def _hardware(sizes: dict[str, int], **changes: Any) -> HardwareConfig:
    return small(neurons=2, **sizes, **changes)


def _current(sizes: dict[str, int], units: ModuleType) -> Harness:
    """y = (sum << fraction) + bias, and the count of ACs; rows of parameters are streamed in."""
    proof = Harness()
    m, hardware = proof.m, _hardware(sizes, port_bits=64, program_words=16)
    unit = units.Current(hardware, [])
    probes = proof.add(unit)
    instruction = proof.constant(Instruction(hardware), "instruction")
    m.d.comb += unit.instruction.eq(instruction)
    proof.source(unit.i, "i")
    clear = proof.drive(unit.clear, "clear")
    for name in unit.params.signature.members:
        proof.drive(getattr(unit.params, name), f"params_{name}")
    beat, row = unit.i.payload, units.ParamRow(hardware)
    constants = Signal(row, name="constants")
    m.d.comb += constants.eq(probes.word(m, "params", beat.tag.param, row.size))

    valid, logits = unit.i.valid, instruction.emit == Emit.LOGITS
    claimed = proof.later(valid & ~logits, "due", 3)
    proof.claim("in_time", unit.o.valid == claimed)
    for n in range(hardware.geometry.neurons):
        y = Signal(signed(WIDE), name=f"y{n}")
        m.d.comb += y.eq((beat.values[n] << hardware.fraction) + constants.params[n].bias)
        half = 1 << hardware.current_width - 1
        proof.assume(~valid | ((y < half) & (y >= -half)))   # hw.bounds
        proof.implies(f"current{n}", claimed,
                      unit.o.payload.values[n] == proof.later(y, f"due_y{n}", 3))
        proof.implies(f"parameters{n}", claimed, unit.o.payload.params[n].as_value()
                      == proof.later(constants.params[n], f"due_params{n}", 3))
    proof.implies("tag", claimed, unit.o.payload.tag.as_value()
                  == proof.later(beat.tag, "due_tag", 3))
    proof.implies("ahead", proof.later(valid, "due_ahead", 2),
                  unit.ahead == proof.later(beat.tag.residual, "ahead_tag", 2))

    acs, new = Signal(unit.acs.shape(), name="acs"), Signal(32)
    m.d.comb += new.eq(Mux(valid, beat.events * constants.real, 0))
    m.d.sync += acs.eq(Mux(clear, 0, acs + proof.later(new, "new_acs", 3)))
    proof.claim("acs", unit.acs == acs)
    return proof


def _requantized(proof: Harness, y: Any, shift: Any, left: int, name: str) -> Signal:
    """y * 2**left / 2**shift rounded to nearest, halves up: the integer that these define."""
    result, rest = Signal(signed(WIDE), name=name), Signal(signed(WIDE + 2))
    answer = proof.free(signed(WIDE - 16), f"any_{name}")
    proof.m.d.comb += [result.eq(answer), rest.eq(
        (y << left + 1) + (1 << shift) - (answer << shift + 1))]
    proof.assume((rest >= 0) & (rest < 1 << shift + 1))
    return result


def _residual(sizes: dict[str, int], units: ModuleType, parity: bool = False) -> Harness:
    """Both neurons of every beat, what is counted, and one word of the stream at any address."""
    proof = Harness()
    m, hardware = proof.m, _hardware(sizes, parity=parity)
    unit = units.Residual(hardware)
    probes = proof.add(unit)
    instruction = proof.constant(Instruction(hardware), "instruction")
    m.d.comb += unit.instruction.eq(instruction)
    proof.source(unit.i, "i")
    clear, address = proof.drive(unit.clear, "clear"), proof.drive(unit.address, "address")
    valid, beat, out = unit.i.valid, unit.i.payload, unit.o.payload
    at, width = beat.tag.residual, hardware.residual_width
    proof.assume(~valid | (proof.started & (proof.later(address, "address_before") == at)
                           & (at < hardware.residual_words)))
    # A word comes back after 4 cycles.
    for cycles in (1, 2, 3):
        same = proof.later(at, f"at{cycles}", cycles) == at
        proof.assume(~(valid & proof.later(valid, f"valid{cycles}", cycles) & same))
    neurons = hardware.geometry.neurons
    stored = neurons * width + parity
    old = probes.word(m, "stream", at, stored)

    is_residual = instruction.emit == Emit.RESIDUAL
    top, bottom = (1 << width - 1) - 1, -(1 << width - 1)
    new, over = Signal(neurons * width, name="new"), Signal(neurons, name="over")
    due = proof.later(valid, "due", 2)
    proof.claim("in_time", unit.o.valid == due)
    for n in range(neurons):
        total, limited = Signal(signed(WIDE), name=f"total{n}"), Signal(signed(WIDE))
        rounded = _requantized(proof, beat.values[n], beat.params[n].shift, hardware.shift_left,
                               f"rounded{n}")
        before = old[n * width:(n + 1) * width].as_signed()
        m.d.comb += [total.eq(Mux(instruction.add_residual, before, 0) + rounded),
                     over[n].eq((total > top) | (total < bottom)),
                     limited.eq(Mux(total > top, top, Mux(total < bottom, bottom, total))),
                     new[n * width:(n + 1) * width].eq(limited)]
        expected = proof.later(Mux(is_residual, limited, beat.values[n]), f"expected{n}", 2)
        proof.implies(f"stream{n}", due, out.values[n] == expected)
        proof.implies(f"threshold{n}", due, out.thresholds[n] == proof.later(
            beat.params[n].threshold, f"threshold{n}", 2))
    proof.implies("tag", due, out.tag.as_value() == proof.later(beat.tag, "due_tag", 2))

    # What leaves is counted a cycle later.
    count = Signal(unit.saturations.shape(), name="count")
    m.d.sync += count.eq(Mux(clear, 0, count + proof.later(
        Mux(valid & is_residual, over[0] + over[1], 0), "over_before", 2)))
    proof.claim("saturations", unit.saturations == count)

    place = proof.constant(at.shape(), "place")
    proof.assume(place < hardware.residual_words)
    writes = valid & is_residual & (at == place)
    kept = Signal(neurons * width, name="kept")
    with m.If(proof.later(writes, "written", 2)):
        m.d.sync += kept.eq(proof.later(new, "new_before", 2))
    held = probes.word(m, "stream", place, stored)
    proof.claim("kept", held[:neurons * width] == kept)
    if parity:
        proof.claim("no_error", ~unit.error)
        for row in range(hardware.residual_words):
            proof.claim(f"whole{row}", ~probes.word(m, "stream", row, stored).xor())
    return proof


_BIAS = Break("param_read.addr.eq(tag.param)", "param_read.addr.eq(tag.param + 1)")
_COUNT = Break("Mux(bit, s2.events << k, 0)", "Mux(bit, s2.events << 1, 0)")
_ROUND = Break("Cat(1, old)", "Cat(0, old)")
_LIMIT = Break("limit = Mux(total[-1], -(1 << width - 1),", "limit = Mux(total[-1], 0,")
_FITS = Break("(total[width - 1:] == 0)", "(total[width:] == 0)")
_COUNTED = Break("s1_valid & is_residual, sum(", "s1_valid, sum(")

PROOFS = [
    Proof(f"{name}-{label}", f"hw.{name}", claim, build, depth=8, induction=8, broken=broken,
          quick=label == "small")
    for label, sizes in (("small", {}), ("shipped", SHIPPED))
    for name, claim, broken, build in (
        ("current", "(sum << fraction) + bias of every beat with its own parameters; ACs counted",
         (_BIAS, _COUNT), lambda units, sizes=sizes: _current(sizes, units)),
        ("residual", "rounded to nearest, added and limited exactly; saturations counted; kept",
         (_ROUND, _LIMIT, _FITS, _COUNTED), lambda units, sizes=sizes: _residual(sizes, units)))
] + [
    Proof("residual-checked", "hw.residual", "likewise with a parity bit in each word; no error",
          lambda units: _residual({}, units, parity=True), depth=8, induction=8,
          broken=(Break("Cat(new_values, new_values.as_value().xor())",
                        "Cat(new_values, new_values[0].xor())"),
                  Break("stored.eq(read.data[-1])", "stored.eq(read.data[-2])"), _ROUND)),
]
