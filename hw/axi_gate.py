# SPDX-License-Identifier: Apache-2.0
"""A gate behind an AXI4 master, so that it can be reset without leaving bursts behind."""

from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.axi import READ_AHEAD, ReadPort, WritePort


class PortGate(wiring.Component):
    """Between a `hw.axi.Reader` or `Writer` and its memory.  A master of these takes all data, and
    has all data that it announced, so a burst under way ends without the rest of the accelerator.

    port: `ReadPort` or `WritePort`
    Ports: `i` (the slave's side), `o`; `stop` (level: no further burst begins; an address that is
    offered already stays until it is taken, as AXI demands), `idle` (no burst is offered or under
    way).
    Latency none.
    """

    def __init__(self, port: ReadPort | WritePort) -> None:
        self._names = ("ar", "r") if "ar" in port.members else ("aw", "b")
        super().__init__({"i": In(port), "o": Out(port), "stop": In(1), "idle": Out(1)})

    def elaborate(self, platform):
        m = Module()
        address, end = self._names
        for name in self.i.signature.members:
            if name == address:
                continue
            near, far = getattr(self.i, name), getattr(self.o, name)
            # Of the channels only R and B come from the memory.
            source, sink = (far, near) if name == end else (near, far)
            m.d.comb += [sink.payload.eq(source.payload), sink.valid.eq(source.valid),
                         source.ready.eq(sink.ready)]
        near, far, last = getattr(self.i, address), getattr(self.o, address), getattr(self.o, end)
        offered, under_way = Signal(), Signal(range(READ_AHEAD + 1))
        opened, ended = Signal(), Signal()
        m.d.comb += [
            opened.eq(~self.stop | offered), far.payload.eq(near.payload),
            far.valid.eq(near.valid & opened), near.ready.eq(far.ready & opened),
            ended.eq(last.valid & last.ready & (last.payload.last if end == "r" else 1)),
            self.idle.eq(~offered & (under_way == 0)),
        ]
        m.d.sync += [offered.eq(far.valid & ~far.ready),
                     under_way.eq(under_way + (far.valid & far.ready) - ended)]
        return m
