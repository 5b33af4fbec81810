# SPDX-License-Identifier: Apache-2.0
"""The answer of an inference, kept until the next one so that a host can read it twice."""

from amaranth import Module, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.readout import OUTPUT


class Answer(wiring.Component):
    """Memory of `words` output words, filled from a stream and read by address.

    Ports:
      `i`         words; taken until the one with `last`, then none before `clear`
      `clear`     pulse: forget the answer
      `complete`  level: the answer is here
      `address`, `data`  of a word, int64; the data follow the address by one cycle
    Words beyond `words` are taken and dropped.

    bits: of each word that are kept; the sign fills the others
    """

    def __init__(self, words: int, bits: int = 64) -> None:
        if not isinstance(words, int) or words < 1:
            raise ValueError(f"words must be a positive integer, not {words!r}")
        self.words, self._bits = words, bits
        super().__init__({
            "i": In(stream.Signature(OUTPUT)), "clear": In(1), "complete": Out(1),
            "address": In(range(max(2, words))), "data": Out(64)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.storage = storage = Memory(
            shape=signed(self._bits), depth=max(2, self.words), init=[])
        write, read = storage.write_port(), storage.read_port()
        count = Signal(range(self.words + 1))
        m.d.comb += [
            self.i.ready.eq(~self.complete), write.addr.eq(count),
            write.data.eq(self.i.payload.data), write.en.eq(self.i.valid & self.i.ready
                                                            & (count != self.words)),
            read.addr.eq(self.address), self.data.eq(read.data)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.complete.eq(self.i.payload.last)
            with m.If(count != self.words):
                m.d.sync += count.eq(count + 1)
        with m.If(self.clear):
            m.d.sync += [self.complete.eq(0), count.eq(0)]
        return m
