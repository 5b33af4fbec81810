# SPDX-License-Identifier: Apache-2.0
"""Compiler: a fixed-point model becomes instructions and memory images for given hardware."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hw.accelerator import Images
from hw.axi import block_bytes
from hw.config import (
    EXTRA_INSTRUCTIONS,
    MIN_INTERVAL,
    POOL_ROWS,
    HardwareConfig,
    model_widths,
)
from hw.current import Param, ParamRow
from hw.dispatch import tap_turn
from hw.drain import repeat_interval
from hw.isa import Emit, Instruction, Op
from hw.layout import (
    LINE_WORDS,
    Arrangement,
    LayerPlan,
    MemoryPlan,
    SpikeMap,
    padded_head_dim,
)
from hw.model import FixedPointModel, LayerTensors
from hw.network import Kind, Layer, Output
from hw.reuse import tile_cycles
from hw.tiles import Placement, encode_stream, place_tiles

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
    """Everything that depends on the model: instructions by name, and the memories' contents.

    memory: initial contents of on-chip memories (empty with streamed weights)
    tiles:  with streamed weights, where each tile passes, in order
    stream: with streamed weights, the image (`hw.tiles`) that lies in external memory
    """

    model: FixedPointModel
    hardware: HardwareConfig
    plan: MemoryPlan
    instructions: tuple[dict[str, int], ...]
    memory: Images
    tiles: tuple[Placement, ...] = ()
    stream: bytes = b""

    @property
    def residual_bytes(self) -> int:
        """External memory for the residual stream."""
        if not self.hardware.spills_residual:
            return 0
        beats = max(values.get("stream_beats", 0) for values in self.instructions)
        return beats * self.hardware.port_bits // 8

    @property
    def map_bytes(self) -> int:
        """External memory for windowed spike maps."""
        return sum(_external_bytes(self.plan, self.hardware)) if self.hardware.spills_maps else 0

    @cached_property
    def traces(self) -> tuple[LayerTrace, ...]:
        word = self.hardware.geometry.spike_word
        traces = []
        for plan in self.plan.layers:
            channels = np.full(-(-len(plan.out_channels) // word) * word, -1)
            channels[:len(plan.out_channels)] = plan.out_channels
            traces.append(LayerTrace(plan.index, plan.layer, channels))
        return tuple(traces)

    def images(self) -> dict[str, bytes]:
        """Memory contents by file name: `$readmemh` text, or the image of external memory."""
        hardware = self.hardware
        if hardware.streamed:
            return {"weights.bin": self.stream}
        tables = {"program": (self.memory.program, 32),
                  "params": (self.memory.params, ParamRow(hardware).size)}
        for bank, rows in enumerate(self.memory.weights):
            tables[f"weights{bank}"] = (rows, hardware.geometry.lanes * hardware.weight_bits)
        return {f"{name}.hex": "".join(f"{row:0{-(-width // 4)}x}\n" for row in rows).encode()
                for name, (rows, width) in tables.items()}


def compile_model(model: FixedPointModel, hardware: HardwareConfig) -> Program:
    """Compile `model` for `hardware`.

    Raises ValueError naming the first memory or width that is too small, and by how much.
    """
    plan = hardware.plan(model)
    _check(model, hardware, plan)
    weighted = [layer for layer in plan.layers if layer.layer.has_weights]
    tiles = _place(model, weighted, hardware) if hardware.streamed else []
    layout = Instruction(hardware)
    instructions = _instructions(model, hardware, plan)
    program = [word for values in instructions for word in layout.encode(values)]
    tables = [(_weight_rows(model.tensors[layer.layer.name], layer, hardware),
               _param_rows(model.tensors[layer.layer.name], layer, hardware))
              for layer in weighted]
    if hardware.streamed:
        stream = encode_stream(program, zip(
            tiles, *zip(*_tile_tables(weighted, tables, hardware), strict=True), strict=True),
            hardware.port_bits, ParamRow(hardware).size, hardware.digest())
        return Program(model, hardware, plan, tuple(instructions), Images([], [], []),
                       tuple(tiles), stream)
    banks = [[0, *(int.from_bytes(row.tobytes(), "little") for rows, _ in tables
                   for row in rows[:, bank])] for bank in range(hardware.geometry.banks)]
    params = [row for _, rows in tables for row in rows]
    return Program(model, hardware, plan, tuple(instructions), Images(program, params, banks))


def _place(model: FixedPointModel, layers: list[LayerPlan],
           hardware: HardwareConfig) -> list[Placement]:
    """Tiles of all layers in the weight banks; ValueError names the layer that does not fit."""
    geometry = hardware.geometry
    for layer in layers:
        short = layer.tile_rows + 1 - hardware.weight_rows
        if short > 0:
            bits = short * geometry.banks * geometry.lanes * hardware.weight_bits
            raise ValueError(
                f"weight memory must hold a tile of {layer.layer.name}, {layer.tile_rows} rows in "
                f"each of {geometry.banks} banks beside the zero row, not "
                f"{hardware.weight_rows - 1!r}: it is short by {bits:,} bits")
    row_cycles = geometry.banks * -(-geometry.lanes * hardware.weight_bits // hardware.port_bits)
    work = [tile_cycles(layer, model, geometry) for layer in layers]
    return place_tiles([layer.tile_rows for layer in layers for _ in range(layer.tiles)],
                       hardware.weight_rows,
                       [cycles for layer, cycles in zip(layers, work, strict=True)
                        for _ in range(layer.tiles)], row_cycles)


def _tile_tables(layers: list[LayerPlan], tables: list[tuple[np.ndarray, list[int]]],
                 hardware: HardwareConfig) -> Iterator[tuple[list[int], np.ndarray]]:
    """Parameter rows and weight rows of each tile."""
    geometry = hardware.geometry
    for layer, (rows, params) in zip(layers, tables, strict=True):
        for tile in range(layer.tiles):
            beat = tile * geometry.beats
            yield (params[beat:beat + layer.beats(tile, geometry)],
                   rows[tile * layer.tile_rows:(tile + 1) * layer.tile_rows])


def _check(model: FixedPointModel, hardware: HardwareConfig, plan: MemoryPlan) -> None:
    geometry = hardware.geometry
    needed = HardwareConfig.for_model(model, geometry.lanes, geometry.banks, geometry.spike_word,
                                      geometry.neurons, hardware.port_bits,
                                      pairs=hardware.pairs, beside=hardware.beside)
    for name in ("input_width", "in_channels", "residual_width"):
        if getattr(needed, name) != getattr(hardware, name):
            raise ValueError(f"hardware {name} must be {getattr(needed, name)} for this model, "
                             f"not {getattr(hardware, name)!r}")
    if model.input.signed and model.input.bits == 1:
        raise ValueError("input bits must be at least 2 where they are signed, not 1")
    for half in (0, 1):
        short = plan.spike_lines[half] - hardware.spike_lines[half]
        if short > 0:
            raise ValueError(f"spike memory half {half} must hold {plan.spike_lines[half]} lines, "
                             f"not {hardware.spike_lines[half]!r}: it is short by "
                             f"{short * geometry.line_bits:,} bits")
    short = plan.residual_words - hardware.residual_words
    if short > 0 and not hardware.spills_residual:
        raise ValueError(f"residual memory must hold {plan.residual_words} words, "
                         f"not {hardware.residual_words!r}: it is short by "
                         f"{short * geometry.neurons * hardware.residual_width:,} bits")
    # The common grid of several models is finer than that of one alone.
    widths = model_widths([model], hardware.fraction, hardware.shift_left)
    memories = () if hardware.streamed else ("weight_rows", "param_rows")
    sizes = {name: getattr(needed, name) for name in (
        "weight_bits", "attention_lanes", "slow_tau", "token_sum_words", "logit_words",
        "program_layers", "channel_beats", "max_timesteps", "size_bits", *memories)}
    if hardware.streamed:   # instructions are as wide as this hardware's addresses
        instructions = len(plan.layers) + EXTRA_INSTRUCTIONS
        sizes["program_words"] = instructions * Instruction(hardware).words
    for name, least in (sizes | widths).items():
        if least > getattr(hardware, name):
            raise ValueError(f"hardware {name} must be at least {least} for this model, "
                             f"not {getattr(hardware, name)!r}")


def _instructions(model: FixedPointModel, hardware: HardwareConfig,
                  plan: MemoryPlan) -> list[dict[str, int]]:
    network = model.network
    places = _external_places(plan, hardware)
    instructions = [{
        "op": Op.LOAD, "height": network.image_height, "width": network.image_width,
        "timesteps": plan.input.steps, **_target(plan.input, hardware, places)}]
    for layer in plan.layers:
        if layer.layer.kind is Kind.ATTENTION:
            instructions.append(_attention(model, hardware, layer))
            continue
        if layer.sources[0] is plan.planes:
            instructions.append({
                "op": Op.PLANES, "layer": layer.index, "planes": plan.planes.steps,
                "residual_stride": plan.residual_beats, **_target(plan.planes, hardware, places)})
        instructions.append(_convolution(model, hardware, plan, layer, places))
    head = plan.layers[-1].layer.name
    return [*instructions, {
        "op": Op.END, "outputs": network.num_classes, "counters": len(plan.layers),
        "logit_shift": hardware.fraction - model.tensors[head].bias_shift}]


def _chunk_bytes(placed: SpikeMap, hardware: HardwareConfig) -> int:
    """External memory of one row and block of a windowed map: whole bursts."""
    block = block_bytes(hardware.port_bits)
    return -(-_chunk_beats(placed, hardware) * hardware.port_bits // 8 // block) * block


def _chunk_beats(placed: SpikeMap, hardware: HardwareConfig) -> int:
    return placed.block_lines * -(-hardware.geometry.line_bits // hardware.port_bits)


def _external_bytes(plan: MemoryPlan, hardware: HardwareConfig) -> tuple[int, int]:
    """External memory of the windowed maps of each half; maps of a half replace each other."""
    maps = [plan.input, *(layer.destination for layer in plan.layers if layer.destination)]
    sizes = [0, 0]
    for each in maps:
        if each.windowed:
            size = each.blocks * each.height * _chunk_bytes(each, hardware)
            sizes[each.half] = max(sizes[each.half], size)
    return sizes[0], sizes[1]


def _external_places(plan: MemoryPlan, hardware: HardwareConfig) -> tuple[int, int]:
    return (0, _external_bytes(plan, hardware)[0]) if hardware.spills_maps else (0, 0)


def _last_mask(source: SpikeMap) -> int:
    """The words of a position's last line that exist."""
    if source.arrangement is Arrangement.PAIR:
        return 0b0101 if source.words % 2 else 0b1111
    return (1 << (source.words - 1) % LINE_WORDS + 1) - 1


