# SPDX-License-Identifier: Apache-2.0
"""LIF neurons against the exact rational recurrence of the paper (Eq. 21 to 23)."""

from types import ModuleType

from amaranth import Array, Mux, Signal, signed

from hw.isa import Instruction
from sim.formal.harness import Break, Harness, Proof, small

# State widths: 19 and 22 are those of the shipped networks.
WIDTHS = (8, 12, 16, 17, 18, 19, 20, 22, 24)
MAX_TIMESTEPS = 16
QUICK = 8


def _lif(width: int, slow: bool, both: bool, units: ModuleType) -> Harness:
    """One neuron of one beat; the others do what they like.

    V is kept exactly, as a whole number and a proper fraction: `whole` + `part` / d**n after n
    timesteps, with d = 2 and H = (V + X) / 2 for tau 2, with d = 3 and H = (V + 2X) / 3 for 1.5.
    """
    proof = Harness()
    m, divisor = proof.m, 3 if slow else 2
    hardware = small(state_width=width, current_width=width - 1, param_width=width,
                     residual_width=min(16, width - 1), slow_tau=both, max_timesteps=MAX_TIMESTEPS,
                     attention_lanes=2)
    unit = units.LIF(hardware)
    probes = proof.add(unit)
    instruction = proof.constant(Instruction(hardware), "instruction")
    m.d.comb += unit.instruction.eq(instruction)
    if both:
        proof.assume(instruction.slow_tau == slow)
    proof.source(unit.i, "i")
    tag = unit.i.payload.tag
    place = proof.constant(len(tag.beat), "place")
    here = Signal(name="here")
    m.d.comb += here.eq(unit.i.valid & (tag.beat == place))
    # A beat comes back after 3 cycles at the earliest.
    before = proof.later(here, "here_before", 2)
    first_before = proof.later(here, "here_just_before")
    proof.assume(~(here & (before | first_before)))

    # What hw.bounds promises of currents and thresholds.
    wide = signed(width + 4)
    x, largest = Signal(wide, name="x"), proof.constant(signed(width), "largest")
    threshold = proof.constant(signed(width), "threshold")
    size = Mux(threshold < 0, -threshold, threshold)
    entering = largest * 2 if not slow else largest * 2 + largest
    kept = (size >> 1) + largest if not slow else _third(proof, size, width) + largest * 2
    limit = (1 << width - 1) - 1
    proof.assume((largest >= 0) & (entering <= limit) & (kept <= limit) & (size <= limit))
    m.d.comb += x.eq(unit.i.payload.values[0])
    proof.assume(~here | ((x >= -largest) & (x <= largest)
                          & (unit.i.payload.thresholds[0] == threshold)))

    # The recurrence.
    whole, h, quotient = (Signal(wide, name=name) for name in ("whole", "h_whole", "quotient"))
    bits = (divisor ** MAX_TIMESTEPS).bit_length() + 1
    part, whole_part, step = Signal(bits), Signal(bits), Signal(range(MAX_TIMESTEPS + 1))
    unit_part = Signal(bits)   # the denominator
    m.d.comb += unit_part.eq(Array(divisor ** n for n in range(MAX_TIMESTEPS + 1))[step])
    v = Mux(tag.first_timestep, 0, whole)
    m.d.comb += h.eq(v + (x << 1 if slow else x))
    proof.assume(tag.first_timestep | (step < MAX_TIMESTEPS))
    rest = Signal(2)
    _divide(proof, h, divisor, quotient, rest)
    one = Mux(tag.first_timestep, 1, unit_part)
    m.d.comb += whole_part.eq(Mux(tag.first_timestep, 0, part)
                              + Mux(rest[0], one, 0) + Mux(rest[1], one << 1, 0))
    # The fraction is less than 1, so it decides nothing against a whole threshold.
    proof.claim("fraction", part < unit_part)
    fire = Signal()
    m.d.comb += fire.eq(h >= threshold)
    with m.If(here):
        m.d.sync += [whole.eq(Mux(fire, 0, quotient)), part.eq(Mux(fire, 0, whole_part)),
                     step.eq(Mux(tag.first_timestep, 1, step + 1))]
    proof.claim("state_range", (whole >= -largest) & ((whole <= 0) | (
        (whole << 1) + (whole if slow else 0) < threshold)))

    # The unit: its spike two cycles later, its memory whenever the beat is not under way.
    due, expected = proof.later(here, "due", 2), proof.later(fire, "expected", 2)
    proof.implies("spike", due, unit.o.valid & (unit.o.payload.spikes == expected))
    word = probes.word(m, "state", place, width)
    state = Signal(signed(width - 1), name="state")
    m.d.comb += state.eq(Mux(word[-1], 0, word[:-1].as_signed()))
    proof.claim("state", first_before | (state == whole))
    return proof


def _divide(proof: Harness, value: Signal, divisor: int, quotient: Signal, rest: Signal) -> None:
    """Quotient and rest by what defines them: there is exactly one such pair."""
    any_quotient = proof.free(quotient.shape(), f"any_{quotient.name}")
    product = (any_quotient << 1) + (any_quotient if divisor == 3 else 0)
    difference = Signal(signed(len(value) + 3))
    proof.m.d.comb += [difference.eq(value - product), quotient.eq(any_quotient),
                       rest.eq(difference)]
    proof.assume((difference >= 0) & (difference < divisor))


def _third(proof: Harness, size: Signal, width: int) -> Signal:
    quotient, rest, value = (Signal(signed(width + 2), name="limit_third"), Signal(2),
                             Signal(signed(width + 2)))
    proof.m.d.comb += value.eq(size)
    _divide(proof, value, 3, quotient, rest)
    return quotient


_FIRE = Break("h[n] >= s1_thresholds[n]", "h[n] > s1_thresholds[n]")
_FLOOR = Break("decayed = h[n] >> 1", "decayed = (h[n] + 1) >> 1")
_RESET = Break("| old.fired)", "| 0)")
_SIGN = Break("remainder, result = Cat(0, sign)[:2]", "remainder, result = Cat(sign, 0)[:2]")
_TABLE = Break("(i // 3 & 15)", "((i + 1) // 3 & 15)")


def _proof(width: int, slow: bool, both: bool) -> Proof:
    tau = "1.5" if slow else "2"
    return Proof(
        f"lif-tau{tau}-{width}" + "-both" * (both and not slow), "hw.lif",
        f"LIF, tau {tau}, {width}-bit state: spikes and floored state of the exact rational "
        "recurrence" + " (hardware for both)" * (both and not slow),
        lambda units: _lif(width, slow, both, units), depth=9, induction=4,
        broken=((_FIRE, _SIGN, _TABLE) if slow else (_FIRE, _FLOOR, _RESET))[
            :None if width == QUICK else 1],
        quick=width == QUICK and both == slow)


PROOFS = [_proof(width, slow, slow) for slow in (False, True) for width in WIDTHS] + [
    _proof(16, slow=False, both=True)]
