# SPDX-License-Identifier: Apache-2.0
"""Units of the accelerator with streams that can wait, stalled at will on every port."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

from amaranth import Cat, Signal, Value

from hw.layout import LINE_WORDS
from sim.formal.copies import Copies
from sim.formal.harness import Break, Harness, Proof, small


def _join(beats: int, units: ModuleType) -> Harness:
    copies = Copies(lambda: units.Join(4, 4 * beats), items=4, patience=beats + 1)
    copies.source("i", lambda unit: unit.i)
    copies.sink("o", lambda unit: unit.o)
    return copies.finish()


def _split(beats: int, units: ModuleType) -> Harness:
    copies = Copies(lambda: units.Split(4, 4 * beats), items=4, patience=1)
    copies.source("i", lambda unit: unit.i)
    copies.sink("o", lambda unit: unit.o)
    return copies.finish()


def _readout(units: ModuleType) -> Harness:
    """Whatever logits and counters came before `start`, in whatever layers."""
    hardware = small()
    copies = Copies(lambda: units.Readout(hardware), items=4, patience=1)
    copies.both("instruction", constant=True)
    for name in ("report", "acs", "cycles", "saturations"):
        copies.both(name)
    for unit in (copies.a, copies.b):
        copies.proof.m.d.comb += unit.logits.valid.eq(0)
    begun = copies.pulse("start", 4)
    copies.proof.assume(~(begun & copies.a.report))
    copies.sink("o", lambda unit: unit.o)
    return copies.finish()


def _loader(units: ModuleType) -> Harness:
    hardware = small(in_channels=2)
    copies = Copies(lambda: units.Loader(hardware), items=4, patience=3)
    copies.both("instruction", constant=True)
    copies.pulse("start", 2)
    copies.source("i", lambda unit: unit.i)
    copies.watch("write", lambda unit: unit.write.en != 0, lambda unit: Cat(
        unit.write.en, Value.cast(unit.write.addresses), Value.cast(unit.write.data), unit.done))
    return copies.finish()


def _answer(units: ModuleType) -> Harness:
    """Each word at its address, from then until the answer is forgotten."""
    proof, words = Harness(), 6
    m, unit = proof.m, units.Answer(words)
    probes = proof.add(unit)
    taken = proof.source(unit.i, "i")
    clear, address = proof.drive(unit.clear, "clear"), proof.drive(unit.address, "address")
    number, place = Signal(range(words + 1), name="number"), proof.constant(3, "place")
    there, kept = Signal(name="there"), Signal(64, name="kept")
    proof.assume(place < words)
    with m.If(taken & (number != words)):
        m.d.sync += number.eq(number + 1)
    with m.If(taken & (number == place)):
        m.d.sync += [there.eq(1), kept.eq(unit.i.payload.data)]
    with m.If(clear):
        m.d.sync += [number.eq(0), there.eq(0)]
    ended = proof.later(taken & unit.i.payload.last & ~clear, "ended")
    cleared = proof.later(clear, "cleared")
    proof.claim("counted", (probes["count"] == number) & (number <= words))
    proof.claim("there", there == (number > place))
    held = probes.word(m, "storage", place, 64)
    proof.implies("kept", there, held == kept)
    proof.implies("read", proof.later(there & (address == place), "asked"),
                  unit.data == proof.later(kept, "kept_before"))
    proof.implies("complete", ended, unit.complete)
    proof.implies("stays", proof.later(unit.complete, "was_complete") & ~cleared, unit.complete)
    proof.claim("waits", unit.i.ready == ~unit.complete)
    return proof


def _memory(copies: Copies, port: Callable[[Any], Any]) -> None:
    """Spike memory whose words depend on half and address, in a way that is not known."""
    proof = copies.proof
    mask = proof.constant(port(copies.a).data.as_value().shape(), "mask")
    for unit in (copies.a, copies.b):
        read, word = port(unit), len(Value.cast(port(unit).data)) // LINE_WORDS
        length = read.addresses.shape().length
        with proof.m.If(read.en):
            proof.m.d.sync += Value.cast(read.data).eq(mask ^ Cat(
                (read.addresses[n % length] ^ read.half)[:word] for n in range(LINE_WORDS)))


def _attention_fetch(units: ModuleType) -> Harness:
    hardware = small()
    copies = Copies(lambda: units.AttentionFetch(hardware), items=3, patience=4)
    for name in ("instruction", "keys", "line", "bank"):
        copies.both(name, constant=True)
    copies.pulse("start", 2)
    _memory(copies, lambda unit: unit.memory)
    copies.sink("o", lambda unit: unit.o)
    return copies.finish()


def _gather(units: ModuleType) -> Harness:
    hardware = small()
    copies = Copies(lambda: units.Gather(hardware), items=4, patience=8)
    copies.both("instruction", constant=True)
    copies.pulse("start", 2)
    _memory(copies, lambda unit: unit.memory)
    copies.sink("o", lambda unit: unit.o)
    return copies.finish()


_TAKES = Break("self.i.ready.eq(~self.o.valid | self.o.ready)", "self.i.ready.eq(1)")
_OVER = Break("self.i.ready.eq((left == 0) | ((left == 1) & self.o.ready))",
              "self.i.ready.eq((left == 0) | (left == 1))")

PROOFS = [
    *(Proof(f"join-{beats}", "hw.spill", f"Join of {beats} beats to a word",
            lambda units, beats=beats: _join(beats, units), depth=20, broken=(_TAKES,),
            quick=beats == 2) for beats in (1, 2, 3)),
    *(Proof(f"split-{beats}", "hw.spill", f"Split of a word to {beats} beats",
            lambda units, beats=beats: _split(beats, units), depth=20, broken=(_OVER,),
            quick=beats == 2) for beats in (1, 2, 3)),
    Proof("readout", "hw.readout", "Readout sends the same words", _readout, depth=12, broken=(
        Break("with m.If(self.o.ready):\n                    m.d.sync += item",
              "with m.If(1):\n                    m.d.sync += item"),)),
    Proof("loader", "hw.loader", "Loader writes the same words", _loader, depth=11, broken=(
        Break("with m.If(self.i.valid):", "with m.If(1):"),)),
    Proof("answer", "hw.answer", "Answer keeps each word at its address until it is cleared",
          _answer, depth=10, induction=2, quick=True, broken=(
              Break("write.addr.eq(count)", "write.addr.eq(count ^ 1)"),
              Break("self.i.ready.eq(~self.complete)", "self.i.ready.eq(1)"))),
    Proof("attention-fetch", "hw.attention", "AttentionFetch reads the same entries",
          _attention_fetch, depth=11, broken=(
              Break("with m.If(self.o.ready):\n                    m.d.sync += timestep",
                    "with m.If(1):\n                    m.d.sync += timestep"),)),
    Proof("gather", "hw.gather", "Gather sends the same lines", _gather, depth=15, broken=(
        Break("advance.eq(~held | keep)", "advance.eq(1)"),
        Break("send.eq(~self.o.valid | self.o.ready)", "send.eq(1)"))),
]
