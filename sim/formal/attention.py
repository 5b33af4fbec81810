# SPDX-License-Identifier: Apache-2.0
"""Attention: counters that stop at 8 give the spikes of counters that do not."""

from types import ModuleType

from amaranth import Array, Const, Mux, Signal

from hw.isa import Instruction
from sim.formal.harness import Break, Harness, Proof, small

# 65,535 tokens, and 4,096 channels of a head.
KV_BITS, SUM_BITS = 16, 28
LANES, TIMESTEPS = 2, 2


def _same(counter: Signal, wide: Signal) -> Signal:
    """The relation: equal below 8; from 8 on only the highest bit means something."""
    return Mux(counter[-1], wide >= 8, wide == counter)


def _attention(slow: bool, units: ModuleType) -> Harness:
    """KV and sums of both channels of an engine, from any events to the spikes."""
    proof = Harness()
    m = proof.m
    hardware = small(attention_lanes=LANES, max_timesteps=TIMESTEPS, slow_tau=slow)
    kv, lif = units.KeyValue(hardware), units.AttentionLIF(hardware)
    kv_probes, lif_probes = proof.add(kv, "kv"), proof.add(lif, "lif")
    instruction = proof.constant(Instruction(hardware), "instruction")
    m.d.comb += [kv.instruction.eq(instruction), lif.instruction.eq(instruction),
                 lif.add.eq(kv.o_valid), lif.row.eq(kv.o)]
    event, keys, clear, row, values = (proof.drive(getattr(kv, name), name) for name in (
        "event", "keys", "clear", "row", "values"))
    step, last = (proof.drive(getattr(lif, name), name) for name in ("step", "last"))
    # The order of Attention: keys on one row come every second cycle, clearing before all keys.
    later_event = proof.later(event, "later_event")
    later_keys, later_row = proof.later(event & keys, "later_keys"), proof.later(row, "later_row")
    later_values = proof.later(values, "later_values")
    proof.assume(~(later_keys & (clear | (event & (row == later_row)))))
    proof.assume(~(clear & event))

    rows = range(kv.rows)
    wide_rows = [[Signal(KV_BITS, name=f"kv{r}_{c}") for c in range(LANES)] for r in rows]
    words = [kv_probes.word(m, "memory", Const(r, len(row)), LANES * units.COUNTER_BITS)
             for r in rows]
    for c in range(LANES):
        for r in rows:
            added = later_values[c] & ((later_row[:1] ^ c) & instruction.head_mask == 0)
            with m.If(clear & (row == r)):
                m.d.sync += wide_rows[r][c].eq(0)
            with m.Elif(later_keys & (later_row == r)):
                m.d.sync += wide_rows[r][c].eq(wide_rows[r][c] + added)
            proof.assume(~wide_rows[r][c].all())
            counter = words[r][c * units.COUNTER_BITS:(c + 1) * units.COUNTER_BITS]
            proof.claim(f"kv{r}_{c}", _same(counter, wide_rows[r][c]))

        # A and the LIF behind it, in unbounded integers.
        read = proof.later(Array(wide_rows[r][c] for r in rows)[row], f"read{c}")
        total, v = Signal(SUM_BITS, name=f"a{c}"), Signal(2, name=f"v{c}_exact")
        h = Signal(SUM_BITS + 2, name=f"h{c}")
        tau = instruction.slow_tau if slow else Const(0)
        fire = Signal(name=f"fire{c}")
        m.d.comb += [h.eq(v + Mux(tau, total << 1, total)), fire.eq(h >= Mux(tau, 12, 8))]
        adds = later_event & ~proof.later(keys, f"later_keys{c}")
        with m.If(adds):
            m.d.sync += total.eq(Mux(step, 0, total) + read)
        with m.Elif(step):
            m.d.sync += total.eq(0)
        with m.If(step):
            m.d.sync += v.eq(Mux(fire | last, 0, Mux(
                tau, Array(n // 3 for n in range(16))[h[:4]], h[:4] >> 1)))
        proof.assume(~total[-1])   # wide enough for any tokens and channels
        proof.claim(f"sum{c}", _same(lif_probes.named(f"sum{c}"), total))
        proof.claim(f"state{c}", lif_probes.named(f"v{c}") == v)
        proof.implies(f"spike{c}", proof.later(step, f"stepped{c}"),
                      lif.spikes[c] == proof.later(fire, f"fired{c}"))
        # What the memory shows is what it held when it was asked.
        shown = kv.o[c]
        proof.implies(f"shown{c}", later_event, _same(shown, read))
    return proof


def _take_first(width: int, units: ModuleType) -> Harness:
    """The lowest event and the others; nothing is kept."""
    proof = Harness()
    events, chosen = proof.free(width, "events"), proof.free(range(width), "chosen")
    number, rest = Signal(range(width)), Signal(width)
    first, others = units.take_first(events)
    proof.m.d.comb += [number.eq(first), rest.eq(others)]
    bit, is_first = events.bit_select(chosen, 1), number == chosen
    below = events & ((Const(1, width + 1) << chosen) - 1)[:width]
    proof.implies("lowest", bit & (below == 0), is_first)
    proof.claim("others", rest.bit_select(chosen, 1) == (bit & (below != 0)))
    return proof


_EARLY = Break("top | (more & low.all())", "top | (more & low[:2].all())")
_CARRY = Break("(a + top * 2) * (1 - new) + b + c + 2 * other > 1",
               "(a + top * 2) * (1 - new) + b + c + 2 * other > 2")
_LIMIT = Break("LIMIT if top else c0", "LIMIT - 1 if top else c0")
_ANEW = Break("total.eq(added(total, self.row[c], self.step))",
              "total.eq(added(total, self.row[c], 0))")

PROOFS = [
    Proof(f"attention-counters-tau{'1.5' if slow else '2'}", "hw.attention",
          "KV and A in counters that stop at 8: the spikes and states of unbounded counters, "
          + ("tau 2 and 1.5" if slow else "tau 2"),
          lambda units, slow=slow: _attention(slow, units), depth=11, induction=3,
          broken=(_EARLY, _CARRY, _LIMIT, _ANEW), quick=not slow)
    for slow in (False, True)
] + [
    Proof(f"attention-first-{width}", "hw.attention",
          f"take_first of {width} events: the lowest one, and all others stay",
          lambda units, width=width: _take_first(width, units), depth=1, induction=1,
          broken=(Break("low = low | (find_first(chunk) & here.replicate(2))",
                        "low = low | find_first(chunk)"),
                  Break("rest += [bit & ~(here & ~chunk[:n].any())", "rest += [bit & ~(here)")),
          quick=width == 16)
    for width in (8, 16, 64)
]
