# SPDX-License-Identifier: Apache-2.0
"""Attention as a whole: each spike of each entry one event, keys before queries, words in place.

Counters and LIF are abstract here: `attention-counters-*` prove what they make of such events.
"""

from types import ModuleType
from typing import Any
from unittest.mock import patch

from amaranth import Array, Cat, Module, Mux, Signal, Value

from hw.isa import Instruction
from hw.layout import LINE_WORDS
from sim.formal.harness import Break, Harness, Proof, small

LINES = 4          # of spike memory, with any contents
ADDRESS = 2
PATIENCE = 8       # cycles in which something happens while it works


def _abstract(unit: Any) -> Any:
    """A class with the ports of a unit, and nothing inside: the proof drives the outputs."""
    return type(unit.__name__, (unit,), {"elaborate": lambda self, platform: Module()})


class _Order:
    """A group, keys or queries, a token and a timestep: what the next entry, or word, is of."""

    def __init__(self, proof: Harness, ins: Any, start: Any, over: Any, words: int,
                 name: str, phases: int) -> None:
        m = proof.m
        self.line, self.bank, self.queries, self.step, self.token = (
            Signal(shape, name=f"{name}_{part}") for part, shape in (
                ("line", ADDRESS), ("bank", 2), ("queries", 1), ("step", 4), ("token", 4)))
        self.running = Signal(name=f"{name}_running")
        line_last = self.line == ins.step_lines - 1
        exist = Mux(line_last, ins.last_mask, (1 << LINE_WORDS) - 1)
        self.mine = exist & (((1 << words) - 1) << self.bank)[:LINE_WORDS]
        self.step_last = self.step == ins.timesteps - 1
        self.entry_last = self.step_last & (self.token == (ins.width[:2] * ins.height[:2]) - 1)
        beyond = (exist >> (self.bank + words)) & 1
        bank_last = self.bank == LINE_WORDS - words
        # Words of a line exist from the first one on.
        self.group_last = line_last & (bank_last | (beyond == 0))
        phase_last = self.queries if phases == 2 else 1
        # All lines of the step of this entry.
        self.offset = ((self.token * ins.timesteps[:2] + self.step) * ins.step_lines[:2]
                       + self.line)[:ADDRESS]
        self.ends = over & self.entry_last & phase_last
        with m.If(over):
            m.d.sync += self.step.eq(Mux(self.step_last, 0, self.step + 1))
            with m.If(self.step_last):
                m.d.sync += self.token.eq(self.token + 1)
            with m.If(self.entry_last):
                m.d.sync += self.token.eq(0)
                if phases == 2:
                    m.d.sync += self.queries.eq(~self.queries)
            with m.If(self.ends):
                m.d.sync += [self.bank.eq(self.bank + words), self.line.eq(self.line + bank_last),
                             self.running.eq(~self.group_last)]
        with m.If(start):
            m.d.sync += [self.running.eq(1), self.line.eq(0), self.bank.eq(0)]


