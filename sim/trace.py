# SPDX-License-Identifier: Apache-2.0
"""Trace files of the testbench as arrays: spikes, residual stream, logits and counters by layer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hw.network import Layer, NetworkConfig, Output

# Characters of the fields before the data: inference, layer, position, timestep, word.
FIELDS = (8, 2, 4, 2, 2)

_DIGITS = np.full(256, 255, np.uint8)
for _i, _digit in enumerate("0123456789abcdef"):
    _DIGITS[ord(_digit)] = _i


@dataclass(frozen=True)
class Words:
    """Trace words: one row for each, in the order of the simulation.

    inference, layer, position, timestep, word: int64 [n]
    bits: uint8 [n, width], least significant first
    """

    inference: np.ndarray
    layer: np.ndarray
    position: np.ndarray
    timestep: np.ndarray
    word: np.ndarray
    bits: np.ndarray

    def select(self, rows: np.ndarray) -> "Words":
        return Words(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class LayerRun:
    """What the RTL did in one layer of one inference.

    spikes:     bool [T, O, H, W] before pooling, None where no LIF follows
    residual:   int64 [T, O, H, W] after the addition, None where the layer adds to no stream
    spike_seen, residual_seen: int64 [T, positions, words] how often each trace word came, which
                is once in a correct run; None likewise
    channels:   int64 [words * S] logical channel of each bit of a spike word, -1 for padding
    acs, cycles, saturations: the layer's counters
    """

    layer: Layer
    spikes: np.ndarray | None
    residual: np.ndarray | None
    spike_seen: np.ndarray | None
    residual_seen: np.ndarray | None
    channels: np.ndarray
    acs: int
    cycles: int
    saturations: int


@dataclass(frozen=True)
class Inference:
    """One inference as the RTL did it.

    logits:  int64 [classes]
    cycles:  from the end of the previous inference to its last output word
    seconds: of the simulation, an equal share of the whole run
    faults:  words that belong nowhere, one sentence each
    """

    layers: tuple[LayerRun, ...]
    logits: np.ndarray
    cycles: int
    seconds: float
    faults: list[str] = field(default_factory=list)


def read_words(path: Path, width: int) -> Words:
    """Read a trace file of words of `width` bits.

    Raises ValueError if the file is not what the testbench writes.
    """
    widths = (*FIELDS, -(-width // 4))
    columns = sum(widths) + len(widths)
    raw = np.fromfile(path, np.uint8)
    if raw.size % columns:
        raise ValueError(f"trace {path.name} must hold lines of {columns} characters, "
                         f"not {raw.size!r} characters in all")
    lines = raw.reshape(-1, columns)
    fields, start = [], 0
    for size in widths:
        fields.append(_DIGITS[lines[:, start:start + size]])
        start += size + 1
        if (fields[-1] > 15).any():
            raise ValueError(f"trace {path.name} must hold hexadecimal digits in columns "
                             f"{start - size - 1} to {start - 2}")
    numbers = [_number(digits) for digits in fields[:-1]]
    nibbles = fields[-1][:, ::-1]  # least significant first
    bits = (nibbles[:, :, None] >> np.arange(4, dtype=np.uint8)) & 1
    return Words(*numbers, bits.reshape(len(lines), 4 * widths[-1])[:, :width])


def _number(digits: np.ndarray) -> np.ndarray:
    powers = 16 ** np.arange(digits.shape[1] - 1, -1, -1, dtype=np.int64)
    return digits.astype(np.int64) @ powers


def signed_fields(bits: np.ndarray, width: int) -> np.ndarray:
    """Two's complement numbers of `width` bits packed in words: [n, F * width] to int64 [n, F]."""
    powers = 1 << np.arange(width, dtype=np.int64)
    powers[-1] = -powers[-1]
    return bits.reshape(len(bits), -1, width).astype(np.int64) @ powers


@dataclass(frozen=True)
class Outputs:
    """Output words, and how the run ended.

    inference, data, cycle: int64 [n]; last: bool [n]
    stalled: the watchdog gave the run up at cycle `cycles` with `samples` sent
    """

    inference: np.ndarray
    last: np.ndarray
    data: np.ndarray
    cycle: np.ndarray
    stalled: bool
    cycles: int
    samples: int


