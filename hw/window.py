# SPDX-License-Identifier: Apache-2.0
"""Windowed spike maps: whole in external memory, a ring of their rows in spike memory."""

from amaranth import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from hw.axi import ADDRESS_BITS, Reader, ReadPort, Watch, WritePort, Writer
from hw.config import HardwareConfig
from hw.isa import Instruction
from hw.layout import LINE_WORDS
from hw.spike_memory import SpikeRead, SpikeWrite
from hw.spill import DataPort, Join, Split

ROW_COUNT_BITS = 20   # rows of all tiles of a layer
# Rows above the one that was taken last which a 3x3 convolution may still read, and that row.
HELD_ROWS = 3
QUEUE = 4             # lines between spike memory and the port


class RowLoader(wiring.Component):
    """Bring the rows of the source map, once for each tile, as far ahead as the ring has room.

    The blocks of a row lie apart in memory, where the layer before wrote them tile by tile, and one
    after the other in the ring.

    Ports: `instruction`, `start` (pulse), `address` (bytes), `port`, `write`, `take_row`
    (pulse: the next row is in use), `row_here` (level: it can be), `watch` of the port.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1), "address": In(ADDRESS_BITS),
            "port": Out(ReadPort(hardware.port_bits)),
            "write": Out(SpikeWrite(hardware, words=LINE_WORDS)),
            "take_row": In(1), "row_here": Out(1), "watch": Out(Watch()),
        })

    def elaborate(self, platform):
        m = Module()
        ins, bits = self.instruction, self._hardware.port_bits
        m.submodules.reader = reader = Reader(bits)
        m.submodules.join = join = Join(bits, self._hardware.geometry.line_bits)
        wiring.connect(m, reader.port, wiring.flipped(self.port))
        wiring.connect(m, reader.o, join.i)

        loaded, taken = Signal(ROW_COUNT_BITS), Signal(ROW_COUNT_BITS)
        freed = Mux(taken < HELD_ROWS, 0, taken - HELD_ROWS)
        tile, y, block = (Signal(ins.tiles.shape()), Signal(ins.height.shape()),
                          Signal(ins.blocks.shape()))
        line, ring = Signal.like(ins.block_stride), Signal(ins.source_rows.shape())
        row_place, place = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        target = Signal.like(ins.source_base)
        m.d.comb += [
            self.row_here.eq(loaded != taken), self.watch.eq(reader.watch),
            reader.address.eq(self.address + place), reader.beats.eq(ins.source_beats),
            self.write.half.eq(ins.source_half),
            self.write.addresses[0].eq(target),
            self.write.data.eq(join.o.payload),
        ]
        m.d.sync += taken.eq(taken + self.take_row)
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [tile.eq(0), y.eq(0), block.eq(0), ring.eq(0),
                             row_place.eq(ins.source_place), place.eq(ins.source_place),
                             target.eq(ins.source_base)]
                with m.If(self.start):
                    m.d.sync += [loaded.eq(0), taken.eq(0)]
                    with m.If(ins.source_window):
                        m.next = "Room"
            with m.State("Room"), m.If((loaded - freed)[:ROW_COUNT_BITS] < ins.source_rows):
                m.next = "Read"
            with m.State("Read"), m.If(~reader.busy):
                m.d.comb += reader.start.eq(1)
                m.d.sync += line.eq(0)
                m.next = "Copy"
            with m.State("Copy"):
                m.d.comb += join.o.ready.eq(1)
                with m.If(join.o.valid):
                    m.d.comb += self.write.en.eq((1 << LINE_WORDS) - 1)
                    m.d.sync += [target.eq(target + 1), line.eq(line + 1)]
                    with m.If(line == (ins.block_stride - 1)[:len(line)]):
                        m.d.sync += [block.eq(block + 1), place.eq(place + ins.source_block)]
                        m.next = "Read"
                        with m.If(block == (ins.blocks - 1)[:len(block)]):
                            m.next = "Row"
            with m.State("Row"):
                ring_last = ring == (ins.source_rows - 1)[:len(ring)]
                following = row_place + ins.source_chunk
                m.d.sync += [block.eq(0), loaded.eq(loaded + 1), y.eq(y + 1),
                             row_place.eq(following), place.eq(following),
                             ring.eq(Mux(ring_last, 0, ring + 1))]
                with m.If(ring_last):
                    m.d.sync += target.eq(ins.source_base)
                m.next = "Room"
                with m.If(y == (ins.height - 1)[:len(y)]):
                    m.d.sync += [y.eq(0), tile.eq(tile + 1), row_place.eq(ins.source_place),
                                 place.eq(ins.source_place)]
                    with m.If(tile == (ins.tiles - 1)[:len(tile)]):
                        m.next = "Idle"
        return m


class RowStorer(wiring.Component):
    """Take finished rows of the target map to memory, one after the other, tile by tile.

    Ports: `instruction`, `start` (pulse), `address` (bytes), `port`, `read` (when `may_read`: the
    half is free), `begin_row`, `row_done` (pulses: results begin to enter a row; it is complete),
    `row_free` (level: another may begin), `busy` (rows are not in memory yet), `watch` of the port.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1), "address": In(ADDRESS_BITS),
            "port": Out(WritePort(hardware.port_bits)),
            "read": Out(SpikeRead(hardware, 1)), "may_read": In(1), "begin_row": In(1),
            "row_done": In(1), "row_free": Out(1), "busy": Out(1), "watch": Out(Watch()),
        })

    def elaborate(self, platform):
        m = Module()
        ins, bits = self.instruction, self._hardware.port_bits
        line_bits = self._hardware.geometry.line_bits
        m.submodules.queue = queue = SyncFIFOBuffered(width=line_bits, depth=QUEUE)
        m.submodules.split = split = Split(bits, line_bits)
        m.submodules.writer = writer = Writer(bits)
        wiring.connect(m, split.o, writer.i)
        wiring.connect(m, writer.port, wiring.flipped(self.port))

        begun, done, written = (Signal(ROW_COUNT_BITS, name=name)
                                for name in ("begun", "done", "written"))
        ring, left = Signal(ins.target_rows.shape()), Signal.like(ins.target_row)
        place, source, row = (Signal(ADDRESS_BITS), Signal.like(ins.target_base),
                              Signal.like(ins.target_base))
        # A line arrives one cycle after it was asked for, when another client may read the half.
        arriving = Signal()
        asking = (left != 0) & self.may_read & (queue.w_level + arriving < QUEUE)
        m.d.comb += [
            self.row_free.eq((begun - written)[:ROW_COUNT_BITS] != ins.target_rows),
            self.busy.eq(begun != written), self.watch.eq(writer.watch),
            self.read.en.eq(asking), self.read.half.eq(ins.target_half),
            self.read.addresses[0].eq(source),
            queue.w_en.eq(arriving), queue.w_data.eq(self.read.data),
            split.i.valid.eq(queue.r_rdy), split.i.payload.eq(queue.r_data),
            queue.r_en.eq(split.i.ready),
            writer.address.eq(self.address + place), writer.beats.eq(ins.target_beats),
        ]
        m.d.sync += arriving.eq(asking)
        with m.If(ins.target_window):
            m.d.sync += [begun.eq(begun + self.begin_row), done.eq(done + self.row_done)]
        with m.If(asking):
            m.d.sync += [source.eq(source + 1), left.eq(left - 1)]
        with m.FSM():
            with m.State("Wait"), m.If(done != written):
                m.d.comb += writer.start.eq(1)
                m.d.sync += [left.eq(ins.target_row), source.eq(row)]
                m.next = "Copy"
            with m.State("Copy"), m.If((left == 0) & ~writer.busy):
                ring_last = ring == (ins.target_rows - 1)[:len(ring)]
                m.d.sync += [written.eq(written + 1), place.eq(place + ins.target_chunk),
                             ring.eq(Mux(ring_last, 0, ring + 1)),
                             row.eq(Mux(ring_last, ins.target_base, row + ins.target_row))]
                m.next = "Wait"
        with m.If(self.start):
            m.d.sync += [begun.eq(0), done.eq(0), written.eq(0), ring.eq(0),
                         row.eq(ins.target_base), place.eq(ins.target_place)]
        return m