def _source(source: SpikeMap, hardware: HardwareConfig, places: tuple[int, int]) -> dict[str, int]:
    grid = source.arrangement is Arrangement.GRID
    values = {
        "source_half": source.half, "source_base": source.base, "source_rows": source.rows,
        "row_stride": source.row_lines, "column_stride": source.column_lines,
        "step_lines": source.step_lines, "steps": source.steps, "last_mask": _last_mask(source),
        "blocks": source.blocks if grid else 1, "block_stride": source.block_lines,
        "last_lines": source.words - (source.blocks - 1) * source.block_words if grid
        else source.step_lines}
    if hardware.spills_maps and source.windowed:
        chunk = _chunk_bytes(source, hardware)
        values |= {"source_window": 1, "source_place": places[source.half],
                   "source_beats": _chunk_beats(source, hardware), "source_chunk": chunk,
                   "source_block": source.height * chunk}
    return values


def _target(target: SpikeMap, hardware: HardwareConfig, places: tuple[int, int]) -> dict[str, int]:
    grid = target.arrangement is Arrangement.GRID
    # A windowed target has the rows of one tile on chip, all others the rows of all.
    row = target.block_lines if target.windowed else target.row_lines
    values = {
        "target_half": target.half, "target_base": target.base, "target_grid": grid,
        "target_step": target.step_lines, "target_column": target.column_lines, "target_row": row,
        "target_tile": target.block_lines if grid else 0, "target_rows": target.rows,
        "target_size": target.rows * row}
    if hardware.pairs:
        values["target_pair"] = target.arrangement is Arrangement.PAIR
    if hardware.spills_maps and target.windowed:
        values |= {"target_window": 1, "target_place": places[target.half],
                   "target_beats": _chunk_beats(target, hardware),
                   "target_chunk": _chunk_bytes(target, hardware)}
    return values


