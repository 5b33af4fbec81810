# SPDX-License-Identifier: Apache-2.0
"""Residual: requantize, add to the residual stream with saturation, count what saturated."""

from amaranth import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.current import CurrentBeat
from hw.drain import Tag
from hw.isa import Emit, Instruction, count_up


class NeuronBeat(data.StructLayout):
    """Inputs x of the LIF neurons with their thresholds."""

    def __init__(self, hardware: HardwareConfig) -> None:
        neurons = hardware.geometry.neurons
        width = max(hardware.current_width, hardware.residual_width)
        super().__init__({
            "values": data.ArrayLayout(signed(width), neurons),
            "thresholds": data.ArrayLayout(signed(hardware.param_width), neurons),
            "tag": Tag(hardware)})


class WordExchange(wiring.Signature):
    """Words of a residual stream that lies elsewhere: `pop` takes `old`, `push` gives `new`."""

    def __init__(self, hardware: HardwareConfig) -> None:
        word = hardware.geometry.neurons * hardware.residual_width
        super().__init__({"pop": Out(1), "old": In(word), "push": Out(1), "new": Out(word)})


class Residual(wiring.Component):
    """With `Emit.RESIDUAL`: x = stream = saturate(stream + requantize(y)), else x = y.

    requantize(y) = ((y << shift_left + 1) >> shift) + 1 >> 1, which rounds to nearest, halves up;
    without `add_residual` the stream starts from zero.  The design's only place where bits are
    dropped.

    Throughput one beat per cycle; latency 2 cycles, the memory is written one cycle later.
    Ports: `instruction`, `clear` (zero the counter), `i`, `o`, `saturations`; `address` (of the
    stream word of the beat that `i` brings in the next cycle: what is read has a register before
    the adders, as block RAM is slow); `spill` instead where the stream is in external memory;
    `error` (pulse: a word that was added is not the one that was written), if there is parity.
    A word comes back after 4 cycles at the earliest.
    """

    LATENCY = 2

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "clear": In(1),
            "i": In(stream.Signature(CurrentBeat(hardware), always_ready=True)),
            "o": Out(stream.Signature(NeuronBeat(hardware), always_ready=True)),
            "saturations": Out(hardware.tally_bits),
        } | ({"spill": Out(WordExchange(hardware))} if hardware.spills_residual
             else {"address": In(Tag(hardware)["residual"].shape)
                   } | ({"error": Out(1)} if hardware.parity else {})))

    def elaborate(self, platform):
        m = Module()
        hardware, ins = self._hardware, self.instruction
        neurons, width = hardware.geometry.neurons, hardware.residual_width
        values = data.ArrayLayout(signed(width), neurons)
        is_residual = ins.emit == Emit.RESIDUAL

        # Stage 1: shift right by `shift`, one bit kept for rounding.
        full = hardware.current_width + hardware.shift_left + 1
        s1_values = Signal(data.ArrayLayout(signed(full), neurons))
        s1_beat, s1_valid = Signal(CurrentBeat(hardware)), Signal()
        old_values, new_values = Signal(values), Signal(values)
        self._connect_memory(m, old_values, new_values, s1_valid & is_residual,
                             self.o.valid & is_residual)
        m.d.sync += [s1_beat.eq(self.i.payload), s1_valid.eq(self.i.valid)]
        for n in range(neurons):
            current = self.i.payload.values[n][:hardware.current_width].as_signed()
            scaled = Signal(signed(full), name=f"scaled{n}")
            m.d.comb += scaled.eq(current << hardware.shift_left + 1)
            m.d.sync += s1_values[n].eq(scaled >> self.i.payload.params[n].shift)

        # Stage 2: 2 * stream + shifted + 1, halved, is stream + rounded in a single addition.
        overflows = []
        for n in range(neurons):
            # As AND with the second operand the gate costs nothing.
            old = (old_values[n].as_unsigned() & ins.add_residual.replicate(width)).as_signed()
            total = (Cat(1, old).as_signed() + s1_values[n]) >> 1
            fits = (total[width - 1:] == 0) | total[width - 1:].all()
            limit = Mux(total[-1], -(1 << width - 1), (1 << width - 1) - 1)
            overflows.append(~fits)
            new = Mux(fits, total[:width].as_signed(), limit)
            m.d.comb += new_values[n].eq(self.o.payload.values[n])
            m.d.sync += [
                self.o.payload.values[n].eq(Mux(is_residual, new, s1_beat.values[n])),
                self.o.payload.thresholds[n].eq(s1_beat.params[n].threshold),
            ]
        m.d.sync += [self.o.valid.eq(s1_valid), self.o.payload.tag.eq(s1_beat.tag)]
        # Counted a cycle later: additions of stream and counter would be one path.
        s2_overflows = Signal(range(neurons + 1))
        m.d.sync += s2_overflows.eq(Mux(s1_valid & is_residual, sum(overflows), 0))
        count_up(m, self.saturations, s2_overflows)
        with m.If(self.clear):
            m.d.sync += self.saturations.eq(0)
        return m

    def _connect_memory(self, m, old_values, new_values, reading, writing):
        """The stream: an on-chip memory, or words that come and go through `spill`."""
        if self._hardware.spills_residual:
            m.d.comb += [self.spill.pop.eq(reading), old_values.eq(self.spill.old),
                         self.spill.push.eq(writing), self.spill.new.eq(new_values)]
            return
        width, parity = new_values.shape().size, self._hardware.parity
        m.submodules.stream = memory = Memory(shape=unsigned(width + parity),
                                              depth=max(2, self._hardware.residual_words), init=[])
        read, write = memory.read_port(), memory.write_port()
        m.d.sync += old_values.eq(read.data[:width])
        m.d.comb += [read.addr.eq(self.address), write.en.eq(writing), write.data.eq(new_values),
                     write.addr.eq(self.o.payload.tag.residual)]
        if parity:
            stored = Signal()
            m.d.comb += write.data.eq(Cat(new_values, new_values.as_value().xor()))
            m.d.sync += [stored.eq(read.data[-1]), self.error.eq(
                reading & self.instruction.add_residual
                & (old_values.as_value().xor() ^ stored))]
