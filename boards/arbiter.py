# SPDX-License-Identifier: Apache-2.0
"""Several masters on one memory controller: reads by turns, writes as words."""

from amaranth import Array, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from boards.sdram import WRITE
from hw.axi import ReadPort, WritePort

# Bursts that were asked for and have not ended.
UNDER_WAY = 4
WORD_BYTES = 8


class ReadArbiter(wiring.Component):
    """Read bursts of `count` masters, by turns, each whole.

    Ports: `masters` (the slave's side of each), `memory`, which answers in order.
    Latency 1 cycle of a burst's address, none of data; throughput a burst in 2 cycles.
    """

    def __init__(self, port_bits: int, count: int) -> None:
        self._count = count
        super().__init__({"masters": In(ReadPort(port_bits)).array(count),
                          "memory": Out(ReadPort(port_bits))})

    def elaborate(self, platform):
        m = Module()
        count, memory = self._count, self.memory
        chosen, held = Signal(range(count)), Signal()
        m.submodules.order = order = SyncFIFOBuffered(width=len(chosen), depth=UNDER_WAY)
        asked = Signal()
        m.d.comb += [asked.eq(memory.ar.valid & memory.ar.ready), order.w_en.eq(asked),
                     order.w_data.eq(chosen),
                     order.r_en.eq(memory.r.valid & memory.r.ready & memory.r.payload.last)]
        for number, master in enumerate(self.masters):
            m.d.comb += master.r.payload.eq(memory.r.payload)
            with m.If(held & (chosen == number)):
                m.d.comb += [memory.ar.payload.eq(master.ar.payload),
                             memory.ar.valid.eq(master.ar.valid & order.w_rdy),
                             master.ar.ready.eq(memory.ar.ready & order.w_rdy)]
            with m.If(order.r_rdy & (order.r_data == number)):
                m.d.comb += [master.r.valid.eq(memory.r.valid), memory.r.ready.eq(master.r.ready)]
        with m.If(asked):
            m.d.sync += held.eq(0)
        with m.Elif(~held), m.Switch(chosen):
            for last in range(count):
                with m.Case(last):
                    # The statement that counts is the latest: the one after `last`.
                    for number in ((last - n) % count for n in range(count)):
                        with m.If(self.masters[number].ar.valid):
                            m.d.sync += [chosen.eq(number), held.eq(1)]
        return m


class WordWriter(wiring.Component):
    """Write bursts as words of 64 bits with their addresses.

    A burst is answered when its last word has been taken, one burst after the other.
    Ports: `axi` (the slave's side), `o`.
    Throughput a word a cycle, and two cycles a burst.
    """

    def __init__(self, port_bits: int) -> None:
        self._words = port_bits // 8 // WORD_BYTES
        super().__init__({"axi": In(WritePort(port_bits)), "o": Out(stream.Signature(WRITE))})

    def elaborate(self, platform):
        m = Module()
        aw, w, b, o = self.axi.aw, self.axi.w, self.axi.b, self.o
        address, part = Signal(32), Signal(range(self._words))
        bits = 8 * WORD_BYTES
        parts = Array(w.payload.data[n * bits:(n + 1) * bits] for n in range(self._words))
        m.d.comb += [o.payload.address.eq(address), o.payload.data.eq(parts[part])]
        with m.FSM():
            with m.State("Address"):
                m.d.comb += aw.ready.eq(1)
                m.d.sync += address.eq(aw.payload.addr)
                with m.If(aw.valid):
                    m.next = "Data"
            with m.State("Data"):
                m.d.comb += [o.valid.eq(w.valid),
                             w.ready.eq(o.ready & (part == self._words - 1))]
                with m.If(o.valid & o.ready):
                    m.d.sync += [address.eq(address + WORD_BYTES), part.eq(part + 1)]
                    with m.If(w.ready & w.payload.last):
                        m.next = "Answer"
            with m.State("Answer"):
                m.d.comb += b.valid.eq(1)
                with m.If(b.ready):
                    m.next = "Address"
        return m


class WriteMerge(wiring.Component):
    """Words of `count` sources, of one as long as it has some.

    Ports: `i` of each, `o`.  Latency none, or 1 cycle where another source begins.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__({"i": In(stream.Signature(WRITE)).array(count),
                          "o": Out(stream.Signature(WRITE))})

    def elaborate(self, platform):
        m = Module()
        chosen = Signal(range(self._count))
        with m.Switch(chosen):
            for number, source in enumerate(self.i):
                with m.Case(number):
                    m.d.comb += [self.o.payload.eq(source.payload), self.o.valid.eq(source.valid),
                                 source.ready.eq(self.o.ready)]
        with m.If(~self.o.valid):
            for number, source in enumerate(self.i):
                with m.If(source.valid):
                    m.d.sync += chosen.eq(number)
        return m