class MapWindow(wiring.Component):
    """Both ends of a layer's windowed maps on one port; ports as of `RowLoader` and `RowStorer`."""

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1), "address": In(ADDRESS_BITS),
            "port": Out(DataPort(hardware.port_bits)),
            "write": Out(SpikeWrite(hardware, words=LINE_WORDS)),
            "take_row": In(1), "row_here": Out(1),
            "read": Out(SpikeRead(hardware, 1)), "may_read": In(1), "begin_row": In(1),
            "row_done": In(1), "row_free": Out(1), "busy": Out(1), "watch": Out(Watch()),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.load = load = RowLoader(self._hardware)
        m.submodules.store = store = RowStorer(self._hardware)
        wiring.connect(m, load.port, wiring.flipped(self.port.read))
        wiring.connect(m, store.port, wiring.flipped(self.port.write))
        wiring.connect(m, load.write, wiring.flipped(self.write))
        wiring.connect(m, store.read, wiring.flipped(self.read))
        for unit in (load, store):
            m.d.comb += [unit.instruction.eq(self.instruction), unit.start.eq(self.start),
                         unit.address.eq(self.address)]
        m.d.comb += [
            load.take_row.eq(self.take_row), self.row_here.eq(load.row_here),
            store.may_read.eq(self.may_read), store.begin_row.eq(self.begin_row),
            store.row_done.eq(self.row_done), self.row_free.eq(store.row_free),
            self.busy.eq(store.busy),
            self.watch.eq(load.watch.as_value() | store.watch.as_value()),
        ]
        return m
