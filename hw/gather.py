# SPDX-License-Identifier: Apache-2.0
"""Gather: the loops of a layer, as the stream of spike words that its sums need."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import Instruction, bits_for
from hw.spike_memory import SpikeRead


class EventWord(data.StructLayout):
    """A word of spikes, the weight row of its first channels, and whether it ends its group.

    last_tile: the group is in the last tile of its layer
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({"spikes": unsigned(hardware.geometry.spike_word),
                          "row": unsigned(bits_for(hardware.weight_rows)),
                          "last": 1, "last_tile": 1})


class Gather(wiring.Component):
    """For every tile, position, step and in-bounds kernel tap, the source's spike words.

    A group is one tile, position and step; its last word is marked.  Padding taps are not visited,
    so they cost neither cycles nor ACs.  With `kernel3` the taps are the 3x3 neighbourhood (stride
    1, padding 1), else the position itself.

    Throughput: one word per cycle, one idle cycle per position.  Latency 2 cycles.
    Ports: `instruction` (constant while busy), `start` (pulse), `memory`, `o`; with streamed
    weights `tile`, the first weight row of each tile once it is loaded.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1),
            "memory": Out(SpikeRead(hardware)), "o": Out(stream.Signature(EventWord(hardware))),
        } | ({"tile": In(stream.Signature(unsigned(bits_for(hardware.weight_rows))))}
             if hardware.streamed else {}))

    def elaborate(self, platform):
        m = Module()
        ins, kernel3 = self.instruction, self.instruction.kernel3
        streamed = self._hardware.streamed
        slice_bits = self._hardware.geometry.slice_bits
        place = data.StructLayout({"address": ins.source_base.shape(),
                                   "row": ins.weight_base.shape()})

        tile, y, x = (Signal(ins.tiles.shape()), Signal(ins.height.shape()),
                      Signal(ins.width.shape()))
        step, word = Signal(ins.steps.shape()), Signal(ins.source_words.shape())
        ky, ky_first, ky_last = Signal(2), Signal(2), Signal(2)
        kx, kx_first, kx_last = Signal(2), Signal(2), Signal(2)
        center = Signal.like(ins.source_base)    # of the position, ignoring the kernel
        tile_row = Signal.like(ins.weight_base)
        # First spike word and weight row of the group, its kernel row, its tap; and the next word.
        group, line, tap, here = (Signal(place, name=name)
                                  for name in ("group", "line", "tap", "here"))

        def go_to(address, row, *levels):
            """Enter a place with every loop level inside it."""
            return [assign for level in levels
                    for assign in (level.address.eq(address), level.row.eq(row))]

        word_last = word == (ins.source_words - 1)[:len(word)]
        tap_last = word_last & (kx == kx_last)
        group_last = tap_last & (ky == ky_last)
        position_last = group_last & (step == (ins.steps - 1)[:len(step)])
        x_last, y_last = x == (ins.width - 1)[:len(x)], y == (ins.height - 1)[:len(y)]

        walking, held = Signal(), Signal()
        advance = Signal()
        m.d.comb += [
            advance.eq(~held | self.o.ready),
            self.memory.en.eq(walking & advance),
            self.memory.half.eq(ins.source_half),
            self.memory.address.eq(here.address),
            self.o.valid.eq(held),
            self.o.payload.spikes.eq(self.memory.data),
        ]
        with m.If(advance):
            m.d.sync += [held.eq(walking), self.o.payload.row.eq(here.row),
                         self.o.payload.last.eq(group_last),
                         self.o.payload.last_tile.eq(tile == (ins.tiles - 1)[:len(tile)])]

        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [tile.eq(0), y.eq(0), x.eq(0), center.eq(ins.source_base),
                             tile_row.eq(ins.weight_base)]
                with m.If(self.start):
                    m.next = "Tile" if streamed else "Position"
            if streamed:
                with m.State("Tile"):
                    m.d.comb += self.tile.ready.eq(1)
                    m.d.sync += tile_row.eq(self.tile.payload)
                    with m.If(self.tile.valid):
                        m.next = "Position"
            with m.State("Position"):
                top, left = y == 0, x == 0
                first = (center - Mux(kernel3 & ~top, ins.row_stride, 0)
                         - Mux(kernel3 & ~left, ins.position_stride, 0))
                first_row = (tile_row + Mux(kernel3 & top, ins.row_tap_stride, 0)
                             + Mux(kernel3 & left, ins.tap_stride, 0))
                m.d.sync += [
                    *go_to(first, first_row, group, line, tap, here),
                    ky.eq(kernel3 & top), ky_first.eq(kernel3 & top),
                    kx.eq(kernel3 & left), kx_first.eq(kernel3 & left),
                    ky_last.eq(Mux(kernel3, Mux(y_last, 1, 2), 0)),
                    kx_last.eq(Mux(kernel3, Mux(x_last, 1, 2), 0)),
                    step.eq(0), word.eq(0),
                ]
                m.next = "Walk"
            with m.State("Walk"):
                m.d.comb += walking.eq(1)
                with m.If(advance):
                    m.d.sync += word.eq(Mux(word_last, 0, word + 1))
                    with m.If(~word_last):
                        m.d.sync += go_to(here.address + 1, here.row + slice_bits, here)
                    with m.Elif(~tap_last):
                        m.d.sync += [kx.eq(kx + 1),
                                     *go_to(tap.address + ins.position_stride,
                                            tap.row + ins.tap_stride, tap, here)]
                    with m.Elif(~group_last):
                        m.d.sync += [ky.eq(ky + 1), kx.eq(kx_first),
                                     *go_to(line.address + ins.row_stride,
                                            line.row + ins.row_tap_stride, line, tap, here)]
                    with m.Elif(~position_last):
                        m.d.sync += [step.eq(step + 1), ky.eq(ky_first), kx.eq(kx_first),
                                     *go_to(group.address + ins.source_words, group.row,
                                            group, line, tap, here)]
                    with m.Else():
                        m.d.sync += [center.eq(center + ins.position_stride),
                                     x.eq(Mux(x_last, 0, x + 1))]
                        m.next = "Position"
                        with m.If(x_last):
                            m.d.sync += y.eq(Mux(y_last, 0, y + 1))
                        with m.If(x_last & y_last):
                            m.d.sync += [tile.eq(tile + 1), center.eq(ins.source_base),
                                         tile_row.eq(tile_row + ins.tile_stride)]
                            m.next = "Tile" if streamed else "Position"
                            with m.If(tile == (ins.tiles - 1)[:len(tile)]):
                                m.next = "Idle"
        return m
