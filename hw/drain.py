# SPDX-License-Identifier: Apache-2.0
"""Drain: from finished sums of all lanes to beats of a few neurons, each knowing where it goes."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import Emit, Instruction, bits_for, last_of
from hw.lanes import EVENT_COUNT_BITS, Sums
from hw.tiles import PARAM_SLOTS, TILE_COUNT_BITS


def beat_bits(hardware: HardwareConfig) -> int:
    """Width of the number of a beat within its tile."""
    return max(1, (hardware.geometry.beats - 1).bit_length())


def param_address_bits(hardware: HardwareConfig) -> int:
    """Width of the address of a parameter row."""
    if hardware.streamed:
        return beat_bits(hardware) + (PARAM_SLOTS - 1).bit_length()
    return bits_for(hardware.param_rows)


def repeat_interval(beats: int, interval: int) -> int:
    """Cycles between two timesteps of a held sum: two to turn around, and the usual interval."""
    return max(beats + 2, interval + 1)


class Tag(data.StructLayout):
    """What travels with a beat through the finish pipeline.

    beat:          beat of the tile (address of per-neuron state)
    channel_beat:  beat counted over all tiles of the layer (token sums, logits)
    param:         address of the parameter row
    fresh:         first group of a sum
    subtract:      plane of the sign bit; emit: the sum is complete
    first_timestep:  v is 0
    first_token:   the token sum starts
    residual:      address in the residual memory
    target, bank:  line and word in the spike memory; column and row: the position is also part of
                   the pooling window to the right and below; top, left: first in its own window;
                   around: the row below is the first one of the ring of rows on chip
    row_end:       the last beat of a row of the target
    odd:           position x is odd, where positions are taken in pairs (address of the state)
    position, timestep, word:  where the beat is in its map (read by traces only)
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({
            "beat": beat_bits(hardware), "channel_beat": bits_for(hardware.channel_beats),
            "param": param_address_bits(hardware),
            "fresh": 1, "subtract": 1, "emit": 1,
            "first_timestep": 1, "first_token": 1,
            "residual": bits_for(hardware.residual_words),
            "target": bits_for(max(hardware.spike_lines)), "bank": 2,
            "column": 1, "row": 1, "left": 1, "top": 1, "around": 1, "row_end": 1,
            "position": 16, "timestep": 5,
        } | ({"odd": 1} if hardware.pairs else {}))


class SumBeat(data.StructLayout):
    """`neurons` sums with their tag; `events` is nonzero in the beats that count ACs."""

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({
            "values": data.ArrayLayout(signed(hardware.acc_width), hardware.geometry.neurons),
            "events": EVENT_COUNT_BITS, "tag": Tag(hardware)})


