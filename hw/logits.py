# SPDX-License-Identifier: Apache-2.0
"""Logits: the classifier's sums, whose bit planes need wide adders: one class after the other."""

from amaranth import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.current import ParamRow
from hw.drain import SumBeat
from hw.isa import Instruction


class Logit(data.StructLayout):
    """The finished sum y = (sum << fraction) + bias of one class."""

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({
            "value": signed(hardware.logit_width),
            "channel": unsigned((hardware.logit_words * hardware.geometry.neurons).bit_length())})


class Logits(wiring.Component):
    """y = (sum << fraction) + bias, where sum gathers bit planes: sum = 2 * sum +- beat.

    With `accumulate` (spiking heads) the groups of the whole layer add up without doubling.  The
    bias takes bias and threshold of the class together.

    Throughput: a beat in `neurons` cycles, in which it stays at the input (Drain sends beats of the
    classifier no faster); an earlier one ends the beat before, whose other channels are no classes.
    Its parameter row comes one cycle later.  Latency 3 cycles to the first
    class of a beat whose tag says `emit`, `neurons` + 2 to its last one.
    Ports: `instruction`, `i`, `row` (parameters of the beat at `i`), `o`.
    """

    LATENCY = 3

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "row": In(ParamRow(hardware)),
            "i": In(stream.Signature(SumBeat(hardware), always_ready=True)),
            "o": Out(stream.Signature(Logit(hardware), always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        hardware = self._hardware
        neurons, width = hardware.geometry.neurons, hardware.plane_width
        values, tag = self.i.payload.values, self.i.payload.tag
        lane_bits = (neurons - 1).bit_length()

        # Stage 1: one class of the beat.
        lane, following, working = Signal(lane_bits), Signal(lane_bits), Signal()
        active = self.i.valid | working
        m.d.comb += lane.eq(Mux(self.i.valid, 0, following))
        s1_value, s1_active = Signal(signed(hardware.acc_width)), Signal()
        s1_lane, s1_beat = Signal(lane_bits), Signal.like(tag.beat)
        s1_channel = Signal.like(self.o.payload.channel)
        s1_fresh, s1_subtract, s1_emit = Signal(), Signal(), Signal()
        m.d.sync += [
            s1_active.eq(active), s1_value.eq(Array(values)[lane]), s1_lane.eq(lane),
            s1_beat.eq(tag.beat), s1_channel.eq(Cat(lane, tag.channel_beat)),
            s1_fresh.eq(tag.fresh), s1_subtract.eq(tag.subtract), s1_emit.eq(tag.emit)]
        with m.If(active):
            m.d.sync += [following.eq(lane + 1), working.eq(lane != neurons - 1)]

        # Stage 2: its sum.  -value = ~value + 1: one adder serves both signs.
        m.submodules.sums = sums = Memory(shape=signed(width), init=[],
                                          depth=max(2, min(hardware.geometry.lanes,
                                                           hardware.logit_words * neurons)))
        old_sum, new_sum = sums.read_port(domain="comb"), sums.write_port()
        place = Cat(s1_lane, s1_beat)
        m.d.comb += [old_sum.addr.eq(place), new_sum.addr.eq(place), new_sum.en.eq(s1_active)]
        old = Mux(s1_fresh, 0, old_sum.data)
        doubled = Mux(self.instruction.accumulate, old, (old << 1)[:width].as_signed())
        flipped = s1_value ^ s1_subtract.replicate(len(s1_value)).as_signed()
        m.d.comb += new_sum.data.eq(doubled + flipped + s1_subtract)
        biases = Array(Cat(param.bias, param.threshold) for param in self.row.params)
        s2_sum, s2_bias = Signal(signed(width)), Signal(signed(2 * hardware.param_width))
        s2_emit, s2_channel = Signal(), Signal.like(s1_channel)
        m.d.sync += [s2_sum.eq(new_sum.data), s2_bias.eq(biases[s1_lane]),
                     s2_channel.eq(s1_channel), s2_emit.eq(s1_active & s1_emit)]

        # Stage 3: bias.
        m.d.sync += [self.o.valid.eq(s2_emit), self.o.payload.channel.eq(s2_channel),
                     self.o.payload.value.eq((s2_sum << hardware.fraction) + s2_bias)]
        return m
