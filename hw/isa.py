# SPDX-License-Identifier: Apache-2.0
"""The instruction: everything that the units must know about one layer.

A program loads the input, runs one instruction per layer (and one for the classifier's bit planes)
and ends by sending the results.  The sequencer shifts an instruction in as words and holds it
for the whole layer, so that every unit reads its fields as constants.  All address arithmetic is
done by the compiler: a field named `*_stride` is what the unit adds to its address when that loop
advances.
"""

from amaranth import Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, enum

from hw.axi import ADDRESS_BITS, BEAT_COUNT_BITS
from hw.config import SIZE_BITS, TALLY_BITS, HardwareConfig
from hw.layout import LINE_WORDS

WORD_BITS = 32
STEP_BITS = 10      # timesteps x bit planes
INTERVAL_BITS = 12


class Op(enum.Enum, shape=3):
    """What an instruction makes the sequencer start."""

    LOAD = 0       # input samples -> spike memory as bit planes
    CONV = 1       # events -> lanes -> finish pipeline
    ATTENTION = 2  # K^T V, Q (K^T V), LIF
    PLANES = 3     # token sums -> spike memory as bit planes
    END = 4        # send logits and counters


class Emit(enum.Enum, shape=2):
    """What the finish pipeline makes of a sum."""

    SPIKES = 0    # current -> LIF
    RESIDUAL = 1  # current -> residual stream (-> LIF, if `fire`)
    LOGITS = 2    # current -> logit memory


def bits_for(count: int) -> int:
    """Width of a field that holds 0 to count inclusive."""
    return max(1, count.bit_length())