class Drain(wiring.Component):
    """Send the lanes' sums in beats of `neurons`, repeating that of a static input.

    The loops are those of `Gather`: tile, position, timestep, plane; with `pairs` both positions of
    a pair within a timestep; with `beside` both are in one sum, each in one half of its beats.  All
    addresses of the results are made here, by addition of strides.

    Throughput one beat per cycle; a group takes `beats` cycles, the last plane of a repeated input
    `repeat_interval` cycles for each timestep.  Of the classifier a beat in `neurons` cycles, which
    stays as it is meanwhile.  Latency 1 cycle.
    Ports: `instruction`, `start` (pulse, before the first sum), `i`, `o`, `done` (pulse with the
    layer's last beat), `restart` (pulse: a new inference), `released` (tiles finished in it).
    """

    LATENCY = 1

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)), "start": In(1),
            "i": In(stream.Signature(Sums(hardware), always_ready=True)),
            "o": Out(stream.Signature(SumBeat(hardware), always_ready=True)), "done": Out(1),
            "restart": In(1), "released": Out(TILE_COUNT_BITS),
        })

    def elaborate(self, platform):
        m = Module()
        geometry, ins = self._hardware.geometry, self.instruction
        tag, beat_values = Signal(Tag(self._hardware)), self.i.payload.sums

        # Loop counters, and the addresses that follow them.
        plane, timestep = Signal(ins.planes.shape()), Signal(ins.timesteps.shape())
        x, y, tile = (Signal(self._hardware.size_bits), Signal(self._hardware.size_bits),
                      Signal(ins.tiles.shape()))
        position = Signal(16)
        residual_tile, residual = (Signal.like(tag.residual, name=n) for n in ("res_tile", "res"))
        target_tile, target_row, target_position, target = (
            Signal.like(tag.target, name=n) for n in ("tgt_tile", "tgt_row", "tgt_pos", "tgt"))
        # Row of the target within its ring, column modulo the columns that share lines.
        ring, column = Signal(self._hardware.size_bits), Signal(2)
        channel_beat = Signal.like(tag.channel_beat)

        beat, pitch = Signal(range(geometry.beats + 1)), Signal(ins.interval.shape())
        # active: within a group; repeating: between two timesteps of a held sum; again: in one.
        active, repeating, again = Signal(), Signal(), Signal()
        tile_last = tile == last_of(m, ins.tiles)[:len(tile)]
        beats = Mux(tile_last, ins.last_beats, geometry.beats)
        # The planes of samples have joined in the lanes.
        plane_last = ins.samples | (plane == last_of(m, ins.planes)[:len(plane)])
        timestep_last = timestep == last_of(m, ins.timesteps)[:len(timestep)]
        # x is the even one of two positions, `here` the one whose sum is sent.
        pairs, turn = (ins.pairs, Signal()) if self._hardware.pairs else (Const(0), Const(0))
        beside, half = Const(0), ins.last_beats >> 1
        if self._hardware.beside:
            beside = ins.beside & (beat >= half)
        two = pairs | ins.beside if self._hardware.beside else pairs
        odd = turn | beside
        here = x | odd
        channel = beat - Mux(beside, half, 0)   # beat among those of its position
        x_last = here == last_of(m, ins.width)[:len(x)]
        y_last = y == last_of(m, ins.height)[:len(y)]
        position_last = x_last & y_last
        group_first = (position == 0) & (timestep == 0) & ~odd
        per_word = (geometry.spike_word // geometry.neurons).bit_length() - 1   # beats, as a power
        word_in_tile, word = channel >> per_word, tag.channel_beat >> per_word
        ring_last = ring == last_of(m, ins.target_rows)[:len(ring)]
        row_completes = ~ins.pool | y[0] | y_last
        sum_last = Mux(ins.accumulate, position_last & timestep_last, plane_last)

        target_pair = ins.target_pair if self._hardware.pairs else Const(0)

        sending, ending = Signal(), Signal()
        # Of the classifier, `hw.logits` takes a beat class by class, of the last one those that
        # there are: the next group may come before its time is up.
        pause = Signal(range(geometry.neurons))
        with m.If(sending & (ins.emit == Emit.LOGITS)):
            m.d.sync += pause.eq(geometry.neurons - 1)
        with m.Elif(pause != 0):
            m.d.sync += pause.eq(pause - 1)
        m.d.comb += [
            sending.eq(self.i.valid | (active & (pause == 0))),
            ending.eq(sending & (beat == beats - 1)),
            tag.beat.eq(beat), tag.channel_beat.eq(channel_beat + channel),
            # Streamed parameters take turns in their slots, others lie one layer after the other.
            tag.param.eq(Cat(channel[:len(tag.beat)],
                             self.released[:(PARAM_SLOTS - 1).bit_length()])
                         if self._hardware.streamed
                         else ins.param_base + channel_beat + channel),
            tag.fresh.eq(Mux(ins.accumulate, group_first, plane == 0)),
            tag.subtract.eq(ins.signed_input & ~ins.samples & (plane == 0)),
            tag.emit.eq(sum_last),
            tag.first_timestep.eq(timestep == 0), tag.first_token.eq(group_first),
            tag.residual.eq(residual + beat),
            # GRID: the words of a tile lie in lines of their own; TOKEN: four words share a line;
            # PAIR: two words do, with two of the neighbour.
            tag.target.eq(target + Mux(ins.target_grid, word_in_tile,
                                       Mux(target_pair, word[1:], word[2:]))),
            tag.bank.eq(Mux(ins.target_grid, column + (odd & ~ins.pool),
                            Mux(target_pair, Cat(word[0], here[0]), word))),
            tag.left.eq(here == 0), tag.top.eq(y == 0), tag.around.eq(ring_last),
            tag.column.eq(ins.pool & here[0] & ~x_last), tag.row.eq(ins.pool & y[0] & ~y_last),
            tag.row_end.eq(ending & x_last & timestep_last & sum_last & row_completes),
            tag.position.eq(position + odd), tag.timestep.eq(timestep),
        ]
        if self._hardware.pairs:
            m.d.comb += tag.odd.eq(turn)
        # An Array is a multiplexer; indexing the layout itself would multiply by its stride.
        size = self.o.payload.values.as_value().shape().width
        slots = Array(beat_values.as_value()[beat * size:(beat + 1) * size]
                      for beat in range(geometry.beats))
        events = self.i.payload.events
        if self._hardware.beside:
            events = Mux(beside, self.i.payload.odd_events, events)
        m.d.sync += self.o.valid.eq(sending)
        with m.If(sending):
            m.d.sync += [self.o.payload.tag.eq(tag), self.o.payload.values.eq(slots[tag.beat]),
                         self.o.payload.events.eq(Mux(again, 0, events))]

        def next_timestep():
            """Move on by one timestep; after the last one by a position, then by a tile."""
            m.d.sync += [timestep.eq(timestep + 1), residual.eq(residual + ins.residual_stride),
                         target.eq(target + ins.target_step)]
            if self._hardware.pairs:
                with m.If(pairs & ~timestep_last):
                    m.d.sync += [residual.eq(residual + ins.residual_even),
                                 target.eq(target + ins.target_even)]
            with m.If(timestep_last):
                m.d.sync += [timestep.eq(0), position.eq(position + 1 + two), x.eq(here + 1)]
                # Two positions share a window's column, four columns of a GRID their lines, two
                # positions those of a PAIR map.
                wide = two & ~ins.pool
                moves = here[0] | ~ins.pool
                beyond = Mux(ins.target_grid, (column | wide) == 3, here[0] | ~target_pair)
                shift = Mux(moves & beyond, ins.target_column, 0)
                m.d.sync += [target_position.eq(target_position + shift),
                             target.eq(target_position + shift),
                             column.eq((column | wide) + moves)]
                with m.If(x_last):
                    below = Mux(y[0] | ~ins.pool, Mux(ring_last, target_tile,
                                                      target_row + ins.target_row), target_row)
                    m.d.sync += [x.eq(0), y.eq(y + 1), target_row.eq(below), column.eq(0),
                                 target_position.eq(below), target.eq(below)]
                    with m.If(y[0] | ~ins.pool):
                        m.d.sync += ring.eq(Mux(ring_last, 0, ring + 1))
                with m.If(position_last):
                    following = target_tile + ins.target_tile
                    m.d.sync += [
                        position.eq(0), y.eq(0), tile.eq(tile + 1),
                        residual_tile.eq(residual_tile + geometry.beats),
                        residual.eq(residual_tile + geometry.beats),
                        channel_beat.eq(channel_beat + geometry.beats)]
                    if self._hardware.spills_maps:
                        # The next tile goes on in the ring, after the row that was just completed.
                        on = Mux(ring_last, ins.target_base, target_row + ins.target_row)
                        following = Mux(ins.target_window, ins.target_base, following)
                        start = Mux(ins.target_window, on, following)
                        m.d.sync += [target_tile.eq(following), ring.eq(
                            Mux(ins.target_window & ~ring_last, ring + 1, 0))]
                    else:
                        start = following
                        m.d.sync += [target_tile.eq(following), ring.eq(0)]
                    m.d.sync += [level.eq(start)
                                 for level in (target_row, target_position, target)]
                    m.d.sync += self.released.eq(self.released + 1)
                    m.d.comb += self.done.eq(tile_last)

        with m.If(pitch != 0):
            m.d.sync += pitch.eq(pitch - 1)
        with m.If(sending):
            m.d.sync += [beat.eq(Mux(ending, 0, beat + 1)), active.eq(~ending)]
            with m.If(beat == 0):
                m.d.sync += pitch.eq(ins.interval - 1)
        with m.If(repeating & (pitch == 0)):
            m.d.sync += [repeating.eq(0), again.eq(1), active.eq(1)]
        with m.If(ending):
            with m.If(ins.repeat & plane_last & ~timestep_last):
                m.d.sync += repeating.eq(1)
            with m.Else():
                m.d.sync += [again.eq(0), plane.eq(Mux(plane_last, 0, plane + 1))]
            with m.If(plane_last):
                if self._hardware.pairs:
                    m.d.sync += turn.eq(pairs & ~turn)
                    with m.If(pairs & ~turn):
                        m.d.sync += [residual.eq(residual + ins.residual_odd),
                                     target.eq(target + ins.target_odd)]
                    with m.Else():
                        next_timestep()
                else:
                    next_timestep()

        with m.If(self.restart):
            m.d.sync += self.released.eq(0)
        with m.If(self.start):
            m.d.sync += [
                *(counter.eq(0) for counter in (plane, timestep, x, y, position, tile, residual,
                                                residual_tile, channel_beat, ring, column)),
                *(level.eq(ins.target_base)
                  for level in (target_tile, target_row, target_position, target))]
        return m
