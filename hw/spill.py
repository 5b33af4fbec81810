# SPDX-License-Identifier: Apache-2.0
"""The residual stream in external memory: read ahead of the finish pipeline, written behind it."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.axi import ADDRESS_BITS, Reader, ReadPort, Watch, WritePort, Writer
from hw.config import HardwareConfig
from hw.isa import Emit, Instruction
from hw.residual import WordExchange


class DataPort(wiring.Signature):
    """AXI4 master that reads and writes."""

    def __init__(self, port_bits: int) -> None:
        super().__init__({"read": Out(ReadPort(port_bits)), "write": Out(WritePort(port_bits))})


class Join(wiring.Component):
    """Port beats to words of `word_bits`; a word takes whole beats."""

    def __init__(self, port_bits: int, word_bits: int) -> None:
        self._bits, self._beats = port_bits, -(-word_bits // port_bits)
        super().__init__({"i": In(stream.Signature(unsigned(port_bits))),
                          "o": Out(stream.Signature(unsigned(word_bits)))})

    def elaborate(self, platform):
        m = Module()
        word, beat = Signal(self._beats * self._bits), Signal(range(self._beats + 1))
        m.d.comb += [self.o.payload.eq(word), self.o.valid.eq(beat == self._beats),
                     self.i.ready.eq(~self.o.valid | self.o.ready)]
        taking = self.i.valid & self.i.ready
        with m.If(taking):
            m.d.sync += word.eq(Cat(word, self.i.payload)[self._bits:])
        with m.If(self.i.ready):
            m.d.sync += beat.eq(Mux(self.o.valid, 0, beat) + taking)
        return m


class Split(wiring.Component):
    """Words of `word_bits` to port beats, lowest bits first."""

    def __init__(self, port_bits: int, word_bits: int) -> None:
        self._bits, self._beats = port_bits, -(-word_bits // port_bits)
        super().__init__({"i": In(stream.Signature(unsigned(word_bits))),
                          "o": Out(stream.Signature(unsigned(port_bits)))})

    def elaborate(self, platform):
        m = Module()
        word, left = Signal(self._beats * self._bits), Signal(range(self._beats + 1))
        m.d.comb += [self.o.payload.eq(word[:self._bits]), self.o.valid.eq(left != 0),
                     self.i.ready.eq((left == 0) | ((left == 1) & self.o.ready))]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [word.eq(word >> self._bits), left.eq(left - 1)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [word.eq(self.i.payload), left.eq(self._beats)]
        return m


class ResidualSpill(wiring.Component):
    """Residual words of a layer in the order of its beats, from and to one place in memory.

    All layers that add to the stream walk it in the same order (tile, position, timestep, beat), so
    it is read and written from one end to the other; a word is written after it was read.

    The finish pipeline cannot wait, so each group is admitted beforehand: `permit` says that the
    words of the next group are here and that there is room for its results, `reserve` takes them.

    Ports: `instruction`, `start` (pulse, of any layer), `address` (bytes), `port`, `last_tile` (the
    next group is in the last tile), `permit`, `reserve` (pulse), `words`, `busy` (until
    memory has acknowledged all writes), `watch` of the port.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        self._word = hardware.geometry.neurons * hardware.residual_width
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1), "address": In(ADDRESS_BITS),
            "port": Out(DataPort(hardware.port_bits)), "last_tile": In(1), "permit": Out(1),
            "reserve": In(1), "words": In(WordExchange(hardware)), "busy": Out(1),
            "watch": Out(Watch()),
        })

    def elaborate(self, platform):
        m = Module()
        ins, bits, beats = self.instruction, self._hardware.port_bits, self._hardware.geometry.beats
        # A few groups are under way between admission and the pipeline.
        depth = 8 * beats
        m.submodules.reader = reader = Reader(bits)
        m.submodules.writer = writer = Writer(bits)
        m.submodules.join = join = Join(bits, self._word)
        m.submodules.split = split = Split(bits, self._word)
        m.submodules.olds = olds = SyncFIFOBuffered(width=self._word, depth=depth)
        m.submodules.news = news = SyncFIFOBuffered(width=self._word, depth=depth)

        is_residual, reads = Signal(), Signal()
        m.d.comb += [
            is_residual.eq(ins.emit == Emit.RESIDUAL), reads.eq(is_residual & ins.add_residual),
            reader.start.eq(self.start & reads), writer.start.eq(self.start & is_residual),
            reader.address.eq(self.address), writer.address.eq(self.address),
            reader.beats.eq(ins.stream_beats), writer.beats.eq(ins.stream_beats),
            self.busy.eq(writer.busy),
            self.watch.eq(reader.watch.as_value() | writer.watch.as_value()),
            join.o.ready.eq(olds.w_rdy), olds.w_en.eq(join.o.valid), olds.w_data.eq(join.o.payload),
            self.words.old.eq(olds.r_data), olds.r_en.eq(self.words.pop & reads),
            news.w_en.eq(self.words.push), news.w_data.eq(self.words.new),
            split.i.valid.eq(news.r_rdy), split.i.payload.eq(news.r_data),
            news.r_en.eq(split.i.ready),
        ]
        wiring.connect(m, reader.port, wiring.flipped(self.port.read))
        wiring.connect(m, writer.port, wiring.flipped(self.port.write))
        wiring.connect(m, reader.o, join.i)
        wiring.connect(m, split.o, writer.i)

        # Words that are here and not promised to a group; results that were promised room.
        here, promised = Signal(range(depth + 1)), Signal(range(depth + 1))
        arrived, left = join.o.valid & join.o.ready, split.i.valid & split.i.ready
        size = Mux(self.last_tile, ins.last_beats, beats)
        taken = Mux(self.reserve & is_residual, size, 0)
        m.d.comb += self.permit.eq(~is_residual | ((~reads | (here >= size))
                                                   & (promised + size <= depth)))
        m.d.sync += [here.eq(here + arrived - Mux(reads, taken, 0)),
                     promised.eq(promised + taken - left)]
        return m