class Instruction(data.StructLayout):
    """Layout of an instruction for a hardware configuration.

    Source of a layer (`CONV`: gather, `ATTENTION`: q, k, v), as `hw.layout.SpikeMap` says:
      source_half, source_base, source_rows (on chip), row_stride, column_stride, step_lines,
      blocks, block_stride, last_lines (of the last block), last_mask (words of a position's last
      line that exist), steps; height, width of the grid; kernel3: 3x3, the map is a GRID, else 1x1
      on a TOKEN map; samples: a word holds multi-bit samples, which are read plane by plane;
      pairs, beside: positions are taken two by two (`hw.reuse`); with pairs the map is a GRID or a
      PAIR map.
      For attention source_base is q, and key_base, value_base are k, v.
    Weights: weight_base, tile_stride, and rows from a kernel row to the next (row_tap_stride), from
      a line to the next (line_stride) and from a word of a line to the next (word_stride).
    Groups: planes (bit planes per timestep), signed_input (the first plane subtracts), timesteps,
      repeat (a static input fires its LIF `timesteps` times from one sum), accumulate (one group
      for the whole layer: spiking heads), tiles, last_beats, interval (cycles of the finish
      pipeline for a group), last_interval (for all repetitions of one).
    Results: emit, fire, add_residual, token_sum, param_base, residual_stride (beats of all
      channels).
    Destination: target_half, target_base, target_grid (a GRID, else a TOKEN map), target_step,
      target_column, target_row, target_tile (lines from a step, position (of a layer with `pairs`:
      pair) that shares no line, row and tile to the next), target_rows (on chip), target_size
      (lines of these), pool (two positions share a window's column and row); target_pair: it is a
      PAIR map.
    Pairs: residual_odd, target_odd (from the even position to the odd one of the same step),
      residual_even, target_even (from there to the even one of the next step), modulo the address.
    Attention: head_mask (upper bits of a channel number that name its head), head_dim
      (channels counted as ACs of one event).
    report: the layer's counters are stored after this instruction.
    External memory: stream_beats (port beats of the residual stream); of windowed maps
      source_window, target_window, and of each `*_place` (byte address), `*_beats` (port beats of a
      row and block), `*_chunk` (bytes from a row to the next), source_block (bytes from a block to
      the next).
    End: outputs (logits) and counters (layers) to send, logit_shift.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        geometry = hardware.geometry
        address = bits_for(max(hardware.spike_lines))
        row = bits_for(hardware.weight_rows)
        beats = bits_for(geometry.beats)
        params = bits_for(hardware.param_rows)
        size, step = unsigned(SIZE_BITS), unsigned(STEP_BITS)
        lanes = hardware.attention_lanes
        residual = bits_for(hardware.residual_words)
        window = {"source_window": 1, "target_window": 1} | {
            f"{end}_{part}": bits for end in ("source", "target")
            for part, bits in (("place", ADDRESS_BITS), ("beats", 16), ("chunk", 24))}
        super().__init__({
            "op": Op, "layer": 8,
            "source_half": 1, "source_base": address, "key_base": address, "value_base": address,
            "source_rows": size, "row_stride": address, "column_stride": address,
            "step_lines": address, "blocks": 8, "block_stride": address,
            "last_lines": address, "last_mask": LINE_WORDS,
            "steps": step, "height": size, "width": size, "kernel3": 1, "samples": 1,
            "weight_base": row, "tile_stride": row, "row_tap_stride": row, "line_stride": row,
            "word_stride": row,
            "planes": step, "signed_input": 1, "timesteps": 5, "repeat": 1, "accumulate": 1,
            "tiles": 10, "last_beats": beats, "interval": INTERVAL_BITS,
            "last_interval": INTERVAL_BITS,
            "emit": Emit, "fire": 1, "add_residual": 1, "token_sum": 1, "param_base": params,
            "residual_stride": 10, "slow_tau": 1,
            "target_half": 1, "target_base": address, "target_grid": 1, "target_step": address,
            "target_column": address, "target_row": address, "target_tile": address,
            "target_rows": size, "target_size": address, "pool": 1, "report": 1,
            "head_mask": max(1, (lanes - 1).bit_length()), "head_dim": 10,
            "outputs": 12, "counters": 10, "logit_shift": 3,
        } | ({"stream_beats": BEAT_COUNT_BITS} if hardware.spills_residual else {})
          | ({"beside": 1} if hardware.beside else {})
          | ({"pairs": 1, "target_pair": 1, "residual_odd": residual, "residual_even": residual,
              "target_odd": address, "target_even": address} if hardware.pairs else {})
          | (window | {"source_block": ADDRESS_BITS} if hardware.spills_maps else {}))

    @property
    def words(self) -> int:
        """32-bit words that hold one instruction."""
        return -(-self.size // WORD_BITS)

    def encode(self, values: dict[str, int]) -> list[int]:
        """Instruction as 32-bit words, least significant first; absent fields are zero.

        Raises ValueError if a value does not fit its field.
        """
        packed = 0
        for name, field in self:
            value = values.get(name, 0)
            value = int(getattr(value, "value", value))
            if not 0 <= value < 1 << field.width:
                raise ValueError(f"instruction field {name} must fit {field.width} bits, "
                                 f"not {value!r}")
            packed |= value << field.offset
        unknown = set(values) - {name for name, _ in self}
        if unknown:
            raise ValueError(f"instruction has no field {sorted(unknown)[0]!r}")
        return [packed >> WORD_BITS * i & (1 << WORD_BITS) - 1 for i in range(self.words)]


def last_of(m: Module, count: Value) -> Signal:
    """A register with one less than a count of the instruction, valid a cycle after `start`.

    So the carry chain of the subtraction is no part of the units' loops.
    """
    last = Signal(len(count))
    m.d.sync += last.eq(count - 1)
    return last


def count_up(m: Module, counter: Signal, amount: Value | int) -> None:
    """Let a counter of a layer grow in every cycle; a short one stays at its largest value."""
    total = counter + amount
    over = total[len(counter):].any() if len(counter) < TALLY_BITS else Const(0)
    m.d.sync += counter.eq(Mux(over, ~0, total))
