# SPDX-License-Identifier: Apache-2.0
"""Pack: beats of spikes to words.  Pool: words to spike memory, through the max-pool if asked."""

from amaranth import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.drain import Tag
from hw.isa import Instruction
from hw.layout import LINE_WORDS
from hw.lif import FireBeat
from hw.spike_memory import SpikeRead, SpikeWrite, write_word


class SpikeWord(data.StructLayout):
    """A word of spikes of one layer, with the tag of its last beat."""

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({"spikes": unsigned(hardware.geometry.spike_word),
                          "tag": Tag(hardware)})


class Pack(wiring.Component):
    """Collect `spike_word / neurons` beats, in order, into one word.

    Throughput one beat per cycle; latency 1 cycle after the word's last beat.
    Ports: `i`, `o`.
    """

    LATENCY = 1

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "i": In(stream.Signature(FireBeat(hardware), always_ready=True)),
            "o": Out(stream.Signature(SpikeWord(hardware), always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        geometry = self._hardware.geometry
        per_word = geometry.spike_word // geometry.neurons
        spikes = self.i.payload.spikes
        with m.If(self.i.valid):
            m.d.sync += [
                self.o.payload.spikes.eq(
                    Cat(self.o.payload.spikes, spikes)[geometry.neurons:]),
                self.o.payload.tag.eq(self.i.payload.tag)]
        # Words start at multiples of per_word, which is a power of two.
        m.d.sync += self.o.valid.eq(
            self.i.valid & (self.i.payload.tag.beat & per_word - 1 == per_word - 1))
        return m


class Pool(wiring.Component):
    """Write words to spike memory; with `pool`, OR them into their 3x3 stride 2 windows.

    A position belongs to the window (y >> 1, x >> 1) and, where y or x is odd, to the windows below
    and to the right.  The first position of a window writes it, the others read, OR and write, so
    no memory needs clearing.

    Throughput one word per cycle, with `pool` one window per cycle.  Windows of one word are never
    visited twice within 2 cycles, so that a read sees the write before it.
    Ports: `instruction`, `i`, `read`, `write`, `idle`, `row_done` (pulse: a row of the target is
    complete in memory).
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        geometry = hardware.geometry
        # Words of one group arrive faster than pooling takes them.
        self._depth = 2 * geometry.lanes // geometry.spike_word + 2
        super().__init__({
            "instruction": In(Instruction(hardware)),
            "i": In(stream.Signature(SpikeWord(hardware), always_ready=True)),
            "read": Out(SpikeRead(hardware)), "write": Out(SpikeWrite(hardware)),
            "idle": Out(1), "row_done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        ins, layout = self.instruction, SpikeWord(self._hardware)
        m.submodules.queue = queue = SyncFIFO(width=layout.size, depth=self._depth)
        word = data.View(layout, queue.r_data)
        m.d.comb += [queue.w_data.eq(self.i.payload), queue.w_en.eq(self.i.valid & ins.fire)]

        # The windows of the word, left to right, top to bottom.
        right, below = Signal(), Signal()
        more_right, more_below = word.tag.column & ~right, word.tag.row & ~below
        m.d.comb += queue.r_en.eq(~more_right & ~more_below)
        with m.If(queue.r_rdy):
            m.d.sync += right.eq(more_right)
            with m.If(~more_right):
                m.d.sync += below.eq(more_below)
        # The column to the right is in the next bank, from the last one in the lines that follow.
        bank, address = Signal(2), Signal.like(word.tag.target)
        beyond = right & (word.tag.bank == LINE_WORDS - 1)
        row = Mux(word.tag.around, ins.target_row - ins.target_size, ins.target_row)
        m.d.comb += [
            bank.eq(word.tag.bank + right),
            address.eq(word.tag.target + Mux(beyond, ins.target_column, 0) + Mux(below, row, 0)),
            self.read.en.eq(queue.r_rdy & ins.pool), self.read.half.eq(ins.target_half),
            *(each.eq(address) for each in self.read.addresses),
        ]

        s1_valid, s1_first, s1_done = Signal(), Signal(), Signal()
        s1_address, s1_spikes, s1_bank = (Signal.like(address), Signal.like(word.spikes),
                                          Signal.like(bank))
        first = (right | word.tag.left) & (below | word.tag.top)
        m.d.sync += [s1_valid.eq(queue.r_rdy), s1_first.eq(first | ~ins.pool),
                     s1_address.eq(address), s1_spikes.eq(word.spikes), s1_bank.eq(bank),
                     s1_done.eq(queue.r_rdy & queue.r_en & word.tag.row_end)]
        old = Array(self.read.data)[s1_bank]
        m.d.comb += [
            *write_word(self.write, ins.target_half, s1_address,
                        s1_spikes | Mux(s1_first, 0, old)),
            self.write.en.eq(Mux(s1_valid, 1 << s1_bank, 0)),
            self.idle.eq(~queue.r_rdy & ~s1_valid), self.row_done.eq(s1_done),
        ]
        return m
