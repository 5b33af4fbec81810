# SPDX-License-Identifier: Apache-2.0
"""The model of the spike memory answers as `hw.spike_memory` does."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sim.units import run_unit


class Copy(wiring.Component):
    """Copies 8 words, half 0 address 3 to half 1 address 20, pausing between address and use."""

    def __init__(self):
        super().__init__({
            "read": Out(wiring.Signature({"en": Out(1), "half": Out(1), "address": Out(6),
                                          "data": In(8)})),
            "write": Out(wiring.Signature({"en": Out(1), "half": Out(1), "address": Out(6),
                                           "data": Out(8)}))})

    def elaborate(self, platform):
        m = Module()
        step = Signal(7)
        word, phase = step[2:], step[:2]
        with m.If(word != 8):
            m.d.sync += step.eq(step + 1)
            # The address stands for one cycle; the word is used three cycles later.
            m.d.comb += [self.read.en.eq(phase == 0), self.write.en.eq(phase == 3)]
        m.d.comb += [self.read.address.eq(3 + word), self.write.half.eq(1),
                     self.write.address.eq(20 + word), self.write.data.eq(self.read.data)]
        return m


def test_copy():
    run_unit(Copy(), "tests.sim.benches.memory_bench")