def _attention(model: FixedPointModel, hardware: HardwareConfig,
               plan: LayerPlan) -> dict[str, int]:
    q, k, v = plan.sources
    head = padded_head_dim(model.network.head_dim)
    return {
        "op": Op.ATTENTION, "layer": plan.index, "source_half": q.half, "source_base": q.base,
        "key_base": k.base, "value_base": v.base, "step_lines": q.step_lines,
        "last_mask": _last_mask(q),
        "height": plan.layer.height, "width": plan.layer.width,
        "timesteps": model.network.timesteps, "head_dim": model.network.head_dim,
        "head_mask": hardware.attention_lanes - 1 & ~(head - 1),
        "slow_tau": model.network.tau == 1.5, "report": 1,
        **_target(plan.destination, hardware, (0, 0))}


def _convolution(model: FixedPointModel, hardware: HardwareConfig, memory: MemoryPlan,
                 plan: LayerPlan, places: tuple[int, int]) -> dict[str, int]:
    network, geometry, layer = model.network, hardware.geometry, plan.layer
    source, slice_bits = plan.sources[0], geometry.slice_bits
    by_planes = source is memory.planes
    height, width = (1, 1) if by_planes else (layer.height, layer.width)
    # Groups: bit planes inside timesteps; a static input has one set of planes for all timesteps.
    planes = {Kind.ENCODER: model.input.bits, Kind.CLASSIFIER: source.steps if by_planes else 1}
    repeat = layer.kind is Kind.ENCODER and network.static_input and network.timesteps > 1
    # Two positions that are beside each other make up one tile.
    last_beats = plan.last_beats << plan.beside
    beats = geometry.beats if plan.tiles > 1 else last_beats
    interval = max(beats, MIN_INTERVAL)
    if layer.pool:
        interval = max(interval, POOL_ROWS * beats * geometry.neurons // geometry.spike_word)
    if layer.output is Output.LOGITS:   # class by class
        interval = max(interval, min(beats * geometry.neurons, layer.out_channels))
    grid = source.arrangement is Arrangement.GRID
    values = {
        "op": Op.CONV, "layer": plan.index, "report": 1, **_source(source, hardware, places),
        "height": height, "width": width, "kernel3": grid, "samples": layer.kind is Kind.ENCODER,
        "row_tap_stride": plan.columns * plan.rows_per_tap if grid else 0,
        "line_stride": slice_bits if grid else LINE_WORDS // source.line_positions * slice_bits,
        "word_stride": plan.rows_per_tap if grid else slice_bits,
        "planes": planes.get(layer.kind, 1),
        "signed_input": model.input.signed if layer.kind is Kind.ENCODER else by_planes,
        "timesteps": 1 if by_planes else network.timesteps, "repeat": repeat,
        "accumulate": layer.kind is Kind.CLASSIFIER and not by_planes,
        "tiles": plan.tiles, "last_beats": last_beats, "interval": interval,
        "last_interval": network.timesteps * repeat_interval(beats, interval)
        if repeat else interval,
        "emit": EMIT[layer.output], "slow_tau": network.tau == 1.5,
    }
    if not hardware.streamed:   # a streamed tile brings its place along
        values |= {"weight_base": plan.weight_base, "tile_stride": plan.tile_rows,
                   "param_base": plan.param_base}
    if layer.output is Output.RESIDUAL:
        values |= {"add_residual": layer.adds, "residual_stride": memory.residual_beats,
                   "token_sum": not layer.lif}
        if hardware.spills_residual:
            word_beats = -(-geometry.neurons * hardware.residual_width // hardware.port_bits)
            values["stream_beats"] = memory.residual_words * word_beats
    if plan.destination is not None:
        values |= {"fire": 1, "pool": layer.pool, **_target(plan.destination, hardware, places)}
    if plan.beside:
        values["beside"] = 1
    return values | (_pairs(memory, plan, hardware, values) if plan.pairs else {})


def _pairs(memory: MemoryPlan, plan: LayerPlan, hardware: HardwareConfig,
           values: dict[str, int]) -> dict[str, int]:
    """Fields of a layer that takes its positions two by two."""
    fields = Instruction(hardware)

    def turns(name: str, odd: int, step: int) -> dict[str, int]:
        # From the odd position back to the even one, at the next step: modulo the address.
        even = (step - odd) % (1 << fields[f"{name}_even"].width)
        return {f"{name}_odd": odd, f"{name}_even": even}

    pairs = {"pairs": 1}
    if plan.layer.output is Output.RESIDUAL and not hardware.spills_residual:
        stride = memory.residual_beats
        pairs |= turns("residual", memory.network.timesteps * stride, stride)
    if plan.destination is not None:
        token = plan.destination.arrangement is Arrangement.TOKEN
        column = values["target_column"]
        pairs |= turns("target", column if token else 0, values["target_step"])
        pairs["target_column"] = 2 * column if token else column
    return pairs


def _weight_rows(tensors: LayerTensors, plan: LayerPlan,
                 hardware: HardwareConfig) -> np.ndarray:
    """uint8 [rows, banks, bytes]: by tile, tap, then input channels of the bank; lane 0 lowest."""
    geometry, bits = hardware.geometry, hardware.weight_bits
    inputs, outputs = np.array(plan.sources[0].channels), np.array(plan.out_channels)
    weight = tensors.weight
    if plan.beside:
        # Of four columns the even position has the first three, the odd one the last three.
        stored = geometry.words(len(outputs)) * geometry.spike_word
        even = np.pad(outputs, (0, stored - len(outputs)), constant_values=-1)
        outputs = np.concatenate([even, np.where(outputs >= 0, outputs + len(weight), -1)])
        weight = np.concatenate([np.pad(weight, ((0, 0), (0, 0), (0, 0), columns))
                                 for columns in ((0, 1), (1, 0))])
    taps = plan.layer.kernel * plan.columns
    stored = np.zeros((plan.tiles * geometry.lanes, taps, plan.rows_per_tap * geometry.banks),
                      np.uint8)
    weight = weight.reshape(*weight.shape[:2], taps).swapaxes(1, 2)
    real_out, real_in = np.flatnonzero(outputs >= 0), np.flatnonzero(inputs >= 0)
    # Channels of a word are dealt to the banks in turn; each word starts a row.
    word, channel = np.divmod(real_in, geometry.spike_word)
    place = word * geometry.slice_bits * geometry.banks + channel
    stored[real_out[:, None, None], np.arange(taps)[:, None], place] = weight[
        outputs[real_out][:, None, None], np.arange(taps)[:, None], inputs[real_in]]
    rows = stored.reshape(plan.tiles, geometry.lanes, taps, plan.rows_per_tap, geometry.banks)
    if plan.layer.kernel == 3:
        for tap in range(taps):
            turn = tap_turn(*divmod(tap, plan.columns), geometry.banks)
            rows[:, :, tap] = np.roll(rows[:, :, tap], turn, axis=3)
    rows = rows.transpose(0, 2, 3, 4, 1).reshape(-1, geometry.banks, geometry.lanes)
    if bits == 8:
        return rows
    ones = np.unpackbits(rows[..., None], axis=-1, bitorder="little")[..., :bits]
    return np.packbits(ones.reshape(*rows.shape[:2], -1), axis=-1, bitorder="little")


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
