# SPDX-License-Identifier: Apache-2.0
"""What the memories hold when a layer begins, from the golden model: runs may begin there.

Spike maps lie as `hw.layout.SpikeMap` says, on chip or in external memory; the residual stream in
the order of its layers' beats; token sums by beat.  Contents of on-chip memories are texts for
$readmemh, those of external memory are bytes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hw.axi import block_bytes
from hw.compiler import Program
from hw.isa import Op
from hw.layout import LINE_WORDS, Arrangement, LayerPlan, SpikeMap
from hw.network import Output
from sim.resume import LaterProgram


def needed(program: Program, first_layer: int) -> set[int]:
    """Numbers of the layers before `first_layer` whose results are still needed there."""
    layers = program.plan.layers
    sources = [source for layer in layers[first_layer:] for source in layer.sources]
    producers = {layer.index for layer in layers[:first_layer]
                 if any(layer.destination is source for source in sources)}
    stream = [layer.index for layer in layers[:first_layer]
              if layer.layer.output is Output.RESIDUAL]
    return producers | set(stream[-1:])


def contents(program: LaterProgram, results: Mapping[int, Any]) -> dict[str, bytes]:
    """Contents by the names of the testbench's memories.

    results: golden `LayerResult`s of at least the layers that `needed` names, by number
    """
    hardware, plan = program.hardware, program.plan
    word = hardware.geometry.spike_word
    halves = [np.zeros((LINE_WORDS, lines, word), np.uint8) for lines in hardware.spike_lines]
    maps = np.zeros(program.map_bytes, np.uint8)
    wanted = sorted(needed(program, program.first_layer))
    for layer in (plan.layers[index] for index in wanted):
        if layer.destination is not None:
            words = map_words(layer, results[layer.index].spikes, word)
            if layer.destination.windowed:
                _store_outside(program, layer, words, maps)
            else:
                bank, line = places(layer.destination)
                halves[layer.destination.half][bank, line] = words
    named = {f"half{half}bank{bank}": readmemh(bits[bank])
             for half, bits in enumerate(halves) for bank in range(LINE_WORDS)}
    stream = [layer for layer in (plan.layers[index] for index in wanted)
              if layer.layer.output is Output.RESIDUAL]
    named |= {"residual": b"", "sums": b"", "maps": maps.tobytes()}
    if stream:
        named |= _residual(program, stream[-1], results[stream[-1].index].residual)
    if not hardware.streamed:
        named["program"] = "".join(f"{value:x}\n" for value in program.stored).encode()
    return named


def readmemh(bits: np.ndarray) -> bytes:
    """Rows of bits [n, width], least significant first, as lines of hexadecimal digits."""
    packed = np.packbits(bits, axis=1, bitorder="little")[:, ::-1]
    text, digits = packed.tobytes().hex(), 2 * packed.shape[1]
    return "".join(f"{text[n:n + digits]}\n" for n in range(0, len(text), digits)).encode()


def map_words(layer: LayerPlan, spikes: np.ndarray, word: int) -> np.ndarray:
    """The words that a layer leaves of its spikes [T, C, H, W]: uint8 [H, W, T, words, bits]."""
    if layer.layer.pool:
        spikes = _pooled(_pooled(spikes, 2), 3)
    target = layer.destination
    stored = np.zeros((*spikes.shape[2:], len(spikes), target.words * word), np.uint8)
    channels = np.array(target.channels)
    real = np.flatnonzero(channels >= 0)
    stored[..., real] = spikes.transpose(2, 3, 0, 1)[..., channels[real]]
    return stored.reshape(*stored.shape[:3], target.words, word)


def _pooled(spikes: np.ndarray, axis: int) -> np.ndarray:
    """OR over the valid part of windows of 3, stride 2, padding 1, along one axis."""
    parts = spikes.swapaxes(0, axis)
    windows, odd = parts[::2].copy(), parts[1::2]
    windows[:len(odd)] |= odd
    windows[1:] |= odd[:len(windows) - 1]
    return windows.swapaxes(0, axis)


def places(target: SpikeMap) -> tuple[np.ndarray, np.ndarray]:
    """Bank and line of each word of a map that is on chip, int [H, W, steps, words]."""
    y, x, step, word = np.indices((target.height, target.width, target.steps, target.words))
    if target.arrangement is Arrangement.GRID:
        return x % LINE_WORDS, target.base + y * target.row_lines + _line(target, x, step, word)
    # A line holds so many words of each of its positions.
    position, shared = y * target.width + x, target.line_positions
    words = LINE_WORDS // shared
    first = target.base + (position // shared * target.steps + step) * target.step_lines
    return x % shared * words + word % words, first + word // words


def _line(target: SpikeMap, x: np.ndarray, step: np.ndarray, word: np.ndarray) -> np.ndarray:
    """Line of a GRID map's word within its row."""
    block, inside = np.divmod(word, target.block_words)
    return (block * target.block_lines
            + (x // LINE_WORDS * target.steps + step) * target.block_words + inside)


def _store_outside(program: Program, layer: LayerPlan, words: np.ndarray,
                   maps: np.ndarray) -> None:
    """Put a windowed map into external memory: rows of a block together, each in whole bursts."""
    target, bits = layer.destination, program.hardware.port_bits
    line_bytes = -(-program.hardware.geometry.line_bits // bits) * bits // 8
    chunk = -(-target.block_lines * line_bytes // block_bytes(bits)) * block_bytes(bits)
    place = next(step["source_place"] for step in program.instructions if step["op"] is Op.CONV
                 and program.plan.layers[step["layer"]].sources[0] is target)
    x, step, word = np.indices((target.width, target.steps, target.words))
    block, line = np.divmod(_line(target, x, step, word), target.block_lines)
    for y in range(target.height):
        rows = np.zeros((target.blocks, target.block_lines, LINE_WORDS, words.shape[-1]), np.uint8)
        rows[block, line, x % LINE_WORDS] = words[y]
        packed = np.packbits(rows.reshape(target.blocks, target.block_lines, -1), axis=2,
                             bitorder="little")
        for number in range(target.blocks):
            start = place + (number * target.height + y) * chunk
            region = maps[start:start + target.block_lines * line_bytes].reshape(-1, line_bytes)
            region[:, :packed.shape[2]] = packed[number]


def _residual(program: Program, layer: LayerPlan, residual: np.ndarray) -> dict[str, bytes]:
    """The residual stream and its token sums after a layer, from [T, C, H, W]."""
    hardware, geometry = program.hardware, program.hardware.geometry
    values = np.zeros((residual[0, 0].size, len(residual),
                       program.plan.residual_beats * geometry.neurons), np.int64)
    values[..., :residual.shape[1]] = residual.reshape(*residual.shape[:2], -1).transpose(2, 0, 1)
    beats = values.reshape(*values.shape[:2], -1, geometry.neurons)   # [position, T, beat, neuron]
    sums = _fields(beats.sum((0, 1)), hardware.token_sum_width)
    if not hardware.spills_residual:
        stream = _fields(beats.reshape(-1, geometry.neurons), hardware.residual_width)
        return {"residual": readmemh(stream), "sums": readmemh(sums)}
    tiles = [beats[:, :, first:first + geometry.beats].reshape(-1, geometry.neurons)
             for first in range(0, beats.shape[2], geometry.beats)]
    stream = _fields(np.concatenate(tiles), hardware.residual_width)
    stream = np.pad(stream, ((0, 0), (0, -stream.shape[1] % hardware.port_bits)))
    return {"residual": np.packbits(stream, axis=1, bitorder="little").tobytes(),
            "sums": readmemh(sums)}


def _fields(values: np.ndarray, width: int) -> np.ndarray:
    """Numbers [n, F] as bits in two's complement, uint8 [n, F * width]."""
    return (values[..., None] >> np.arange(width) & 1).astype(np.uint8).reshape(len(values), -1)
