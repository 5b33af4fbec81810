# SPDX-License-Identifier: Apache-2.0
"""Fetch: the stream of program, parameters and weight tiles from memory to where they are used."""

from amaranth import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.axi import ADDRESS_BITS, BEAT_COUNT_BITS, Reader, ReadPort, Watch, block_bytes
from hw.config import HardwareConfig
from hw.current import ParamRow, param_write
from hw.isa import WORD_BITS, bits_for
from hw.lanes import tree_levels, weight_write
from hw.tiles import MAGIC, PARAM_SLOTS, TILE_COUNT_BITS, Record, RecordKind, RowWrite


def clear_cycles(hardware: HardwareConfig) -> int:
    """From the last zero at `weights` until the lanes' sums hold nothing else.

    Registers on both sides of the memory, the adder trees, the sum.
    """
    return 3 + tree_levels(hardware) + 1


class Fetch(wiring.Component):
    """Read the image of `hw.tiles` once per inference and deliver what it holds.

    A tile is written when `released` (tiles that the finish pipeline is done with) reaches its
    `wait`; then its first row appears at `tile`.  Until then the words wait in the reader.  In the
    first cycles after reset row 0 of every bank is written with zeros.

    Throughput one beat per cycle.
    Ports: `start` (pulse: begin an inference's pass, taken when the pass before is over), `address`
    of the image, `port`, `released`, `program`, `params`, `weights` (writes), `program_ready`
    (level: the program of this pass is in place), `tile`, `bad_image` (no MAGIC: stops),
    `clearing` (from reset on, until the sums hold zeros of row 0 alone), `watch` of the port.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        self._row_bits = hardware.geometry.lanes * hardware.weight_bits
        row = bits_for(hardware.weight_rows)
        super().__init__({
            "start": In(1), "address": In(ADDRESS_BITS), "port": Out(ReadPort(hardware.port_bits)),
            "released": In(TILE_COUNT_BITS),
            "program": Out(RowWrite(bits_for(hardware.program_words), WORD_BITS)),
            "params": Out(param_write(hardware)),
            "weights": Out(weight_write(hardware)),
            "program_ready": Out(1), "tile": Out(stream.Signature(unsigned(row))),
            "bad_image": Out(1), "clearing": Out(1), "watch": Out(Watch()),
        })

    def elaborate(self, platform):
        m = Module()
        hardware, geometry = self._hardware, self._hardware.geometry
        bits = hardware.port_bits
        m.submodules.reader = reader = Reader(bits)
        m.submodules.tiles = tiles = SyncFIFOBuffered(width=len(self.tile.payload),
                                                      depth=PARAM_SLOTS)
        wiring.connect(m, reader.port, wiring.flipped(self.port))
        m.d.comb += [self.tile.valid.eq(tiles.r_rdy), self.tile.payload.eq(tiles.r_data),
                     tiles.r_en.eq(self.tile.ready), self.watch.eq(reader.watch)]

        # Beats are collected in `row`; the write follows one cycle after the last of them.
        row_beats, param_beats = (-(-n // bits) for n in (self._row_bits, ParamRow(hardware).size))
        row = Signal(max(row_beats, param_beats) * bits)
        # Counts the beats of a row, and the words of a beat of the program.
        beat = Signal(range(max(row_beats, param_beats, bits // WORD_BITS)))
        bank = Signal(range(geometry.banks))
        left = Signal(16)
        # Of a program word or of a weight row.
        address = Signal(max(len(self.program.address), len(self.weights.address)))
        param, slot = Signal(range(max(2, geometry.beats))), Signal(range(PARAM_SLOTS))
        taking = reader.o.valid & reader.o.ready
        with m.If(taking):
            m.d.sync += row.eq(Cat(row, reader.o.payload)[bits:])
        m.d.sync += [self.params.en.eq(0), self.weights.en.eq(0),
                     self.params.address.eq(Cat(param, slot)),
                     self.weights.address.eq(address), self.weights.select.eq(bank)]
        m.d.comb += [self.params.data.eq(row[len(row) - param_beats * bits:]),
                     self.weights.data.eq(row[len(row) - row_beats * bits:])]

        # Row 0 of each bank is in no tile and must be zero: SRAM has no initial contents, so it is
        # written after reset, before the first beat shifts anything into `row`.
        banks, last = geometry.banks, geometry.banks + clear_cycles(self._hardware) - 1
        cleared = Signal(range(last + 1))
        clearing = Signal(init=1)
        m.d.comb += self.clearing.eq(clearing)
        with m.If(clearing):
            m.d.sync += [cleared.eq(cleared + 1), self.weights.en.eq(cleared < banks),
                         self.weights.select.eq(cleared), self.weights.address.eq(0),
                         clearing.eq(cleared != last)]

        record = Signal(Record())
        beats = Signal(BEAT_COUNT_BITS)   # left of the records
        again = Signal()   # a start that came before the pass was over
        with m.If(self.start):
            m.d.sync += [again.eq(1), self.program_ready.eq(0)]
        last_row = left == 1
        with m.If(taking):
            m.d.sync += beats.eq(beats - 1)
        with m.FSM():
            with m.State("Idle"), m.If(again & ~self.start):
                m.d.comb += [reader.start.eq(1), reader.address.eq(self.address),
                             reader.beats.eq(1)]
                m.d.sync += [again.eq(0), slot.eq(0)]
                m.next = "Head"
            with m.State("Head"):
                m.d.comb += reader.o.ready.eq(~clearing)
                with m.If(taking):
                    m.d.sync += beats.eq(reader.o.payload[32:32 + BEAT_COUNT_BITS])
                    m.next = "Body"
                    with m.If(reader.o.payload[:32] != MAGIC):
                        m.next = "Bad"
            with m.State("Body"):
                m.d.comb += [reader.start.eq(1), reader.beats.eq(beats),
                             reader.address.eq(self.address + block_bytes(bits))]
                m.next = "Record"
            with m.State("Record"):
                m.d.comb += reader.o.ready.eq(1)
                header = data.View(Record(), reader.o.payload[:Record().size])
                m.d.sync += [record.eq(header), left.eq(header.count), address.eq(header.base),
                             beat.eq(0), bank.eq(0), param.eq(0)]
                with m.If(beats == 0):
                    m.d.comb += reader.o.ready.eq(0)
                    m.next = "Idle"
                with m.Elif(reader.o.valid):
                    m.next = "Wait"
                    with m.If(header.kind == RecordKind.PROGRAM):
                        m.next = "Program"
            with m.State("Program"):
                # A beat holds several words, which are written one per cycle.
                per_beat = bits // WORD_BITS
                words = Array(reader.o.payload[n * WORD_BITS:(n + 1) * WORD_BITS]
                              for n in range(per_beat))
                m.d.comb += [self.program.en.eq(reader.o.valid),
                             self.program.address.eq(address),
                             self.program.data.eq(words[beat[:per_beat.bit_length() - 1]]),
                             reader.o.ready.eq(last_row | (beat == per_beat - 1))]
                with m.If(reader.o.valid):
                    m.d.sync += [address.eq(address + 1), left.eq(left - 1),
                                 beat.eq(Mux(reader.o.ready, 0, beat + 1))]
                    with m.If(last_row):
                        m.d.sync += self.program_ready.eq(1)
                        m.next = "Record"
            with m.State("Wait"), m.If(self.released >= record.wait):
                m.next = "Params"
            with m.State("Params"):
                m.d.comb += reader.o.ready.eq(1)
                with m.If(reader.o.valid):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(beat == param_beats - 1):
                        m.d.sync += [beat.eq(0), param.eq(param + 1), self.params.en.eq(1)]
                        with m.If(param == (record.params - 1)[:len(param)]):
                            m.next = "Weights"
            with m.State("Weights"):
                m.d.comb += reader.o.ready.eq(1)
                with m.If(reader.o.valid):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(beat == row_beats - 1):
                        m.d.sync += [beat.eq(0), bank.eq(bank + 1), self.weights.en.eq(1)]
                        with m.If(bank == geometry.banks - 1):
                            m.d.sync += [bank.eq(0), address.eq(address + 1), left.eq(left - 1)]
                            with m.If(last_row):
                                m.next = "Offer"
            with m.State("Offer"):
                # The last row is being written in this cycle.
                m.d.comb += [tiles.w_en.eq(1), tiles.w_data.eq(record.base)]
                with m.If(tiles.w_rdy):
                    m.d.sync += slot.eq(slot + 1)
                    m.next = "Record"
            with m.State("Bad"):
                m.d.comb += self.bad_image.eq(1)
        return m
