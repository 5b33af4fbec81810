# SPDX-License-Identifier: Apache-2.0
"""The model of the spike memory answers as `hw.spike_memory` does."""

from amaranth import Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from sim.units import run_unit


class Copy(wiring.Component):
    """Copies two banks of 8 lines, half 0 line 3 to half 1 line 20, pausing before their use.

    The other banks are read at other lines.
    """

    def __init__(self):
        ports = {"half": Out(1), "addresses": Out(data.ArrayLayout(6, 4))}
        words = data.ArrayLayout(unsigned(8), 4)
        super().__init__({
            "read": Out(wiring.Signature({"en": Out(1), **ports, "data": In(words)})),
            "write": Out(wiring.Signature({"en": Out(4), **ports, "data": Out(words)}))})

    def elaborate(self, platform):
        m = Module()
        step = Signal(7)
        line, phase = step[2:], step[:2]
        with m.If(line != 8):
            m.d.sync += step.eq(step + 1)
            # The address stands for one cycle; the words are used three cycles later.
            m.d.comb += [self.read.en.eq(phase == 0), self.write.en.eq((phase == 3) * 0b0011)]
        m.d.comb += [self.write.half.eq(1), self.write.data.eq(self.read.data)]
        for bank in range(4):
            m.d.comb += [self.read.addresses[bank].eq(3 + (line if bank < 2 else 7 - line)),
                         self.write.addresses[bank].eq(20 + line)]
        return m


def test_copy():
    run_unit(Copy(), "tests.sim.benches.memory_bench")
