# SPDX-License-Identifier: Apache-2.0
"""Token sums: the residual stream added up over tokens and timesteps, as bit planes for the FC."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import Instruction, last_of
from hw.residual import NeuronBeat
from hw.spike_memory import SpikeWrite


class TokenSum(wiring.Component):
    """sum[c] = sum over tokens and timesteps of the residual stream (paper Eq. 14), taken exactly.

    While the last residual layer runs (`token_sum`), every beat is added to its channels' sums.  A
    Planes instruction then writes them to spike memory as a TOKEN map of one position: most
    significant plane first.

    Throughput one beat per cycle (`i`); planes: one beat of channels and plane per cycle,
    and one cycle for the last word to be written.
    Ports: `instruction`, `start` (pulse), `i`, `write`, `done` (pulse).
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1),
            "i": In(stream.Signature(NeuronBeat(hardware), always_ready=True)),
            "write": Out(SpikeWrite(hardware)), "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        hardware, ins, geometry = self._hardware, self.instruction, self._hardware.geometry
        neurons, width = geometry.neurons, hardware.token_sum_width
        sums = data.ArrayLayout(signed(width), neurons)
        m.submodules.sums = memory = Memory(shape=sums, depth=max(2, hardware.token_sum_words),
                                            init=[])
        read, write = memory.read_port(domain="comb"), memory.write_port()

        tag, beat, plane = (self.i.payload.tag, Signal(ins.residual_stride.shape()),
                            Signal(range(width)))
        flushing, last_beat = Signal(), last_of(m, ins.residual_stride)
        m.d.comb += [read.addr.eq(Mux(flushing, beat, tag.channel_beat)),
                     write.addr.eq(tag.channel_beat), write.en.eq(self.i.valid & ins.token_sum)]
        for n in range(neurons):
            m.d.comb += write.data[n].eq(Mux(tag.first_token, 0, read.data[n])
                                         + self.i.payload.values[n])

        # One beat's bits of the plane at a time, collected into words.
        per_word = geometry.spike_word // neurons
        spikes = Signal(unsigned(geometry.spike_word))
        address, word = Signal.like(ins.target_base), Signal.like(ins.target_base)
        bits = Cat(read.data[n].bit_select(plane, 1) for n in range(neurons))
        word_last = (beat & per_word - 1) == per_word - 1
        collected = Cat(spikes, bits)[neurons:]
        # Written a cycle later, from registers: sum, bit and way to the memory are a cycle each.
        m.d.comb += [self.write.half.eq(ins.target_half), self.write.data[0].eq(spikes)]
        m.d.sync += [self.write.addresses[0].eq(address + word[2:]), self.done.eq(0),
                     self.write.en.eq(Mux(flushing & word_last, 1 << word[:2], 0))]
        with m.If(self.start):
            m.d.sync += [flushing.eq(1), beat.eq(0), plane.eq(ins.planes - 1),
                         address.eq(ins.target_base), word.eq(0)]
        with m.If(flushing):
            m.d.sync += [spikes.eq(collected), beat.eq(beat + 1), word.eq(word + word_last)]
            with m.If(beat == last_beat[:len(beat)]):
                m.d.sync += [beat.eq(0), plane.eq(plane - 1), word.eq(0),
                             address.eq(address + ins.target_step)]
                with m.If(plane == 0):
                    m.d.sync += [flushing.eq(0), self.done.eq(1)]
        return m
