# SPDX-License-Identifier: Apache-2.0
"""What went wrong around an inference, so that no answer is given out of it."""

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from hw.axi import Watch

#: response: external memory answered with an error; silence: it did not answer in time; parity: a
#: word of an on-chip memory is not what was written
FAULTS = data.StructLayout({"response": 1, "silence": 1, "parity": 1})


class MemoryWatch(wiring.Component):
    """Sticky faults of external memory.

    timeout_bits: 2**timeout_bits cycles in which something is owed and nothing moves at any port
                  are silence; 0: never.  Ports share a memory, so one of them may wait for long
                  while the others are served.

    Ports: `i` (of all masters, ORed), `response`, `silence` (levels, until reset).
    Latency 2 cycles.
    """

    def __init__(self, timeout_bits: int) -> None:
        self._bits = timeout_bits
        super().__init__({"i": In(Watch()), "response": Out(1), "silence": Out(1)})

    def elaborate(self, platform):
        m = Module()
        # Ready and valid come from outside, so a register stands before the counter.
        stuck, refused = Signal(), Signal()
        m.d.sync += [stuck.eq(self.i.owed & ~self.i.moved), refused.eq(self.i.refused)]
        with m.If(refused):
            m.d.sync += self.response.eq(1)
        if self._bits:
            timer = Signal(self._bits + 1)
            # Nothing but a reset before the adder, so that it costs no LUTs.
            m.d.sync += timer.eq(Mux(stuck, timer + 1, 0))
            with m.If(timer[-1]):
                m.d.sync += self.silence.eq(1)
        return m
