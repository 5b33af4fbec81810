# SPDX-License-Identifier: Apache-2.0
"""Current: add the bias, count the ACs."""

from collections.abc import Sequence

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.drain import SumBeat, Tag, param_address_bits
from hw.isa import Emit, Instruction, bits_for, count_up
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
    """Finished currents y = (sum << fraction) + bias, on their way to LIF or residual stream."""

    def __init__(self, hardware: HardwareConfig) -> None:
        neurons = hardware.geometry.neurons
        super().__init__({
            "values": data.ArrayLayout(signed(hardware.current_width), neurons),
            "params": data.ArrayLayout(Param(hardware), neurons), "tag": Tag(hardware)})


class Current(wiring.Component):
    """y = (sum << fraction) + bias.

    Beats of the classifier (`Emit.LOGITS`) end here: `hw.logits` takes their sums, and from here
    their parameters.  `acs` grows by events * real channels of each beat, built from shifted
    copies: no multiplier.

    Throughput one beat per cycle; latency 3 cycles; `acs` follows one later.
    Ports: `instruction`, `clear` (zero the counter), `i`, `o`, `acs`, `row` (parameters of the beat
    that was at `i` one cycle before), `ahead` (address in the residual memory of the beat that `o`
    has in the next cycle); with streamed weights `params` (rows as they arrive), which are `image`
    otherwise.
    """

    LATENCY = 3

    def __init__(self, hardware: HardwareConfig, image: Sequence[int]) -> None:
        self._hardware, self._image = hardware, image
        super().__init__({
            "instruction": In(Instruction(hardware)), "clear": In(1),
            "i": In(stream.Signature(SumBeat(hardware), always_ready=True)),
            "o": Out(stream.Signature(CurrentBeat(hardware), always_ready=True)),
            "acs": Out(hardware.tally_bits), "row": Out(ParamRow(hardware)),
            "ahead": Out(Tag(hardware)["residual"].shape),
        } | ({"params": In(param_write(hardware))} if hardware.streamed else {}))

    def elaborate(self, platform):
        m = Module()
        hardware, ins = self._hardware, self.instruction
        neurons = hardware.geometry.neurons
        tag = self.i.payload.tag

        row = ParamRow(hardware)
        depth = (1 << param_address_bits(hardware) if hardware.streamed
                 else max(2, hardware.param_rows))
        # Streamed rows fill a small memory, which would take 40 LUTs a neuron.
        kind = {"ram_style": "block"} if hardware.streamed else {}
        m.submodules.params = params = Memory(shape=unsigned(row.size), init=self._image,
                                              depth=depth, attrs=kind)
        param_read = params.read_port()
        m.d.comb += param_read.addr.eq(tag.param)
        if hardware.streamed:
            loaded = params.write_port()
            m.d.comb += [loaded.en.eq(self.params.en), loaded.addr.eq(self.params.address),
                         loaded.data.eq(self.params.data)]

        # Stage 1: the parameters are read; stage 2: they leave the memory's slow output.
        stages = data.StructLayout({"values": self.i.payload.values.shape(), "valid": 1,
                                    "events": self.i.payload.events.shape(),
                                    "tag": Tag(hardware)})
        s1, s2, s2_row = Signal(stages), Signal(stages), Signal(row)
        m.d.comb += self.row.eq(param_read.data)
        m.d.sync += [
            s1.values.eq(self.i.payload.values), s1.tag.eq(tag), s1.valid.eq(self.i.valid),
            s1.events.eq(Mux(self.i.valid, self.i.payload.events, 0)),
            s2.eq(s1), s2_row.eq(param_read.data)]

        # Stage 3: bias.
        m.d.comb += self.ahead.eq(s2.tag.residual)
        m.d.sync += [self.o.valid.eq(s2.valid & (ins.emit != Emit.LOGITS)),
                     self.o.payload.tag.eq(s2.tag), self.o.payload.params.eq(s2_row.params)]
        for n in range(neurons):
            m.d.sync += self.o.payload.values[n].eq(
                (s2.values[n] << hardware.fraction) + s2_row.params[n].bias)

        additions = Signal(len(s2.events) + len(s2_row.real))
        m.d.sync += [additions.eq(sum(Mux(bit, s2.events << k, 0)
                                      for k, bit in enumerate(s2_row.real)))]
        count_up(m, self.acs, additions)
        with m.If(self.clear):
            m.d.sync += self.acs.eq(0)
        return m
