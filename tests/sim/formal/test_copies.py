# SPDX-License-Identifier: Apache-2.0
"""Two copies of a unit that loses, changes or holds up what waits are told apart."""

import pytest
from amaranth import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from sim.formal.copies import Copies
from sim.formal.engine import run
from sim.formal.harness import Proof


class Register(wiring.Component):
    """A stream with a register, which does something wrong."""

    def __init__(self, wrong):
        self._wrong = wrong
        super().__init__({"i": In(stream.Signature(4)), "o": Out(stream.Signature(4))})

    def elaborate(self, platform):
        m = Module()
        waited, stuck = Signal(), Signal()   # in the cycle before; ever
        free = ~self.o.valid | self.o.ready
        m.d.sync += [waited.eq(~free), stuck.eq(stuck | ~free)]
        m.d.comb += self.i.ready.eq({"loses": 1, "stops": free & ~stuck}.get(self._wrong, free))
        with m.If(free):
            m.d.sync += [self.o.valid.eq(self.i.valid & self.i.ready), self.o.payload.eq(
                Mux(waited, 5, self.i.payload) if self._wrong == "changes" else self.i.payload)]
        return m


@pytest.mark.parametrize("wrong, claims", [
    ("nothing", []), ("loses", ["o_same"]), ("changes", ["o_same"]), ("stops", ["progress"])])
def test_register(wrong, claims, tmp_path):
    def build(units):
        copies = Copies(lambda: Register(wrong), items=3, patience=2)
        copies.source("i", lambda unit: unit.i)
        copies.sink("o", lambda unit: unit.o)
        return copies.finish()
    assert list(run(Proof("register", "hw.spill", "", build, depth=12), tmp_path).failed) == claims
