# SPDX-License-Identifier: Apache-2.0
"""Readout: keep logits and counters of an inference, and send them."""

from amaranth import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import Instruction, last_of
from hw.logits import Logit

#: A word of the answer; `last` with the last one of an inference.
OUTPUT = data.StructLayout({"data": signed(64), "last": 1})


def word_bits(hardware: HardwareConfig) -> int:
    """Of a word of the answer, that a logit or a counter can have."""
    return max(hardware.logit_width, hardware.tally_bits + 1)


class Readout(wiring.Component):
    """Output stream: the logits, then ac, cycles and saturations of every layer.

    A logit is y >> logit_shift, where the shift removes the fraction bits that the classifier's own
    grid does not have (they are zero).

    Ports: `instruction`, `start` (pulse: send), `logits`, `report` (store the counters of layer
    `instruction.layer`), `acs`, `cycles`, `saturations`, `o`, `done` (pulse).
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1), "report": In(1),
            "logits": In(stream.Signature(Logit(hardware), always_ready=True)),
            **dict.fromkeys(("acs", "cycles", "saturations"), In(hardware.tally_bits)),
            "o": Out(stream.Signature(OUTPUT)), "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        hardware, ins = self._hardware, self.instruction
        m.submodules.logits = logits = Memory(
            shape=signed(hardware.logit_width), init=[],
            depth=max(2, hardware.logit_words * hardware.geometry.neurons))
        kept, stored = logits.read_port(domain="comb"), logits.write_port()
        m.d.comb += [stored.en.eq(self.logits.valid), stored.data.eq(self.logits.payload.value),
                     stored.addr.eq(self.logits.payload.channel)]

        m.submodules.counters = counters = Memory(
            shape=unsigned(3 * hardware.tally_bits), init=[],
            depth=max(2, hardware.program_layers))
        counted, count = counters.read_port(domain="comb"), counters.write_port()
        m.d.comb += [count.en.eq(self.report), count.addr.eq(ins.layer),
                     count.data.eq(Cat(self.acs, self.cycles, self.saturations))]

        item, layer = Signal(2), Signal.like(counted.addr)
        sent = Signal.like(ins.outputs)
        last_logit, last_layer = last_of(m, ins.outputs), last_of(m, ins.counters)
        m.d.comb += [kept.addr.eq(sent), counted.addr.eq(layer)]
        # An Array is a multiplexer; word_select would multiply by the word's width.
        tally = hardware.tally_bits
        items = Array(counted.data[n * tally:(n + 1) * tally] for n in range(3))
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [sent.eq(0), item.eq(0), layer.eq(0)]
                with m.If(self.start):
                    m.next = "Logits"
            with m.State("Logits"):
                m.d.comb += [self.o.valid.eq(1),
                             self.o.payload.data.eq(kept.data >> ins.logit_shift)]
                with m.If(self.o.ready):
                    m.d.sync += sent.eq(sent + 1)
                    with m.If(sent == last_logit[:len(sent)]):
                        m.next = "Counters"
            with m.State("Counters"):
                layer_last = layer == last_layer[:len(layer)]
                m.d.comb += [self.o.valid.eq(1),
                             self.o.payload.data.eq(items[item]),
                             self.o.payload.last.eq((item == 2) & layer_last)]
                with m.If(self.o.ready):
                    m.d.sync += item.eq(Mux(item == 2, 0, item + 1))
                    with m.If(item == 2):
                        m.d.sync += layer.eq(layer + 1)
                    with m.If(self.o.payload.last):
                        m.d.comb += self.done.eq(1)
                        m.next = "Idle"
        return m
