# SPDX-License-Identifier: Apache-2.0
"""Units are run as Verilog, and a fault in one is found."""

import pytest
from amaranth import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from sim.streams import PAUSES
from sim.toolchain import ToolError
from sim.units import UnitError, run_unit, unit_design

BENCH = "tests.sim.tally_bench"


class Tally(wiring.Component):
    """Running sum of (value + offset), one register deep; `broken` names a planted fault."""

    def __init__(self, broken=""):
        self._broken = broken
        layout = data.StructLayout({"value": signed(8), "tag": data.ArrayLayout(2, 2)})
        super().__init__({"i": In(stream.Signature(layout)), "o": Out(stream.Signature(layout)),
                          "offset": In(8)})

    def elaborate(self, platform):
        m = Module()
        total = Signal(signed(8))
        taken = Signal()
        free = ~self.o.valid | self.o.ready
        m.d.comb += [self.i.ready.eq(1 if self._broken == "ready" else free),
                     taken.eq(self.i.valid & self.i.ready)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(self.i.ready if self._broken == "valid" else taken):
            m.d.sync += [total.eq(total + self.i.payload.value + self.offset),
                         self.o.valid.eq(taken), self.o.payload.tag.eq(self.i.payload.tag)]
        m.d.comb += self.o.payload.value.eq(total)
        return m


@pytest.mark.parametrize("pauses", PAUSES)
def test_correct_unit(pauses):
    run_unit(Tally(), BENCH, {"pauses": pauses})


@pytest.mark.parametrize(("broken", "pauses"), [("ready", "backpressure"), ("valid", "idle")])
def test_broken_unit(broken, pauses):
    with pytest.raises(UnitError, match=r"tests\.sim\.tally_bench\.running_sum: "):
        run_unit(Tally(broken), BENCH, {"pauses": pauses})


def test_ports():
    design, inputs = unit_design(Tally())
    assert inputs == ["i__payload", "i__valid", "o__ready", "offset"]
    assert 'public_flat_rw -module "unit" -var "o__payload"' in design.public


def test_module_without_tests():
    with pytest.raises(ToolError, match=r"^the (module|testbench) tests\.sim\.mock must "):
        run_unit(Tally(), "tests.sim.mock", {})


@pytest.mark.slow
def test_waves(tmp_path):
    run_unit(Tally(), BENCH, {"pauses": "both"}, waves=tmp_path / "unit.vcd")
    assert "i__payload" in (tmp_path / "unit.vcd").read_text()