def read_outputs(path: Path) -> Outputs:
    """Read the testbench's file of output words; ValueError if it has no end."""
    lines = path.read_text().splitlines()
    if not lines or not lines[-1].startswith("end "):
        raise ValueError(f"outputs {path.name} must end with the line \"end\", "
                         f"not {(lines or [''])[-1]!r}: the simulator died")
    rows = np.array([[int(part, 16) for part in line.split()] for line in lines[:-1]],
                    np.uint64).reshape(-1, 4)
    stalled, cycles, samples, _ = (int(part) for part in lines[-1].split()[1:])
    return Outputs(rows[:, 0].astype(np.int64), rows[:, 1] == 1, rows[:, 2].astype(np.int64),
                   rows[:, 3].astype(np.int64), bool(stalled), cycles, samples)


def assemble(program: Any, spikes: Words, residual: Words, outputs: Outputs,
             number: int, seconds: float) -> Inference:
    """Inference `number` of a run from its words, by the channel order in `program.traces`."""
    network, geometry = program.model.network, program.hardware.geometry
    faults: list[str] = []
    mine = outputs.inference == number
    counters, logits = _outputs(network, outputs.data[mine], outputs.last[mine], faults)
    spikes = spikes.select(spikes.inference == number)
    residual = residual.select(residual.inference == number)
    layers = []
    for trace in program.traces:
        layer, channels = trace.layer, np.asarray(trace.channels, np.int64)
        spike_map = spike_seen = stream = stream_seen = None
        if layer.lif:
            words = spikes.select(spikes.layer == trace.index)
            spike_map, spike_seen = _scatter(layer, network, channels, words, words.bits,
                                             geometry.spike_word, "spike", faults)
            spike_map = spike_map.astype(bool)
        if layer.output is Output.RESIDUAL:
            words = residual.select(residual.layer == trace.index)
            values = signed_fields(words.bits, program.hardware.residual_width)
            stream, stream_seen = _scatter(layer, network, channels, words, values,
                                           geometry.neurons, "residual", faults)
        layers.append(LayerRun(layer, spike_map, stream, spike_seen, stream_seen, channels,
                               *(int(value) for value in counters[trace.index])))
    for words, kind, wanted in (
            (spikes, "spike", [t.index for t in program.traces if t.layer.lif]),
            (residual, "residual",
             [t.index for t in program.traces if t.layer.output is Output.RESIDUAL])):
        for index in np.setdiff1d(words.layer, wanted):
            faults.append(f"{kind} words came for layer number {index}, which has none")
    cycles = outputs.cycle[mine]
    before = outputs.cycle[outputs.inference < number]
    return Inference(tuple(layers), logits,
                     int(cycles.max(initial=0) - before.max(initial=0)), seconds, faults)


def _outputs(network: NetworkConfig, data: np.ndarray, last: np.ndarray,
             faults: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Counters int64 [layers, 3] and logits of one inference's output words."""
    layers = len(network.layers())
    wanted = network.num_classes + 3 * layers
    if len(data) != wanted or not last[-1:].all():
        faults.append(f"output must be {wanted} words, not {len(data)!r}")
    data = np.concatenate([data, np.full(max(0, wanted - len(data)), -1, np.int64)])[:wanted]
    return data[network.num_classes:].reshape(layers, 3), data[:network.num_classes]


def _scatter(layer: Layer, network: NetworkConfig, channels: np.ndarray, words: Words,
             values: np.ndarray, size: int, kind: str,
             faults: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Put `values` [n, size] of trace words in their places.

    Returns the map int64 [T, O, H, W] and how often each word came, int64 [T, positions, words].
    """
    count = -(-len(channels) // size)
    places = np.full(count * size, -1, np.int64)
    places[:len(channels)] = channels
    places = places.reshape(count, size)
    shape = (network.timesteps, layer.positions, count)
    good = ((words.timestep < shape[0]) & (words.position < shape[1]) & (words.word < shape[2]))
    for row in np.flatnonzero(~good)[:5]:
        faults.append(f"{layer.name}: {kind} word at timestep {words.timestep[row]}, "
                      f"token {words.position[row]}, word {words.word[row]} is outside of the map")
    t, p, w = words.timestep[good], words.position[good], words.word[good]
    seen = np.zeros(shape, np.int64)
    np.add.at(seen, (t, p, w), 1)
    # One more channel takes what padding bits say.
    result = np.zeros((network.timesteps, layer.positions, layer.out_channels + 1), np.int64)
    result[t[:, None], p[:, None], places[w]] = values[good]
    result = result[:, :, :-1].transpose(0, 2, 1)
    return (result.reshape(network.timesteps, layer.out_channels, layer.height, layer.width), seen)
