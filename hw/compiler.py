# SPDX-License-Identifier: Apache-2.0
"""Compiler: a fixed-point model becomes instructions and memory images for given hardware."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hw.accelerator import Images
from hw.config import MIN_INTERVAL, POOL_WINDOWS, HardwareConfig
from hw.current import Param, ParamRow
from hw.drain import repeat_interval
from hw.isa import Emit, Instruction, Op
from hw.layout import LayerPlan, MemoryPlan, SpikeMap, padded_head_dim, plan_memory
from hw.model import FixedPointModel, LayerTensors
from hw.network import Kind, Layer, Output

EMIT = {Output.SPIKES: Emit.SPIKES, Output.RESIDUAL: Emit.RESIDUAL, Output.LOGITS: Emit.LOGITS}


@dataclass(frozen=True)
class LayerTrace:
    """How to read a layer's traces.

    index:    number of the layer in the network, `layer` of its trace words
    channels: int [words * spike_word], logical channel of each bit of a timestep's spike words (and
              of each value of its residual beats), -1 for padding
    """

    index: int
    layer: Layer
    channels: np.ndarray


@dataclass(frozen=True)
class Program:
    """Everything that depends on the model: instructions by name, and the memories' contents."""

    model: FixedPointModel
    hardware: HardwareConfig
    plan: MemoryPlan
    instructions: tuple[dict[str, int], ...]
    memory: Images

    @cached_property
    def traces(self) -> tuple[LayerTrace, ...]:
        word = self.hardware.geometry.spike_word
        traces = []
        for plan in self.plan.layers:
            channels = np.full(-(-len(plan.out_channels) // word) * word, -1)
            channels[:len(plan.out_channels)] = plan.out_channels
            traces.append(LayerTrace(plan.index, plan.layer, channels))
        return tuple(traces)

    def images(self) -> dict[str, str]:
        """Memory contents as `$readmemh` text, by file name."""
        hardware = self.hardware
        tables = {"program": (self.memory.program, 32),
                  "params": (self.memory.params, ParamRow(hardware).size)}
        for bank, rows in enumerate(self.memory.weights):
            tables[f"weights{bank}"] = (rows, hardware.geometry.lanes * hardware.weight_bits)
        return {f"{name}.hex": "".join(f"{row:0{-(-width // 4)}x}\n" for row in rows)
                for name, (rows, width) in tables.items()}


def compile_model(model: FixedPointModel, hardware: HardwareConfig) -> Program:
    """Compile `model` for `hardware`.

    Raises ValueError naming the first memory or width that is too small, and by how much.
    """
    network = model.network
    plan = plan_memory(network, hardware.geometry, model.input.bits, model.residual.width)
    _check(model, hardware, plan)
    layout = Instruction(hardware)
    instructions = _instructions(model, hardware, plan)
    program = [word for values in instructions for word in layout.encode(values)]
    banks: list[list[int]] = [[0] for _ in range(hardware.geometry.banks)]
    params: list[int] = []
    for layer in plan.layers:
        if layer.layer.has_weights:
            tensors = model.tensors[layer.layer.name]
            for bank, rows in enumerate(_weight_rows(tensors, layer, hardware)):
                banks[bank] += rows
            params += _param_rows(tensors, layer, hardware)
    return Program(model, hardware, plan, tuple(instructions), Images(program, params, banks))


def _check(model: FixedPointModel, hardware: HardwareConfig, plan: MemoryPlan) -> None:
    needed = HardwareConfig.for_model(
        model, hardware.geometry.lanes, hardware.geometry.banks, hardware.geometry.spike_word,
        hardware.geometry.neurons)
    exact = ("weight_bits", "input_width", "in_channels", "residual_width", "attention_lanes",
             "shift_left", "fraction", "slow_tau")
    for name in exact:
        if getattr(needed, name) != getattr(hardware, name):
            raise ValueError(f"hardware {name} must be {getattr(needed, name)} for this model, "
                             f"not {getattr(hardware, name)!r}")
    for half in (0, 1):
        if plan.spike_words[half] > hardware.spike_words[half]:
            raise ValueError(f"spike memory half {half} must hold {plan.spike_words[half]} words, "
                             f"not {hardware.spike_words[half]!r}")
    for name in ("acc_width", "plane_width", "current_width", "state_width", "param_width",
                 "shift_width", "token_sum_width", "residual_words", "token_sum_words",
                 "logit_words", "weight_rows", "param_rows", "program_layers", "max_timesteps"):
        if getattr(needed, name) > getattr(hardware, name):
            raise ValueError(f"hardware {name} must be at least {getattr(needed, name)} for this "
                             f"model, not {getattr(hardware, name)!r}")


def _instructions(model: FixedPointModel, hardware: HardwareConfig,
                  plan: MemoryPlan) -> list[dict[str, int]]:
    network = model.network
    instructions = [{
        "op": Op.LOAD, "height": network.image_height, "width": network.image_width,
        "timesteps": 1 if network.static_input else network.timesteps,
        "position_stride": plan.input.steps, **_target(plan.input),
    }]
    for layer in plan.layers:
        if layer.layer.kind is Kind.ATTENTION:
            instructions.append(_attention(model, hardware, layer))
            continue
        if layer.sources[0] is plan.planes:
            instructions.append({
                "op": Op.PLANES, "layer": layer.index, "planes": plan.planes.steps,
                "residual_stride": plan.residual_beats, **_target(plan.planes)})
        instructions.append(_convolution(model, hardware, plan, layer))
    head = plan.layers[-1].layer.name
    return [*instructions, {
        "op": Op.END, "outputs": network.num_classes, "counters": len(plan.layers),
        "logit_shift": hardware.fraction - model.tensors[head].bias_shift}]


def _target(target: SpikeMap) -> dict[str, int]:
    return {"target_half": target.half, "target_base": target.base, "target_words": target.words}


def _attention(model: FixedPointModel, hardware: HardwareConfig,
               plan: LayerPlan) -> dict[str, int]:
    q, k, v = plan.sources
    head = padded_head_dim(model.network.head_dim)
    return {
        "op": Op.ATTENTION, "layer": plan.index, "source_half": q.half, "source_base": q.base,
        "key_base": k.base, "value_base": v.base, "source_words": q.words,
        "height": plan.layer.height, "width": plan.layer.width,
        "timesteps": model.network.timesteps, "head_dim": model.network.head_dim,
        "head_mask": hardware.attention_lanes - 1 & ~(head - 1),
        "slow_tau": model.network.tau == 1.5, "report": 1, **_target(plan.destination)}


def _convolution(model: FixedPointModel, hardware: HardwareConfig, memory: MemoryPlan,
                 plan: LayerPlan) -> dict[str, int]:
    network, geometry, layer = model.network, hardware.geometry, plan.layer
    source = plan.sources[0]
    by_planes = source is memory.planes
    height, width = (1, 1) if by_planes else (layer.height, layer.width)
    position = source.steps * source.words
    # Groups: bit planes inside timesteps; a static input has one set of planes for all timesteps.
    planes = {Kind.ENCODER: model.input.bits, Kind.CLASSIFIER: source.steps if by_planes else 1}
    repeat = layer.kind is Kind.ENCODER and network.static_input and network.timesteps > 1
    interval = max(geometry.beats, MIN_INTERVAL)
    if layer.pool:
        interval = max(interval, POOL_WINDOWS * geometry.lanes // geometry.spike_word)
    values = {
        "op": Op.CONV, "layer": plan.index, "report": 1,
        "source_half": source.half, "source_base": source.base, "source_words": source.words,
        "steps": source.steps, "position_stride": position, "row_stride": width * position,
        "height": height, "width": width, "kernel3": layer.kernel == 3,
        "weight_base": plan.weight_base, "tap_stride": plan.rows_per_tap,
        "row_tap_stride": 3 * plan.rows_per_tap if layer.kernel == 3 else 0,
        "tile_stride": layer.kernel ** 2 * plan.rows_per_tap,
        "planes": planes.get(layer.kind, 1),
        "signed_input": model.input.signed if layer.kind is Kind.ENCODER else by_planes,
        "timesteps": 1 if by_planes else network.timesteps, "repeat": repeat,
        "accumulate": layer.kind is Kind.CLASSIFIER and not by_planes,
        "tiles": plan.tiles, "last_beats": plan.last_beats, "interval": interval,
        "last_interval": network.timesteps * repeat_interval(geometry.beats, interval)
        if repeat else interval,
        "emit": EMIT[layer.output], "param_base": plan.param_base,
        "slow_tau": network.tau == 1.5,
    }
    if layer.output is Output.RESIDUAL:
        values |= {"add_residual": layer.adds, "residual_stride": memory.residual_beats,
                   "token_sum": not layer.lif}
    if plan.destination is not None:
        column = network.timesteps * plan.destination.words
        values |= {"fire": 1, "pool": layer.pool, "column_stride": column,
                   "target_row_stride": layer.out_width * column, **_target(plan.destination)}
    return values


def _weight_rows(tensors: LayerTensors, plan: LayerPlan,
                 hardware: HardwareConfig) -> list[list[int]]:
    """Rows of each bank: by tile, tap, then input channels of the bank; lane 0 in the low bits."""
    geometry, bits = hardware.geometry, hardware.weight_bits
    inputs, outputs = np.array(plan.sources[0].channels), np.array(plan.out_channels)
    taps = plan.layer.kernel ** 2
    stored = np.zeros((plan.tiles * geometry.lanes, plan.rows_per_tap * geometry.banks, taps),
                      np.uint8)
    weight = tensors.weight.reshape(*tensors.weight.shape[:2], taps)
    real_out, real_in = np.flatnonzero(outputs >= 0), np.flatnonzero(inputs >= 0)
    stored[np.ix_(real_out, real_in)] = weight[np.ix_(outputs[real_out], inputs[real_in])]
    rows = stored.reshape(plan.tiles, geometry.lanes, plan.rows_per_tap, geometry.banks, taps)
    rows = rows.transpose(3, 0, 4, 2, 1).reshape(geometry.banks, -1, geometry.lanes)
    ones = np.unpackbits(rows[..., None], axis=-1, bitorder="little")[..., :bits]
    packed = np.packbits(ones.reshape(*rows.shape[:2], -1), axis=-1, bitorder="little")
    return [[int.from_bytes(row.tobytes(), "little") for row in bank] for bank in packed]


def _param_rows(tensors: LayerTensors, plan: LayerPlan, hardware: HardwareConfig) -> list[int]:
    """One row per beat of the finish pipeline, by tile."""
    geometry, width = hardware.geometry, hardware.param_width
    layout, row_layout = Param(hardware), ParamRow(hardware)
    beats = (plan.tiles - 1) * geometry.beats + plan.last_beats
    scale = hardware.fraction - tensors.bias_shift
    mask = (1 << width) - 1

    def param(channel: int) -> int:
        # A padding channel has no weights and no bias, and a threshold it never reaches.
        bias, threshold, shift = 0, mask >> 1, 0
        if channel >= 0:
            bias = int(tensors.bias[channel]) << scale
            if plan.layer.output is Output.LOGITS:
                threshold = bias >> width
            elif tensors.threshold is not None:
                threshold = int(tensors.threshold[channel])
                threshold <<= scale if plan.layer.output is Output.SPIKES else 0
            if tensors.shift is not None:
                shift = int(tensors.shift[channel]) + scale + hardware.shift_left
        return (bias & mask | (threshold & mask) << layout["threshold"].offset
                | shift << layout["shift"].offset)

    rows = []
    for beat in range(beats):
        channels = [plan.out_channels[c] if c < len(plan.out_channels) else -1
                    for c in range(beat * geometry.neurons, (beat + 1) * geometry.neurons)]
        row = sum(param(channel) << i * layout.size for i, channel in enumerate(channels))
        real = sum(channel >= 0 for channel in channels)
        rows.append(row | real << row_layout["real"].offset)
    return rows