def _attention(engines: int, timesteps: int, side: int, units: ModuleType) -> Harness:
    """side: of the map of tokens, at most"""
    proof = Harness()
    hardware = small(attention_engines=engines, max_timesteps=timesteps,
                     spike_lines=(LINES - 1, LINES - 1))
    lanes, words = hardware.attention_lanes, units.group_words(hardware)
    m, unit = proof.m, units.Attention(hardware)
    with (patch.object(units, "KeyValue", _abstract(units.KeyValue)),
          patch.object(units, "AttentionLIF", _abstract(units.AttentionLIF))):
        probes = proof.add(unit)
    kvs, lifs = probes["kvs"], probes["lifs"]
    ins = proof.constant(Instruction(hardware), "instruction")
    m.d.comb += unit.instruction.eq(ins)
    proof.assume((ins.timesteps != 0) & (ins.timesteps <= timesteps)
                 & (ins.width != 0) & (ins.width <= side) & (ins.height != 0) & (ins.height <= side)
                 & (ins.step_lines != 0) & (ins.step_lines <= 2)
                 & ins.last_mask[0] & (ins.last_mask & (ins.last_mask + 1) == 0))
    start = proof.drive(unit.start, "start")
    clear = proof.drive(unit.clear, "clear")

    # Spike memory of any contents, which it keeps.
    contents = proof.constant(LINES * hardware.geometry.line_bits, "contents")
    lines = Array(contents.word_select(n, hardware.geometry.line_bits) for n in range(LINES))
    with m.If(unit.read.en):
        m.d.sync += Value.cast(unit.read.data).eq(lines[unit.read.addresses[0]])
    proof.implies("half", unit.read.en, unit.read.half == ins.source_half)

    finishing, keys = probes["finishing"], probes["keys"]
    at = _Order(proof, ins, start, finishing, words, "at", 2)
    to = _Order(proof, ins, start, unit.write.en != 0, words, "to", 1)
    proof.assume(~start | (proof.started & ~to.running & ~at.running))

    # Events of the entry whose turn it is: each spike once, with its row and the values of V.
    masks = Cat(bit.replicate(hardware.geometry.spike_word)
                for bit in (at.mine >> at.bank)[:words])
    group = engines * lanes

    def stored(base: Any) -> Value:
        line = lines[(base + at.offset)[:ADDRESS]]
        return (line >> Mux(at.bank[0], hardware.geometry.spike_word, 0)
                >> Mux(at.bank[1], 2 * hardware.geometry.spike_word, 0))[:group]

    expected, values = Signal(group, name="expected"), Signal(group, name="values")
    m.d.comb += [expected.eq(masks & stored(Mux(at.queries, ins.source_base, ins.key_base))),
                 values.eq(stored(ins.value_base))]
    seen, now, rows = Signal(group, name="seen"), [], timesteps * lanes
    cleared, ours = Signal(rows, name="cleared"), Signal(unit.acs.shape(), name="ours")
    for n, (kv, lif) in enumerate(zip(kvs, lifs, strict=True)):
        proof.drive(lif.spikes, f"spikes{n}")
        proof.drive(kv.o, f"kv{n}")
        event, later = kv.event, proof.later(kv.event, f"event_before{n}")
        m.d.comb += [kv.busy.eq(later), kv.o_valid.eq(
            later & ~proof.later(kv.keys, f"keys_before{n}"))]
        bit = Signal(group, name=f"bit{n}")
        m.d.comb += bit.eq(Mux(event, 1 << n * lanes + kv.row[:(lanes - 1).bit_length()], 0))
        proof.implies(f"in_its_turn{n}", event, at.running & (kv.keys == ~at.queries))
        proof.implies(f"a_spike{n}", event, (bit & expected & ~seen).any())
        proof.implies(f"row{n}", event, kv.row >> (lanes - 1).bit_length() == at.step)
        proof.implies(f"values{n}", event & kv.keys,
                      kv.values == values[n * lanes:(n + 1) * lanes])
        # As the counters need it.
        writes = proof.later(event & kv.keys, f"key_before{n}")
        proof.claim(f"apart{n}", ~(writes & (kv.clear | (
            event & (kv.row == proof.later(kv.row, f"row_before{n}"))))))
        proof.claim(f"clear_alone{n}", ~(kv.clear & event))
        proof.implies(f"cleared{n}", event, cleared.all())
        # Each entry is stepped when all of it was added, and nothing of the next one.
        stepped = proof.later(finishing & ~keys, f"finished{n}", 2)
        proof.claim(f"step{n}", lif.step == stepped)
        proof.implies(f"last{n}", stepped, lif.last == proof.later(
            at.step_last, f"last_before{n}", 2))
        proof.claim(f"add{n}", (lif.add == kv.o_valid) & (lif.row.as_value() == kv.o.as_value()))
        now.append(bit)
    both = now[0] if engines == 1 else now[0] | now[1]
    m.d.sync += seen.eq(Mux(finishing, 0, seen | both))
    proof.implies("all_spikes", finishing, (seen | both) == expected)
    proof.implies("entry", finishing, at.running & (keys == ~at.queries))
    with m.If(at.ends | start):
        m.d.sync += cleared.eq(0)
    with m.Elif(kvs[0].clear):
        m.d.sync += cleared.eq(cleared | (1 << kvs[0].row))
    m.d.sync += ours.eq(Mux(clear, 0, ours + sum(Mux(kv.event, ins.head_dim, 0) for kv in kvs)))
    proof.claim("acs", unit.acs == ours)

    # Words: one for each query entry of each group, at its place, when the spikes are there.
    writes = unit.write.en != 0
    proof.claim("written", writes == proof.later(lifs[0].step, "stepped"))
    proof.implies("in_order", writes, to.running)
    proof.implies("words", writes, unit.write.en == to.mine)
    word = (to.token * ins.timesteps + to.step) * ins.target_step + ins.target_base + to.line
    proof.implies("place", writes, (unit.write.half == ins.target_half)
                  & (unit.write.addresses[0] == word[:ADDRESS]))
    proof.implies("spikes", writes, Value.cast(unit.write.data) == Cat(
        lif.spikes for lif in lifs))
    proof.claim("done", unit.done == (to.ends & to.group_last))
    quiet = Signal(range(PATIENCE + 2), name="quiet")
    moves = writes | finishing | kvs[0].clear | both.any()
    m.d.sync += quiet.eq(Mux(to.running & ~moves, quiet + (quiet <= PATIENCE), 0))
    proof.claim("goes_on", quiet <= PATIENCE)
    return proof


PROOFS = [
    Proof(f"attention-{label}", "hw.attention", f"Attention, {what}: each spike of an entry one "
          "event, entry by entry, keys before queries; each word once, at its place; on time",
          lambda units, sizes=sizes: _attention(*sizes, units), depth=depth, broken=broken)
    for label, what, sizes, depth, broken in (
        ("entries", "tokens and timesteps of a group", (1, 2, 2), 21, (
            Break("kv.row.eq(Mux(clear_kv, clear_row, Cat(number, entry.timestep)))",
                  "kv.row.eq(Mux(clear_kv, clear_row, number))"),
            Break("take.eq(~present | (finishing & (ins.timesteps != 1)))",
                  "take.eq(~present | finishing)"),
            Break("m.If(finishing & entry.last)", "m.If(finishing)"),
            Break("fetch.o.ready.eq(~waits)", "fetch.o.ready.eq(1)"),
            Break("m.If(clear_row == kvs[0].rows - 1)", "m.If(clear_row == kvs[0].rows - 2)"))),
        ("both", "two engines, two timesteps", (2, 2, 1), 25, (
            Break("lif.last.eq(s2.timestep == last_of(m, ins.timesteps)[:4])", "lif.last.eq(1)"),
            Break("part = slice(n * lanes, (n + 1) * lanes)", "part = slice(0, lanes)"),
            Break("m.d.sync += address.eq(address + ins.target_step)",
                  "m.d.sync += address.eq(address + 1)"))),
        ("groups", "two engines, groups of two words one after the other", (2, 1, 1), 29, (
            Break("entry.events.eq(waiting.events & masks)", "entry.events.eq(waiting.events)"),
            Break("bank.eq(bank + words)", "bank.eq(bank + 1)"),
            Break("finishing.eq(present & ~Cat(rests).any())",
                  "finishing.eq(present & ~rests[0].any())"),
            Break("| ~(exist >> (bank + words))[0])", "| 0)"))))
]
