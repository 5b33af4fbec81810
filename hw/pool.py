# SPDX-License-Identifier: Apache-2.0
"""Pack: beats of spikes to words.  Pool: words to spike memory, through the max-pool if asked."""

from amaranth import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.drain import Tag
from hw.isa import Instruction
from hw.layout import LINE_WORDS
from hw.lif import FireBeat
from hw.spike_memory import SpikeRead, SpikeWrite


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
    and to the right.  The first position of a window writes it, the others read, OR (in the
    spike memory) and write, so no memory needs clearing.

    Throughput one word per cycle, with `pool` one row of windows per cycle.  A window is never
    visited twice within 2 cycles, so that a read sees the write before it.
    Ports: `instruction`, `i`, `read`, `write`, `idle`, `row_done` (pulse: a row of the target is
    complete in memory).
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        geometry = hardware.geometry
        # Pooling takes two cycles for a word: those of a group of one beat each wait.
        beats = geometry.spike_word // geometry.neurons
        self._depth = 2 if beats >= 2 else 2 * geometry.lanes // geometry.spike_word + 2
        super().__init__({
            "instruction": In(Instruction(hardware)),
            "i": In(stream.Signature(SpikeWord(hardware), always_ready=True)),
            "read": Out(SpikeRead(hardware, answers=False)),
            "write": Out(SpikeWrite(hardware, LINE_WORDS, merges=True)),
            "idle": Out(1), "row_done": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        ins, layout = self.instruction, SpikeWord(self._hardware)
        m.submodules.queue = queue = SyncFIFO(width=layout.size, depth=self._depth)
        word = data.View(layout, queue.r_data)
        m.d.comb += [queue.w_data.eq(self.i.payload), queue.w_en.eq(self.i.valid & ins.fire)]

        # The row of windows that the position is at home in, then the one below.
        below = Signal()
        more = word.tag.row & ~below
        m.d.comb += queue.r_en.eq(~more)
        with m.If(queue.r_rdy):
            m.d.sync += below.eq(more)
        row = Mux(word.tag.around, ins.target_row - ins.target_size, ins.target_row)
        address = Signal.like(word.tag.target)
        m.d.comb += [address.eq(word.tag.target + Mux(below, row, 0)),
                     self.read.en.eq(queue.r_rdy & ins.pool), self.read.half.eq(ins.target_half)]

        # The window's own column, and the one to the right in the next bank: from the last bank on
        # in the lines that follow.
        s1_en, s1_merge, s1_done = Signal(LINE_WORDS), Signal(LINE_WORDS), Signal()
        s1_spikes, s1_addresses = (Signal.like(word.spikes),
                                   Signal.like(Value.cast(self.read.addresses)))
        top = below | word.tag.top
        for bank in range(LINE_WORDS):
            home = word.tag.bank == bank
            right = word.tag.column & (word.tag.bank == (bank - 1) % LINE_WORDS)
            beyond = ins.target_column if bank == 0 else 0
            m.d.comb += self.read.addresses[bank].eq(address + Mux(home, 0, beyond))
            m.d.sync += [s1_en[bank].eq(queue.r_rdy & (home | right)),
                         s1_merge[bank].eq(ins.pool & ~(top & (right | word.tag.left)))]
        m.d.sync += [s1_addresses.eq(self.read.addresses), s1_spikes.eq(word.spikes),
                     s1_done.eq(queue.r_rdy & ~more & word.tag.row_end)]
        m.d.comb += [
            self.write.half.eq(ins.target_half), self.write.en.eq(s1_en),
            Value.cast(self.write.addresses).eq(s1_addresses),
            self.write.data[0].eq(s1_spikes), self.write.merge.eq(s1_merge),
            self.idle.eq(~queue.r_rdy & (s1_en == 0)), self.row_done.eq(s1_done),
        ]
        return m
