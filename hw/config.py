# SPDX-License-Identifier: Apache-2.0
"""The hardware as data: one frozen object sizes every unit, memory and bus of the accelerator."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from hw.axi import PORT_BITS
from hw.bounds import layer_bounds, signed_width
from hw.command import first_line
from hw.layout import (
    DEFAULT_BANKS,
    DEFAULT_LANES,
    LINE_WORDS,
    Geometry,
    MemoryPlan,
    Walk,
    padded_head_dim,
    plan_memory,
    token_sum_width,
)
from hw.model import FixedPointModel
from hw.network import Kind, Output
from hw.reuse import walks

# A group of spikes cannot leave the finish pipeline faster than its read-modify-write loops turn.
MIN_INTERVAL = 4
# An engine of fewer channels has more control than counters.
MIN_ATTENTION_LANES = 8
# A pooled position lies in windows of up to two rows, and each takes one cycle of the pool unit.
POOL_ROWS = 2
MAX_TIMEOUT_BITS = 32
SIZE_BITS = 10      # heights and widths: up to 1023
# Of the counters of a layer (ACs, cycles, saturations): hours at any clock.
TALLY_BITS = 40
_WATCHES = ("timeout_bits", "parity", "tally_bits")
# Of a program besides those of its layers, at most: the input, bit planes, the end.
EXTRA_INSTRUCTIONS = 3


@dataclass(frozen=True)
class HardwareConfig:
    """Sizes of the accelerator; every width is in bits, every depth in words of its memory.

    geometry:      parallel slots, see `hw.layout.Geometry`
    weight_bits:   of a weight, two's complement
    fraction:      bits of the common current grid below the weights' grid; a layer whose own
                   bias_shift is smaller has bias and thresholds scaled up, which is exact
    acc_width:     the sum of weights of one group (a position at a timestep, with all bit planes of
                   its samples, or a bit plane of token sums)
    plane_width:   the sum over bit planes, or over all spikes of a spiking head
    current_width: y = (sum << fraction) + bias of layers that feed a LIF or the residual stream
    state_width:   h of the LIF, and its threshold
    param_width:   bias and threshold as stored; the classifier's bias takes both fields
    shift_left:    residual layers: constant left shift before the variable right shift
    shift_width:   of the right shift
    residual_width, token_sum_width:  residual stream, and its sum over tokens and timesteps
    input_width:   an input sample; in_channels of them make a pixel
    spike_lines:   depth of the two halves of the spike memory, in lines of 4 words
    slow_tau:      support tau 1.5 beside tau 2
    attention_lanes:  channels of an attention engine: a head, or several small ones
    attention_engines: that work side by side, on whole words of a line
    pairs:         neighbouring positions can share additions (`hw.reuse`): each lane keeps a sum
    beside:        they can be taken at once, each in lanes of its own
    max_timesteps: T
    channel_beats: beats of all output channels of a layer
    port_bits:     data width of the AXI4 port through which program, weights and parameters are
                   streamed in each inference; 0: they are initial contents of on-chip memories.
                   Streamed, weight_rows is the size of the ring that tiles pass through (one row of
                   it stays zero) and param_rows means nothing.
    program_words: streamed: 32-bit words of the program memory
    residual_words may be 0 with streamed weights: the residual stream is in external memory, too.
    spills_maps:   streamed: spike maps that do not fit the spike memory go to external memory
    timeout_bits:  streamed: a memory that owes something for 2**timeout_bits cycles is a fault
                   (`hw.faults`); 0: it may take for ever
    parity:        words of the weight banks and of the residual memory have a parity bit, which is
                   checked when they are read
    tally_bits:    of the counters that are sent for each layer; they stay at their largest value
    size_bits:     of what counts positions of a map in a row, and its rows
    """

    geometry: Geometry
    weight_bits: int
    fraction: int
    acc_width: int
    plane_width: int
    current_width: int
    state_width: int
    param_width: int
    shift_left: int
    shift_width: int
    residual_width: int
    token_sum_width: int
    input_width: int
    in_channels: int
    spike_lines: tuple[int, int]
    residual_words: int
    token_sum_words: int
    logit_words: int
    weight_rows: int
    param_rows: int
    program_layers: int
    max_timesteps: int
    attention_lanes: int
    slow_tau: bool
    channel_beats: int
    port_bits: int = 0
    program_words: int = 0
    queue_depth: int = 16
    spills_maps: bool = False
    attention_engines: int = 1
    pairs: bool = False
    beside: bool = False
    timeout_bits: int = 16
    parity: bool = False
    tally_bits: int = TALLY_BITS
    size_bits: int = SIZE_BITS

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if item.type == "int" or item.type is int:
                if not isinstance(value, int) or value < 0:
                    raise ValueError(f"{item.name} must be a non-negative integer, not {value!r}")
        if self.attention_lanes > self.geometry.line_bits:
            raise ValueError(f"spike_word must be at least {self.attention_lanes // LINE_WORDS}, a "
                             f"quarter of a head of {self.attention_lanes} channels, and divide "
                             f"the lanes, not {self.geometry.spike_word!r}")
        line = self.attention_engines * self.attention_lanes
        if (self.attention_engines < 1 or self.geometry.line_bits % line
                or line % self.geometry.spike_word):
            raise ValueError(f"attention_engines of {self.attention_lanes} channels must share "
                             f"words of {self.geometry.spike_word} of a line of {LINE_WORDS}, "
                             f"not {self.attention_engines!r}")
        if self.queue_depth < 2:
            raise ValueError(f"queue_depth must be at least 2, not {self.queue_depth!r}")
        if not 8 <= self.tally_bits <= TALLY_BITS:
            raise ValueError(f"tally_bits must be 8 to {TALLY_BITS}, not {self.tally_bits!r}")
        if not 1 <= self.max_timesteps <= 16:
            raise ValueError(f"max_timesteps must be 1 to 16, not {self.max_timesteps!r}")
        if self.timeout_bits > MAX_TIMEOUT_BITS:
            raise ValueError(f"timeout_bits must be at most {MAX_TIMEOUT_BITS}, "
                             f"not {self.timeout_bits!r}")
        if self.port_bits not in (0, *PORT_BITS):
            raise ValueError(f"port_bits must be 0 (weights on chip), 64 or 128, "
                             f"not {self.port_bits!r}")

    @classmethod
    def for_model(cls, model: FixedPointModel, lanes: int = DEFAULT_LANES,
                  banks: int = DEFAULT_BANKS, spike_word: int | None = None,
                  neurons: int | None = None, port_bits: int = 0, **others: Any
                  ) -> "HardwareConfig":
        """The smallest hardware that holds `model`: `for_models` of it alone."""
        return cls.for_models([model], lanes, banks, spike_word, neurons, port_bits, **others)

    @classmethod
    def for_models(cls, models: Sequence[FixedPointModel], lanes: int = DEFAULT_LANES,
                   banks: int = DEFAULT_BANKS, spike_word: int | None = None,
                   neurons: int | None = None, port_bits: int = 0,
                   weight_rows: int | None = None, spill_residual: bool = False,
                   spike_lines: tuple[int, int] | None = None,
                   attention_engines: int | None = None,
                   pairs: bool | None = None, beside: bool | None = None,
                   ports: int = 2, tally_bits: int = TALLY_BITS) -> "HardwareConfig":
        """The smallest hardware that runs each of `models`, given its program and images.

        port_bits:   0 holds all weights on chip, else they are streamed
        weight_rows: streamed: size of each weight bank (default: room for any two neighbouring
                     tiles, so that one is loaded while the other is used)
        spill_residual: streamed: keep the residual stream in external memory
        spike_lines: streamed: depths of the spike memory; tokenizer maps that do not fit go to
                     external memory (default: room for all maps)
        attention_engines: see the field (default: a word for every 64 lanes)
        pairs:       see the field (default: if it saves cycles)
        beside:      likewise
        ports:       of each bank of weights: `Geometry`
        tally_bits:  see the field

        Raises ValueError for a geometry that cannot be built, or models of different input or
        residual format.
        """
        # A word holds a pixel, a line a head.
        least = max(max(m.network.in_channels * m.input.bits,
                        padded_head_dim(m.network.head_dim) // LINE_WORDS) for m in models)
        geometry = Geometry.for_lanes(lanes, banks, spike_word, neurons, least, ports)
        if spike_lines is not None and not port_bits:
            raise ValueError("spike_lines needs a port to external memory: port_bits must be 64 or "
                             "128, not 0")
        for name, values in {"input bits": {m.input.bits for m in models},
                             "in_channels": {m.network.in_channels for m in models},
                             "residual width": {m.residual.width for m in models}}.items():
            if len(values) > 1:
                raise ValueError(f"models on one hardware must have the same {name}, "
                                 f"not {sorted(values)!r}")
        chosen = [walks(each, geometry, pairs is not False, beside is not False, spill_residual)
                  for each in models]
        used = {walk for each in chosen for walk in each.values()}
        plans = [plan_memory(each.network, geometry, each.input.bits, each.residual.width,
                             spike_lines, names)
                 for each, names in zip(models, chosen, strict=True)]
        sizes = {name: max(depths[name] for depths in map(_depths, plans))
                 for name in _depths(plans[0])}
        sizes["spike_lines"] = spike_lines or tuple(max(p.spike_lines[half] for p in plans)
                                                    for half in (0, 1))
        if not port_bits:   # other networks can follow only where the program comes from outside
            sizes["size_bits"] = max(plan.largest for plan in plans).bit_length()
        first = models[0]
        # Engines wait for the one with the most events: small ones, a head each, wait least.
        attention_lanes = max(min(MIN_ATTENTION_LANES, geometry.spike_word),
                              *(padded_head_dim(m.network.head_dim) for m in models))
        if attention_engines is None:   # a word for every 64 lanes, if a line has work for them
            words = 1 << max(1, min(lanes // 64, LINE_WORDS)).bit_length() - 1   # divides the line
            attention_engines = max(1, words * geometry.spike_word // attention_lanes)
        config = cls(
            geometry=geometry, weight_bits=max(m.weight_bits for m in models),
            **model_widths(models),
            **sizes, residual_width=first.residual.width, input_width=first.input.bits,
            in_channels=first.network.in_channels,
            max_timesteps=max(m.network.timesteps for m in models),
            attention_lanes=attention_lanes, attention_engines=attention_engines,
            slow_tau=any(m.network.tau == 1.5 for m in models), port_bits=port_bits,
            spills_maps=any(plan.windowed for plan in plans),
            pairs=Walk.PAIRS in used if pairs is None else pairs,
            beside=Walk.BESIDE in used if beside is None else beside, tally_bits=tally_bits)
        if not config.streamed:
            return config
        rows = [_tile_rows(plan) for plan in plans]
        two = max(sum(pair) for each in rows for pair in zip([0, *each], each))
        config = replace(config, weight_rows=two + 1 if weight_rows is None else weight_rows,
                         param_rows=0,
                         residual_words=0 if spill_residual else config.residual_words)
        instructions = max(len(plan.layers) for plan in plans) + EXTRA_INSTRUCTIONS
        return replace(config, program_words=instructions * _instruction_words(config))

    def plan(self, model: FixedPointModel) -> MemoryPlan:
        """Where everything of `model` lies in this hardware."""
        return plan_memory(
            model.network, self.geometry, model.input.bits, model.residual.width,
            self.spike_lines if self.spills_maps else None,
            walks(model, self.geometry, self.pairs, self.beside, self.spills_residual))

    @property
    def streamed(self) -> bool:
        """Weights come through a port, not from initial memory contents."""
        return bool(self.port_bits)

    @property
    def spills_residual(self) -> bool:
        """The residual stream lies in external memory."""
        return self.streamed and not self.residual_words

    @property
    def logit_width(self) -> int:
        """y of the classifier, which is wider than that of the other layers."""
        return max(self.plane_width + self.fraction, 2 * self.param_width) + 1

    def digest(self) -> bytes:
        """8 bytes of a SHA-256, so that an image made for other hardware is not loaded; what only
        watches shapes no image.
        """
        text = json.dumps({name: value for name, value in self.to_dict().items()
                           if name not in _WATCHES}, sort_keys=True)
        return hashlib.sha256(text.encode()).digest()[:8]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"spike_lines": list(self.spike_lines)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "HardwareConfig":
        """Inverse of `to_dict`; ValueError names what is unknown or missing."""
        try:
            return cls(**dict(values) | {"geometry": Geometry(**values["geometry"]),
                                         "spike_lines": tuple(values["spike_lines"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"hardware configuration is incomplete: {first_line(error)}") from None


def _depths(plan: MemoryPlan) -> dict[str, Any]:
    geometry = plan.geometry
    classes = -(-plan.network.num_classes // geometry.neurons)
    return {"residual_words": plan.residual_words, "token_sum_words": plan.residual_beats,
            "logit_words": classes, "weight_rows": plan.weight_rows,
            "param_rows": plan.param_rows, "program_layers": len(plan.layers),
            "channel_beats": max((layer.tiles - 1) * geometry.beats + layer.last_beats
                                 for layer in plan.layers)}


def _tile_rows(plan: MemoryPlan) -> list[int]:
    return [rows for layer in plan.layers for rows in layer.tiles * [layer.tile_rows]]


def _instruction_words(config: HardwareConfig) -> int:
    from hw.isa import Instruction  # which is laid out for a configuration

    return Instruction(config).words


def model_widths(models: Sequence[FixedPointModel], fraction: int = 0,
                 shift_left: int = 0) -> dict[str, int]:
    """Widths that no input of any model can overflow, on the common grid of all layers.

    fraction, shift_left: at least these
    """
    fraction = max(fraction, *(t.bias_shift for m in models for t in m.tensors.values()))
    each = [_one_model_widths(model, fraction) for model in models]
    least = min(values.pop("least_shift") for values in each)
    left = max(shift_left, -least)
    shift = max(values.pop("largest_shift") for values in each) + left
    widths = {name: max(values[name] for values in each) for name in each[0]}
    return widths | {"fraction": fraction, "shift_left": left,
                     "shift_width": max(1, shift.bit_length())}


def _one_model_widths(model: FixedPointModel, fraction: int) -> dict[str, int]:
    bounds = layer_bounds(model)
    current = state = bias = threshold = 0
    shifts = []
    for layer in model.network.layers():
        if layer.name not in bounds or layer.output is Output.LOGITS:
            continue
        tensors, bound = model.tensors[layer.name], bounds[layer.name]
        scale = fraction - tensors.bias_shift
        current = max(current, bound.current << scale)
        bias = max(bias, int(abs(tensors.bias).max()) << scale)
        if tensors.shift is not None:   # residual thresholds are on the stream's grid already
            shifts += [int(tensors.shift.min()) + scale, int(tensors.shift.max()) + scale]
            scale = 0
        state = max(state, bound.state << scale)
        if tensors.threshold is not None:
            threshold = max(threshold, int(abs(tensors.threshold).max()) << scale)
    head = model.tensors["head"]
    logit_bias = int(abs(head.bias).max()) << fraction - head.bias_shift
    return {
        # Bit planes of the encoder's samples join in the accumulators.
        "acc_width": signed_width(max(
            bounds[layer.name].total if layer.kind is Kind.ENCODER else bounds[layer.name].sum
            for layer in model.network.layers() if layer.has_weights)),
        "plane_width": signed_width(max(bound.total for bound in bounds.values())),
        "current_width": signed_width(current), "state_width": signed_width(state),
        "param_width": max(signed_width(max(bias, threshold, 1)),
                           -(-signed_width(logit_bias) // 2)),
        "least_shift": min(shifts), "largest_shift": max(shifts),
        "token_sum_width": token_sum_width(model.network, model.residual.width),
    }
