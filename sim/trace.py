# SPDX-License-Identifier: Apache-2.0
"""Trace files of the testbench as arrays: spikes, residual stream, logits and counters by layer."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hw.network import Layer, NetworkConfig, Output

# Characters of the fields before the data: inference, layer, position, timestep, word.
FIELDS = (8, 2, 4, 2, 2)
FIELD_TYPES = (np.uint32, np.uint8, np.uint16, np.uint8, np.uint8)

# Lines that are read together: their temporary arrays stay in the processor's cache.
CHUNK = 1 << 13

_DIGITS = np.full(256, 255, np.uint8)
for _i, _digit in enumerate("0123456789abcdef"):
    _DIGITS[ord(_digit)] = _i


@dataclass(frozen=True)
class Words:
    """Trace words: one row for each, in the order of the simulation.

    inference, layer, position, timestep, word: unsigned [n], of `FIELD_TYPES` from a file
    data:  uint8 [n, bytes], least significant byte first, as it is least significant bit first
    width: bits of a word

    A network of paper size makes millions of words for each image, so they stay packed.
    """

    inference: np.ndarray
    layer: np.ndarray
    position: np.ndarray
    timestep: np.ndarray
    word: np.ndarray
    data: np.ndarray
    width: int

    @property
    def bits(self) -> np.ndarray:
        """The data as uint8 [n, width] of zeros and ones, least significant first."""
        return np.unpackbits(self.data, axis=1, count=self.width, bitorder="little")

    def select(self, rows: np.ndarray | slice) -> "Words":
        """The words of a mask, of indices or of a slice."""
        return Words(self.inference[rows], self.layer[rows], self.position[rows],
                     self.timestep[rows], self.word[rows], self.data[rows], self.width)


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
    digits = -(-width // 4)
    widths = (*FIELDS, digits)
    columns = sum(widths) + len(widths)
    size = path.stat().st_size
    if size % columns:
        raise ValueError(f"trace {path.name} must hold lines of {columns} characters, "
                         f"not {size!r} characters in all")
    count = size // columns
    numbers = [np.empty(count, dtype) for dtype in FIELD_TYPES]
    data = np.empty((count, -(-digits // 2)), np.uint8)
    with path.open("rb") as file:
        for first in range(0, count, CHUNK):
            lines = np.fromfile(file, np.uint8, CHUNK * columns).reshape(-1, columns)
            nibbles, rows = _DIGITS[lines], slice(first, first + len(lines))
            start = 0
            for number, length in zip((*numbers, None), widths, strict=True):
                field = nibbles[:, start:start + length]
                if (field > 15).any():
                    raise ValueError(f"trace {path.name} must hold hexadecimal digits in columns "
                                     f"{start} to {start + length - 1}")
                if number is None:
                    data[rows] = _packed(field)
                else:
                    number[rows] = _number(field, number.dtype)
                start += length + 1
    return Words(*numbers, data, width)


def _number(digits: np.ndarray, dtype: np.dtype) -> np.ndarray:
    number = np.zeros(len(digits), dtype)
    for digit in digits.T:
        number = number << np.uint8(4) | digit
    return number


def _packed(digits: np.ndarray) -> np.ndarray:
    """Digits [n, length], most significant first, to bytes, least significant first."""
    low, high = digits[:, ::-2], digits[:, -2::-2]
    packed = low.copy()
    packed[:, :high.shape[1]] |= high << np.uint8(4)
    return packed


def signed_fields(bits: np.ndarray, width: int) -> np.ndarray:
    """Two's complement numbers of `width` bits packed in words: [n, F * width] to int64 [n, F]."""
    # Up to 24 bits: float32 holds every partial sum, and multiplies matrices faster than integers.
    powers = 2.0 ** np.arange(width, dtype=np.float32)
    powers[-1] = -powers[-1]
    return (bits.reshape(len(bits), -1, width).astype(np.float32) @ powers).astype(np.int64)


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
    spikes = _together(spikes, spikes.inference == number)
    residual = _together(residual, residual.inference == number)
    layers = []
    for trace in program.traces:
        layer, channels = trace.layer, np.asarray(trace.channels, np.int64)
        spike_map = spike_seen = stream = stream_seen = None
        if layer.lif:
            words = _together(spikes, spikes.layer == trace.index)
            spike_map, spike_seen = _scatter(layer, network, channels, words, words.bits,
                                             geometry.spike_word, "spike", faults)
            spike_map = spike_map.view(bool)
        if layer.output is Output.RESIDUAL:
            words = _together(residual, residual.layer == trace.index)
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


def _together(words: Words, mask: np.ndarray) -> Words:
    """The words of a mask, without a copy where they follow each other, as in an orderly run."""
    rows = np.flatnonzero(mask)
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1:
        return words.select(slice(rows[0], rows[-1] + 1))
    return words.select(rows)


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

    Returns the map [T, O, H, W] of the type of `values` and how often each word came, int64
    [T, positions, words].
    """
    count = -(-len(channels) // size)
    places = np.full(count * size, layer.out_channels)   # one more channel takes the padding bits
    places[:len(channels)] = np.where(channels < 0, layer.out_channels, channels)
    shape = (network.timesteps, layer.positions, count)
    good = ((words.timestep < shape[0]) & (words.position < shape[1]) & (words.word < shape[2]))
    for row in np.flatnonzero(~good)[:5]:
        faults.append(f"{layer.name}: {kind} word at timestep {words.timestep[row]}, "
                      f"token {words.position[row]}, word {words.word[row]} is outside of the map")
    if not good.all():
        words, values = words.select(good), values[good]
    index = (words.timestep.astype(np.int64) * shape[1] + words.position) * shape[2] + words.word
    seen = np.bincount(index, minlength=np.prod(shape)).reshape(shape)
    stored = np.zeros((np.prod(shape), size), values.dtype)
    stored[index] = values
    stored = stored.reshape(network.timesteps, layer.positions, count * size).transpose(0, 2, 1)
    result = np.zeros((network.timesteps, layer.out_channels + 1, layer.positions), values.dtype)
    result[:, places] = stored
    result = result[:, :-1]
    return (result.reshape(network.timesteps, layer.out_channels, layer.height, layer.width), seen)
