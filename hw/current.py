# SPDX-License-Identifier: Apache-2.0
"""Current: join bit planes, add the bias, count the ACs."""

from collections.abc import Sequence

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.drain import SumBeat, Tag, param_address_bits
from hw.isa import TALLY_BITS, Emit, Instruction, bits_for
from hw.tiles import RowWrite


class Param(data.StructLayout):
    """Constants of one output channel; the classifier's bias takes bias and threshold together."""

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({"bias": signed(hardware.param_width),
                          "threshold": signed(hardware.param_width),
                          "shift": unsigned(hardware.shift_width)})


class ParamRow(data.StructLayout):
    """Constants of one beat; `real` of its channels exist, the others are padding."""

    def __init__(self, hardware: HardwareConfig) -> None:
        neurons = hardware.geometry.neurons
        super().__init__({"params": data.ArrayLayout(Param(hardware), neurons),
                          "real": bits_for(neurons)})


def param_write(hardware: HardwareConfig) -> RowWrite:
    """Port through which streamed parameter rows arrive."""
    return RowWrite(param_address_bits(hardware), ParamRow(hardware).size)


class CurrentBeat(data.StructLayout):
    """Finished currents y = (sum << fraction) + bias, on their way to LIF, residual or logits."""

    def __init__(self, hardware: HardwareConfig) -> None:
        neurons = hardware.geometry.neurons
        super().__init__({
            "values": data.ArrayLayout(signed(hardware.current_full_width), neurons),
            "params": data.ArrayLayout(Param(hardware), neurons), "tag": Tag(hardware)})


class Current(wiring.Component):
    """y = (sum << fraction) + bias, where sum gathers bit planes: sum = 2 * sum +- beat.

    With `accumulate` (spiking heads) the groups of the whole layer add up without doubling.  `acs`
    grows by events * real channels of each beat, built from shifted copies: no multiplier.

    Throughput one beat per cycle; latency 2 cycles, beats whose tag does not say `emit` end here.
    A beat of the same number may follow after one cycle.
    Ports: `instruction`, `clear` (zero the counter), `i`, `o`, `acs`; `ahead` (address in the
    residual memory of the beat that `o` has in the next cycle); with streamed weights `params`
    (rows as they arrive), which are `image` otherwise.
    """

    LATENCY = 2

    def __init__(self, hardware: HardwareConfig, image: Sequence[int]) -> None:
        self._hardware, self._image = hardware, image
        super().__init__({
            "instruction": In(Instruction(hardware)), "clear": In(1),
            "i": In(stream.Signature(SumBeat(hardware), always_ready=True)),
            "o": Out(stream.Signature(CurrentBeat(hardware), always_ready=True)),
            "acs": Out(TALLY_BITS), "ahead": Out(Tag(hardware)["residual"].shape),
        } | ({"params": In(param_write(hardware))} if hardware.streamed else {}))

    def elaborate(self, platform):
        m = Module()
        hardware, ins = self._hardware, self.instruction
        neurons = hardware.geometry.neurons
        tag = self.i.payload.tag

        row = ParamRow(hardware)
        depth = (1 << param_address_bits(hardware) if hardware.streamed
                 else max(2, hardware.param_rows))
        m.submodules.params = params = Memory(shape=unsigned(row.size), init=self._image,
                                              depth=depth)
        param_read = params.read_port()
        m.d.comb += param_read.addr.eq(tag.param)
        if hardware.streamed:
            loaded = params.write_port()
            m.d.comb += [loaded.en.eq(self.params.en), loaded.addr.eq(self.params.address),
                         loaded.data.eq(self.params.data)]

        # Stage 1: plane sums.  Read and write share the cycle, so beats need no distance.
        planes = data.ArrayLayout(signed(hardware.plane_width), neurons)
        m.submodules.sums = sums = Memory(shape=planes, depth=max(2, hardware.geometry.beats),
                                          init=[])
        old_sums, new_sums = sums.read_port(domain="comb"), sums.write_port()
        s1_sums, s1_tag, s1_valid = Signal(planes), Signal(Tag(hardware)), Signal()
        s1_events = Signal.like(self.i.payload.events)
        m.d.comb += [old_sums.addr.eq(tag.beat), new_sums.addr.eq(tag.beat),
                     new_sums.en.eq(self.i.valid)]
        for n in range(neurons):
            # -value = ~value + 1: one adder serves both signs.  Gates as AND merge into it.
            old = old_sums.data[n].as_unsigned() & ~tag.fresh.replicate(hardware.plane_width)
            doubled = (old << 1)[:hardware.plane_width]
            value = self.i.payload.values[n]
            flipped = value ^ tag.subtract.replicate(len(value)).as_signed()
            new = flipped + Mux(ins.accumulate, old, doubled).as_signed() + tag.subtract
            m.d.comb += new_sums.data[n].eq(new)
            m.d.sync += s1_sums[n].eq(new)
        m.d.sync += [s1_tag.eq(tag), s1_valid.eq(self.i.valid),
                     s1_events.eq(Mux(self.i.valid, self.i.payload.events, 0))]

        m.d.comb += self.ahead.eq(s1_tag.residual)

        # Stage 2: bias.
        s1_params = data.View(row, param_read.data)
        m.d.sync += [self.o.valid.eq(s1_valid & s1_tag.emit), self.o.payload.tag.eq(s1_tag),
                     self.o.payload.params.eq(s1_params.params)]
        for n in range(neurons):
            param = s1_params.params[n]
            wide = Cat(param.bias, param.threshold).as_signed()
            bias = Mux(ins.emit == Emit.LOGITS, wide, param.bias)
            m.d.sync += self.o.payload.values[n].eq((s1_sums[n] << hardware.fraction) + bias)

        m.d.sync += self.acs.eq(self.acs + sum(
            Mux(bit, s1_events << k, 0) for k, bit in enumerate(s1_params.real)))
        with m.If(self.clear):
            m.d.sync += self.acs.eq(0)
        return m
