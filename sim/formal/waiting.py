# SPDX-License-Identifier: Apache-2.0
"""Units of the accelerator with streams that can wait, stalled at will on every port."""

from types import ModuleType

from amaranth import Cat, Value

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
]
