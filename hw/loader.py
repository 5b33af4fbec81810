# SPDX-License-Identifier: Apache-2.0
"""Loader: input samples to words in spike memory, for the encoder convolution."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import Instruction, last_of
from hw.spike_memory import SpikeWrite


class Loader(wiring.Component):
    """Take one inference's samples, write a word for each position and timestep.

    Order in: y, x, timestep (event input only), channel; channel 0 is in the low bits of the word.
    The map is a GRID of one block.

    Throughput one sample per cycle.
    Ports: `instruction`, `start` (pulse), `i`, `write`, `done` (pulse, with the last word); with
    maps in external memory `row_free` (level: the next row has room), `begin_row`, `row_done`
    (pulses).
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1),
            "i": In(stream.Signature(unsigned(hardware.input_width))),
            "write": Out(SpikeWrite(hardware)), "done": Out(1),
        } | ({"row_free": In(1), "begin_row": Out(1), "row_done": Out(1)}
             if hardware.spills_maps else {}))

    def elaborate(self, platform):
        m = Module()
        ins, channels = self.instruction, self._hardware.in_channels
        width = self._hardware.input_width
        # Shifted down to the low bits by the last channel.
        pixel = Signal(channels * width)
        shifted = Cat(pixel, self.i.payload)[width:]
        channel, timestep = Signal(range(channels)), Signal(ins.timesteps.shape())
        x, y, ring = (Signal(self._hardware.size_bits), Signal(self._hardware.size_bits),
                      Signal(self._hardware.size_bits))
        row, column, address = (Signal.like(ins.target_base, name=name)
                                for name in ("row", "column", "address"))
        word_last = channel == channels - 1
        position_last = word_last & (timestep == last_of(m, ins.timesteps)[:len(timestep)])
        row_last = position_last & (x == last_of(m, ins.width)[:len(x)])
        y_last = y == last_of(m, ins.height)[:len(y)]
        ring_last = ring == last_of(m, ins.target_rows)[:len(ring)]
        following_row = Mux(ring_last, ins.target_base, row + ins.target_row)

        m.d.comb += [self.write.half.eq(ins.target_half), self.write.addresses[0].eq(address),
                     self.write.data[0].eq(shifted)]
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [level.eq(ins.target_base) for level in (row, column, address)]
                m.d.sync += [x.eq(0), y.eq(0), ring.eq(0)]
                with m.If(self.start):
                    m.next = "Row"
            with m.State("Row"):
                if self._hardware.spills_maps:
                    free = ~ins.target_window | self.row_free
                    m.d.comb += self.begin_row.eq(free)
                    with m.If(free):
                        m.next = "Take"
                else:
                    m.next = "Take"
            with m.State("Take"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [pixel.eq(shifted), channel.eq(Mux(word_last, 0, channel + 1))]
                    with m.If(word_last):
                        m.d.comb += self.write.en.eq(1 << x[:2])
                        m.d.sync += [timestep.eq(timestep + 1),
                                     address.eq(address + ins.target_step)]
                    with m.If(position_last):
                        # Four columns share their lines.
                        following = column + Mux(x[:2] == 3, ins.target_column, 0)
                        m.d.sync += [timestep.eq(0), x.eq(x + 1), column.eq(following),
                                     address.eq(following)]
                    with m.If(row_last):
                        m.d.sync += [x.eq(0), y.eq(y + 1), ring.eq(Mux(ring_last, 0, ring + 1)),
                                     *(level.eq(following_row) for level in (row, column, address))]
                        if self._hardware.spills_maps:
                            m.d.comb += self.row_done.eq(1)
                        m.next = "Row"
                        with m.If(y_last):
                            m.d.comb += self.done.eq(1)
                            m.next = "Idle"
        return m
