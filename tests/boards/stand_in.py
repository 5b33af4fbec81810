# SPDX-License-Identifier: Apache-2.0
"""What takes the accelerator's place in tests of the link."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.identity import Identity
from hw.readout import OUTPUT


class StandIn(wiring.Component):
    """Takes `count` samples, then sends each back twice: as it is, and as -1 - sample, the last
    of all with `last`.  Ready in one cycle of `pace`; never with pace 0.  `more` are ports that
    keep their values.
    """

    def __init__(self, width, count, pace=1, more=None):
        self.width, self.count, self.pace = width, count, pace
        super().__init__({"i": In(stream.Signature(unsigned(width))),
                          "o": Out(stream.Signature(OUTPUT))} | (more or {}))

    def elaborate(self, platform):
        m = Module()
        kept = Signal(self.width * self.count)
        index, item, tick = Signal(range(self.count + 1)), Signal(), Signal(range(self.pace + 2))
        m.d.sync += tick.eq(Mux(tick == max(self.pace, 1) - 1, 0, tick + 1))
        with m.FSM():
            with m.State("Take"):
                m.d.comb += self.i.ready.eq((tick == 0) if self.pace else 0)
                with m.If(self.i.valid & self.i.ready):
                    m.d.sync += [kept.word_select(index, self.width).eq(self.i.payload),
                                 index.eq(index + 1)]
                    with m.If(index == self.count - 1):
                        m.d.sync += index.eq(0)
                        m.next = "Send"
            with m.State("Send"):
                sample = Signal(self.width)
                m.d.comb += [sample.eq(kept.word_select(index, self.width)),
                             self.o.valid.eq(tick == 0),
                             self.o.payload.data.eq(Mux(item, -1 - sample, sample)),
                             self.o.payload.last.eq(item & (index == self.count - 1))]
                with m.If(self.o.ready & self.o.valid):
                    m.d.sync += [item.eq(~item), index.eq(index + item)]
                    with m.If(self.o.payload.last):
                        m.d.sync += index.eq(0)
                        m.next = "Take"
        return m


def identity(width, count, **changes):
    """Of a `StandIn`."""
    return Identity(**{"input_bits": width, "samples": count, "classes": 2 * count,
                       "layers": 0} | changes)


def answer(samples):
    """The bytes of a stand-in's answer."""
    return b"".join(word.to_bytes(8, "little", signed=True)
                    for value in samples for word in (value, -1 - value))
