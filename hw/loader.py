# SPDX-License-Identifier: Apache-2.0
"""Loader: input samples to bit planes in spike memory, for the encoder convolution."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import Instruction
from hw.spike_memory import SpikeWrite


class Loader(wiring.Component):
    """Take one inference's samples, write a word per position and bit plane.

    Order in: timestep (event input only), position (raster), channel.  Plane 0 is the most
    significant bit; address = target_base + position * position_stride + timestep * planes + plane.

    Throughput: in_channels samples, then input_width cycles for their planes.
    Ports: `instruction`, `start` (pulse), `i`, `write`, `done` (pulse).
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1),
            "i": In(stream.Signature(unsigned(hardware.input_width))),
            "write": Out(SpikeWrite(hardware)), "done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        ins, channels = self.instruction, self._hardware.in_channels
        width = self._hardware.input_width
        samples = Signal(data.ArrayLayout(unsigned(width), channels))
        channel, plane = Signal(range(channels)), Signal(range(width))
        x, y, timestep = (Signal(ins.width.shape()), Signal(ins.height.shape()),
                          Signal(ins.timesteps.shape()))
        first, position = Signal.like(ins.target_base), Signal.like(ins.target_base)
        x_last, y_last = x == (ins.width - 1)[:len(x)], y == (ins.height - 1)[:len(y)]

        m.d.comb += [
            self.write.half.eq(ins.target_half), self.write.address.eq(position + plane),
            self.write.data.eq(Cat(sample[-1] for sample in samples)),
        ]
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [first.eq(ins.target_base), position.eq(ins.target_base)]
                with m.If(self.start):
                    m.next = "Take"
            with m.State("Take"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += [samples.as_value().eq(
                        Cat(samples.as_value(), self.i.payload)[width:]),
                        channel.eq(channel + 1)]
                    with m.If(channel == channels - 1):
                        m.d.sync += channel.eq(0)
                        m.next = "Write"
            with m.State("Write"):
                m.d.comb += self.write.en.eq(1)
                m.d.sync += [*(sample.eq(sample << 1) for sample in samples), plane.eq(plane + 1)]
                with m.If(plane == width - 1):
                    m.d.sync += [plane.eq(0), x.eq(Mux(x_last, 0, x + 1)),
                                 position.eq(position + ins.position_stride)]
                    m.next = "Take"
                    with m.If(x_last):
                        m.d.sync += y.eq(Mux(y_last, 0, y + 1))
                    with m.If(x_last & y_last):
                        m.d.sync += [timestep.eq(timestep + 1), first.eq(first + width),
                                     position.eq(first + width)]
                        with m.If(timestep == (ins.timesteps - 1)[:len(timestep)]):
                            m.d.sync += timestep.eq(0)
                            m.d.comb += self.done.eq(1)
                            m.next = "Idle"
        return m
