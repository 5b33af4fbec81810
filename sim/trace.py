# SPDX-License-Identifier: Apache-2.0
"""What the testbench writes, put together: maps and counters by layer, logits, bytes moved."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hw.memory_map import PortTraffic
from hw.network import Layer, NetworkConfig, Output
from sim.activity import NO_SPAN, NOTHING, Span, Spent
from sim.words import Words, signed_fields


@dataclass(frozen=True)
class Report:
    """What the testbench notes when a layer of an inference is done.

    acs, cycles, saturations: the layer's counters
    spike_lines, residual_lines: lines of the trace files by then
    spent:  the cycles by what they were spent on
    events: that the lanes took
    """

    inference: int
    layer: int
    acs: int
    cycles: int
    saturations: int
    spike_lines: int
    residual_lines: int
    spent: Spent = NOTHING
    events: int = 0

    @classmethod
    def parse(cls, line: str) -> "Report":
        """A line of the testbench's file."""
        numbers = [int(part) for part in line.split()]
        return cls(*numbers[:7], Spent(*numbers[7:11]), *numbers[11:])


@dataclass(frozen=True)
class LayerRun:
    """What the RTL did in one layer of one inference.

    spikes:     bool [T, O, H, W] before pooling, None where no LIF follows
    residual:   int64 [T, O, H, W] after the addition, None where the layer adds to no stream
    spike_seen, residual_seen: int64 [T, positions, words] how often each trace word came, which
                is once in a correct run; None likewise
    channels:   int64 [words * S] logical channel of each bit of a spike word, -1 for padding
    acs, cycles, saturations: the layer's counters
    spent:      the cycles by what they were spent on
    events:     that the lanes took; none of the attention's
    faults:     words that belong nowhere, one sentence each
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
    spent: Spent = NOTHING
    events: int = 0
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inference:
    """One inference as the RTL did it.

    logits:  int64 [classes]
    cycles:  from the end of the previous inference to its last output word
    seconds: of the simulation, an equal share of the whole run
    traffic: bytes that the memory ports moved, as the testbench's memories counted
    predicted: what the program must move
    span:    its cycles from its first sample on, and what they were spent on
    faults:  output that is not as it must be, one sentence each
    """

    layers: tuple[LayerRun, ...]
    logits: np.ndarray
    cycles: int
    seconds: float
    traffic: tuple[PortTraffic, ...] = ()
    predicted: tuple[PortTraffic, ...] = ()
    span: Span = NO_SPAN
    faults: tuple[str, ...] = ()


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


def read_traffic(path: Path, port_bits: int) -> list[tuple[PortTraffic, ...]]:
    """Traffic of each inference from the testbench's file, which holds running totals of beats."""
    before: dict[str, tuple[int, int]] = {}
    inferences: list[list[PortTraffic]] = []
    for line in path.read_text().splitlines():
        port, *numbers = line.split()
        beats = (int(numbers[0]), int(numbers[2]))
        if not inferences or any(each.port == port for each in inferences[-1]):
            inferences.append([])
        read, written = (new - old for new, old in zip(beats, before.get(port, (0, 0))))
        inferences[-1].append(PortTraffic(port, read * port_bits // 8, written * port_bits // 8))
        before[port] = beats
    return [tuple(ports) for ports in inferences]


def layer_run(program: Any, trace: Any, report: Report, spikes: Words,
              residual: Words) -> LayerRun:
    """A layer from the trace words that came while it ran, by the channels of its `LayerTrace`."""
    network, geometry = program.model.network, program.hardware.geometry
    faults: list[str] = []
    layer, channels = trace.layer, np.asarray(trace.channels, np.int64)
    spike_map = spike_seen = stream = stream_seen = None
    wanted = {"spike": layer.lif != "", "residual": layer.output is Output.RESIDUAL}
    kinds = {"spike": spikes, "residual": residual}
    for kind, words in kinds.items():
        mine = words.layer == (trace.index if wanted[kind] else -1)
        for index in np.unique(words.layer[~mine]):
            faults.append(f"{kind} words of layer number {index} came with {layer.name}")
        if not mine.all():
            kinds[kind] = words.select(mine)
    if wanted["spike"]:
        words = kinds["spike"]
        spike_map, spike_seen = _scatter(layer, network, channels, words, words.bits,
                                         geometry.spike_word, "spike", faults)
        spike_map = spike_map.view(bool)
    if wanted["residual"]:
        words = kinds["residual"]
        values = signed_fields(words.bits, program.hardware.residual_width)
        stream, stream_seen = _scatter(layer, network, channels, words, values,
                                       geometry.neurons, "residual", faults)
    return LayerRun(layer, spike_map, stream, spike_seen, stream_seen, channels, report.acs,
                    report.cycles, report.saturations, report.spent, report.events,
                    tuple(faults))


def assemble(program: Any, layers: Sequence[LayerRun], outputs: Outputs, number: int,
             seconds: float, traffic: Sequence[PortTraffic] = (),
             predicted: Sequence[PortTraffic] = (),
             span: Span = NO_SPAN) -> Inference:
    """Inference `number` of a run from its layers and its output words."""
    faults: list[str] = []
    mine = outputs.inference == number
    counters, logits = _outputs(program.model.network, outputs.data[mine], outputs.last[mine],
                                faults)
    rows = {trace.layer.name: counters[trace.index].tolist() for trace in program.traces}
    for run in layers:
        kept = [run.acs, run.cycles, run.saturations]
        if rows[run.layer.name] != kept:
            faults.append(f"output of {run.layer.name}'s counters must be {kept}, as they were "
                          f"kept, not {rows[run.layer.name]}")
    cycles = outputs.cycle[mine]
    before = outputs.cycle[outputs.inference < number]
    return Inference(tuple(layers), logits, int(cycles.max(initial=0) - before.max(initial=0)),
                     seconds, tuple(traffic), tuple(predicted), span, tuple(faults))


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
