# SPDX-License-Identifier: Apache-2.0
"""Gather: the loops of a layer, as the stream of spike lines that its sums need."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import Instruction, bits_for, last_of
from hw.layout import LINE_WORDS
from hw.spike_memory import SpikeRead


class LineOrigin(data.StructLayout):
    """What is known of a line of spikes before it is read.

    row:       weight row of the first channels of word `first`, in their banks
    first:     the word at `row`; the word after it is `word_stride` rows further, and so on around
    kernel_row: of 3x3 taps, 0 to 2
    last:      the line ends its group; last_tile: which is in the last tile of its layer
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({"row": unsigned(bits_for(hardware.weight_rows)), "first": 2,
                          "kernel_row": 2, "last": 1, "last_tile": 1})


class Taps(data.StructLayout):
    """What of a line counts.

    exist: words that are taps; own: those that are taps of the first of two positions
    both, even, odd: of a pair the spikes of both positions, or of one alone
    plane: of the samples' bits
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({"exist": LINE_WORDS, "own": LINE_WORDS, "both": 1, "even": 1, "odd": 1,
                          "plane": bits_for(hardware.input_width - 1)})


class EventLine(data.StructLayout):
    """A line of spikes: its words, zero where a word is no in-bounds tap, and its origin."""

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({
            "words": data.ArrayLayout(unsigned(hardware.geometry.spike_word), LINE_WORDS),
            **LineOrigin(hardware).members})


class Gather(wiring.Component):
    """For every tile, position, step and in-bounds kernel row, the source's lines.

    A group is one tile, position and step (or bit plane); its last line is marked.  With `kernel3`
    (3x3, stride 1, padding 1) a line brings the three taps of a kernel row, else four words of the
    position itself.  Kernel rows outside of the map are not visited and taps outside are zero, so
    padding costs no ACs.  `samples`: a word holds `in_channels` samples, of which one bit plane
    after the other becomes a group.  `pairs`: positions are taken two by two, and a pair has three
    groups: the taps set at both, at the even one only, at the odd one only (`hw.reuse`).  `beside`:
    they are taken two by two, too, and two have one group, of taps in four columns.

    A row of the map is entered when it is in memory and its results have room, which matters for
    windowed maps only.

    Throughput: one line per cycle, two idle cycles per row and one more per tile.  Latency 4
    cycles: loops, memory, its words in a register, taps.
    Ports: `instruction` (constant while busy), `start` (pulse), `memory`, `o`; with streamed
    weights `tile`, the first weight row of each tile once it is loaded; with maps in external
    memory `row_here`, `row_free` (levels: the next source row is on chip, the next target row has
    room), `take_row`, `begin_row` (pulses: it is taken).
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1),
            "memory": Out(SpikeRead(hardware)), "o": Out(stream.Signature(EventLine(hardware))),
        } | ({"tile": In(stream.Signature(unsigned(bits_for(hardware.weight_rows))))}
             if hardware.streamed else {})
          | ({"row_here": In(1), "row_free": In(1), "take_row": Out(1), "begin_row": Out(1)}
             if hardware.spills_maps else {}))

    def elaborate(self, platform):
        m = Module()
        ins, kernel3 = self.instruction, self.instruction.kernel3
        streamed = self._hardware.streamed

        # Loop counters, from the outermost in.
        tile, y, x = (Signal(ins.tiles.shape()), Signal(self._hardware.size_bits),
                      Signal(self._hardware.size_bits))
        step, plane = Signal(ins.steps.shape()), Signal(ins.planes.shape())
        ky, ky_first, ky_last = Signal(2), Signal(2), Signal(2)
        block, line = Signal(ins.blocks.shape()), Signal(ins.step_lines.shape())

        in_last = block == last_of(m, ins.blocks)[:len(block)]
        line_last = line == Mux(in_last, last_of(m, ins.last_lines), last_of(m, ins.step_lines))[
            :len(line)]
        block_last = line_last & in_last
        group_last = block_last & (ky == ky_last)
        plane_last = group_last & (~ins.samples | (plane == last_of(m, ins.planes)[:len(plane)]))
        pairs = ins.pairs if self._hardware.pairs else Const(0)
        two = pairs | ins.beside if self._hardware.beside else pairs
        third = Signal(2)   # of the three groups of a pair
        position_last = plane_last & (~pairs | (third == 2))
        step_last = position_last & (step == last_of(m, ins.steps)[:len(step)])
        # x is the even one of two positions.
        x_last = (x | two) == last_of(m, ins.width)[:len(x)]
        y_last = y == last_of(m, ins.height)[:len(y)]
        # Two positions have one column more than the three of one.
        line_end = (x[:2] | two) == 3
        tile_last = tile == last_of(m, ins.tiles)[:len(tile)]

        # Addresses: of the map rows y - 1, y, y + 1 and the one after, of the position's column and
        # step within a row, of the block, and of the line that is read now.
        above, center, below, following = (Signal.like(ins.source_base, name=name)
                                           for name in ("above", "center", "below", "following"))
        # Number of the row at `following`, and the last one.
        ring, ring_end = Signal(self._hardware.size_bits), last_of(m, ins.source_rows)
        column, place, block_start, here = (Signal.like(ins.source_base, name=name)
                                            for name in ("column", "place", "block_start", "here"))
        tile_row, tap_row, row = (Signal.like(ins.weight_base, name=name)
                                  for name in ("tile_row", "tap_row", "row"))
        rows = Array([above, center, below, below])
        first_row = (tile_row + Mux(ky_first == 0, 0, ins.row_tap_stride))[:len(row)]

        # A line is read (walking), held by the memory, kept, and sent when its taps are cut out.
        walking, held, kept = Signal(), Signal(), Signal()
        advance, keep, send = Signal(), Signal(), Signal()
        held_origin, kept_origin = Signal(LineOrigin(self._hardware)), Signal(
            LineOrigin(self._hardware))
        held_taps, kept_taps = Signal(Taps(self._hardware)), Signal(Taps(self._hardware))
        words = Signal.like(self.memory.data)
        m.d.comb += [send.eq(~self.o.valid | self.o.ready), keep.eq(~kept | send),
                     advance.eq(~held | keep)]
        self._read(m, ins, x, line_end, here, walking & advance)
        with m.If(advance):
            exist, own = self._taps(m, ins, two, x, x_last, block_last)
            m.d.sync += [held.eq(walking), held_origin.row.eq(row),
                         # Bank x - 1 holds the first tap; a position's first word is in bank 0.
                         held_origin.first.eq(Mux(kernel3, x[:2] - 1, 0)),
                         held_origin.kernel_row.eq(ky), held_origin.last.eq(group_last),
                         held_origin.last_tile.eq(tile_last),
                         held_taps.exist.eq(exist), held_taps.own.eq(own),
                         *(held_taps[name].eq(pairs & (third == n))
                           for n, name in enumerate(("both", "even", "odd"))),
                         held_taps.plane.eq(plane)]
        with m.If(keep):
            m.d.sync += [kept.eq(held), words.eq(self.memory.data), kept_origin.eq(held_origin),
                         kept_taps.eq(held_taps)]
        with m.If(send):
            m.d.sync += [self.o.valid.eq(kept),
                         self.o.payload.words.eq(self._cut(ins, words, kept_taps)),
                         *(self.o.payload[name].eq(kept_origin[name])
                           for name, _ in kept_origin.shape())]

        def begin_group(at):
            """Go to the first line of the group at `at`, a place within a row."""
            start = rows[ky_first] + at
            m.d.sync += [ky.eq(ky_first), place.eq(at), block_start.eq(start), here.eq(start),
                         tap_row.eq(first_row), row.eq(first_row)]

        source_here = target_free = 1
        if self._hardware.spills_maps:
            source_here = ~ins.source_window | self.row_here
            begins = ~ins.pool | (y == 0) | (y[0] & ~y_last)
            target_free = ~ins.target_window | self.row_free | ~begins
        with m.FSM():
            with m.State("Idle"):
                m.d.sync += [tile.eq(0), tile_row.eq(ins.weight_base), ring.eq(0),
                             following.eq(ins.source_base)]
                with m.If(self.start):
                    m.next = "Tile"
            with m.State("Tile"):
                ready = source_here
                if streamed:
                    ready = ready & self.tile.valid
                    m.d.comb += self.tile.ready.eq(source_here)
                    m.d.sync += tile_row.eq(self.tile.payload)
                m.d.sync += y.eq(0)
                with m.If(ready):
                    self._take_row(m, ins, below, following, ring, ring_end)
                    m.next = "Row"
            with m.State("Row"):
                # The last row has none below it; a 1x1 convolution needs no row ahead, but takes
                # it all the same.
                m.d.sync += [ky_first.eq(Mux(kernel3 & (y == 0), 1, ~kernel3)),
                             ky_last.eq(Mux(kernel3 & ~y_last, 2, 1)),
                             x.eq(0), step.eq(0), plane.eq(0), third.eq(0), block.eq(0),
                             line.eq(0), column.eq(0)]
                with m.If((source_here | y_last) & target_free):
                    m.d.sync += [above.eq(center), center.eq(below)]
                    with m.If(~y_last):
                        self._take_row(m, ins, below, following, ring, ring_end)
                    if self._hardware.spills_maps:
                        m.d.comb += self.begin_row.eq(begins)
                    m.next = "Position"
            with m.State("Position"):
                begin_group(0)
                m.next = "Walk"
            with m.State("Walk"):
                m.d.comb += walking.eq(1)
                with m.If(advance):
                    m.d.sync += [line.eq(Mux(line_last, 0, line + 1)), here.eq(here + 1),
                                 row.eq(row + ins.line_stride)]
                    with m.If(line_last):
                        following_block = block_start + ins.block_stride
                        m.d.sync += [block.eq(Mux(block_last, 0, block + 1)),
                                     block_start.eq(following_block), here.eq(following_block)]
                    with m.If(block_last):
                        tap_start = rows[(ky + 1)[:2]] + place
                        following_tap = tap_row + ins.row_tap_stride
                        m.d.sync += [ky.eq(ky + 1), block_start.eq(tap_start), here.eq(tap_start),
                                     tap_row.eq(following_tap), row.eq(following_tap)]
                    with m.If(group_last):
                        m.d.sync += plane.eq(plane + 1)
                        begin_group(place)
                    with m.If(plane_last):
                        m.d.sync += [plane.eq(0), third.eq(third + 1)]
                    with m.If(position_last):
                        m.d.sync += [third.eq(0), step.eq(step + 1)]
                        begin_group(place + ins.step_lines)
                    with m.If(step_last):
                        # Four columns of a GRID share their lines.
                        moved = column + Mux(kernel3 & ~line_end, 0, ins.column_stride)
                        m.d.sync += [step.eq(0), x.eq((x | two) + 1), column.eq(moved)]
                        begin_group(moved)
                        with m.If(x_last):
                            m.d.sync += y.eq(y + 1)
                            m.next = "Row"
                            with m.If(y_last):
                                m.d.sync += [tile.eq(tile + 1),
                                             tile_row.eq(tile_row + ins.tile_stride)]
                                m.next = "Idle"
                                with m.If(~tile_last):
                                    m.next = "Tile"
        return m

    def _take_row(self, m, ins, below, following, ring, ring_end):
        """Take the row at `following`, and go on around the ring of rows on chip."""
        last = ring == ring_end[:len(ring)]
        m.d.sync += [below.eq(following), ring.eq(Mux(last, 0, ring + 1)),
                     following.eq(Mux(last, ins.source_base, following + ins.row_stride))]
        if self._hardware.spills_maps:
            m.d.comb += self.take_row.eq(1)

    def _read(self, m, ins, x, line_end, here, en):
        """Read the banks, each at the line of its own column."""
        before, after = ins.kernel3 & (x[:2] == 0), ins.kernel3 & line_end
        m.d.comb += [self.memory.en.eq(en), self.memory.half.eq(ins.source_half)]
        for bank in range(LINE_WORDS):
            offset = {0: Mux(after, ins.column_stride, 0),
                      LINE_WORDS - 1: -Mux(before, ins.column_stride, 0)}.get(bank, 0)
            m.d.comb += self.memory.addresses[bank].eq(here + offset)

    def _taps(self, m, ins, two, x, x_last, block_last):
        """By bank: whether its word is a tap, and whether it is one of the first of two."""
        exist, own = Signal(LINE_WORDS), Signal(LINE_WORDS)
        for bank in range(LINE_WORDS):
            tap = (bank + 1 - x[:2])[:2]   # 0 to 2: kx; 3: none, but the last tap of x + 1
            last = Mux(two, 3, 2)
            inside = ~(((tap == 3) & ~two) | ((tap == 0) & (x == 0)) | ((tap == last) & x_last))
            there = ~block_last | ins.last_mask[bank]
            m.d.comb += [exist[bank].eq(Mux(ins.kernel3, inside, there)),
                         own[bank].eq(Mux(ins.kernel3, tap != 3, bank < 2))]
        return exist, own

    def _cut(self, ins, line, taps):
        """The words of a line, without those that are no taps; of samples one plane."""
        width, channels = self._hardware.input_width, self._hardware.in_channels
        words = []
        for bank in range(LINE_WORDS):
            word = line[bank]
            # Plane 0 is the most significant bit of each sample.
            bits = Cat(Array(word[c * width + b] for b in reversed(range(width)))[
                taps.plane[:max(1, (width - 1).bit_length())]] for c in range(channels))
            words.append(Mux(ins.samples, bits, word) & taps.exist[bank].replicate(len(word)))
        if self._hardware.pairs:
            # The word that has for x + 1 what this one has for x: the next column, or the other
            # position of a PAIR line.
            others = [Mux(ins.kernel3, words[(bank + 1) % LINE_WORDS],
                          words[(bank + 2) % LINE_WORDS]) for bank in range(LINE_WORDS)]
            size = len(line[0])
            words = [Mux(taps.both | taps.even | taps.odd,
                         (word ^ taps.odd.replicate(size)) & (other ^ taps.even.replicate(size))
                         & taps.own[bank].replicate(size), word)
                     for bank, (word, other) in enumerate(zip(words, others, strict=True))]
        return Cat(*words)
