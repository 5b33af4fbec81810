# SPDX-License-Identifier: Apache-2.0
"""Cycles of an inference, predicted by the compiler from the spikes of each layer alone.

`predict` walks the program as the hardware does: instruction by instruction, line by line, with the
queues of the banks, the ring of weight tiles and the latency of the weight port's memory.  A group
takes what its banks take, which `hw.cycles_engine` finds from the number of spikes in each word; no
weight is looked at and no sum is formed.

Not modelled: pauses of a memory, or of the streams of samples and results; and that rows of a map
on their way out give way to the max-pool, which reads the same memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hw import cycles_attention, cycles_engine
from hw.compiler import Program
from hw.cycles_engine import Memories, OnChip, Results
from hw.cycles_external import ResidualPort, RowSource, RowTarget
from hw.cycles_lines import walk
from hw.cycles_stream import WeightStream
from hw.isa import Emit, Instruction, Op
from hw.layout import LayerPlan

DEFAULT_LATENCY = 40   # of external memory: that of `sim`

Source = np.ndarray | Sequence[np.ndarray]


@dataclass(frozen=True)
class LayerCycles:
    """Cycles of one layer, as its counter in the RTL has them, split by what they are spent on.

    compute:     the lanes take an event, or the attention works on one
    weight_wait: neither, and Gather waits for a tile of weights
    fill_drain:  a layer runs but adds nothing for another reason
    idle:        no layer runs: instructions are fetched
    events:      rows of weights added, of KV for attention
    slots:       events that the lanes could take in a cycle
    """

    name: str
    cycles: int
    compute: int
    weight_wait: int
    fill_drain: int
    idle: int
    events: int
    slots: int

    @property
    def busy(self) -> float:
        """Share of the lanes' adders that add a row, in the mean over the layer's cycles."""
        return self.events / (self.slots * self.cycles)


@dataclass(frozen=True)
class Prediction:
    """A whole inference.

    cycles: from the first sample that is accepted to the last word of output, both included
    period: from the last word of output of an inference to that of the next
    idle:   of these, the ones of no layer's part but `idle`: input, output, fetch of instructions;
            with compute, weight_wait and fill_drain of the layers they sum to `cycles`
    """

    layers: tuple[LayerCycles, ...]
    cycles: int
    period: int

    @property
    def idle(self) -> int:
        return self.cycles - sum(layer.cycles - layer.idle for layer in self.layers)


def predict(program: Program, maps: Mapping[str, Source] | Sequence[Source],
            latency: int = DEFAULT_LATENCY) -> list[LayerCycles]:
    """Cycles of every layer.

    maps:    what each layer reads, by its name or in the order of `network.layers()`: bool
             [T, C, H, W] after pooling; of the encoder the integer input [C, H, W] or [T, C, H, W];
             of attention q, k and v; of a classifier that is not spiking the token sums, integers
             [C]
    latency: cycles from a read request to the first beat of an external memory

    Raises ValueError if a map is missing or has another shape.
    """
    return list(predict_inference(program, maps, latency).layers)


def predict_inference(program: Program, maps: Mapping[str, Source] | Sequence[Source],
                      latency: int = DEFAULT_LATENCY) -> Prediction:
    """The whole inference; arguments and errors as of `predict`."""
    names = [plan.layer.name for plan in program.plan.layers]
    if not isinstance(maps, Mapping):
        if len(maps) != len(names):
            raise ValueError(f"maps must be of {len(names)} layers, not {len(maps)!r}")
        maps = dict(zip(names, maps))
    missing = [name for name in names if name not in maps]
    if missing:
        raise ValueError(f"maps must have the source of {missing[0]}, not only {sorted(maps)!r}")
    return _Timeline(program, maps, latency).run()


class _Timeline:
    """The sequencer: cycle 0 is its Restart."""

    def __init__(self, program: Program, maps: Mapping[str, Source], latency: int) -> None:
        self.program, self.maps, self.hardware = program, maps, program.hardware
        self.latency = latency
        self.tiles: WeightStream | OnChip
        self.now = 0   # the cycle that ended what came before
        if self.hardware.streamed:
            self.tiles = WeightStream(program, latency)
            self.now = self.tiles.program_ready
        else:
            self.tiles = OnChip(self.hardware.geometry.banks)
        # Fetch, one state a word, Start.
        self._fetch = Instruction(self.hardware).words + 2

    def run(self) -> Prediction:
        layers, first, counted, idle = [], 0, 0, 0
        for values in self.program.instructions:
            start = self.now + self._fetch
            idle += self._fetch
            match values["op"]:
                case Op.LOAD:
                    first = start + 2
                    self._load(values, start)
                    counted, idle = self.now, 0
                case Op.PLANES:
                    # One more: the last word is written from registers.
                    self.now = start + values["planes"] * values["residual_stride"] + 1
                case Op.END:
                    last = start + values["outputs"] + 3 * values["counters"]
                    return Prediction(tuple(layers), last - first + 1, last + 1)
                case _:
                    layers.append(self._layer(values, start, counted, idle))
                    counted, idle = self.now, 0
        raise ValueError("program must end with END, which it does not")

    def _load(self, values: dict[str, int], start: int) -> None:
        """A cycle for each sample, and one before each row."""
        target = RowTarget(self.hardware, values) if values.get("target_window") else None
        samples = values["width"] * values["timesteps"] * self.hardware.in_channels
        self.now = start
        for _ in range(values["height"]):
            begun = self.now + 1
            if target:
                begun = target.begin(begun)
            self.now = begun + samples
            if target:
                target.done(self.now)
        if target:
            self.now = max(self.now, target.idle)

    def _layer(self, values: dict[str, int], start: int, counted: int, idle: int) -> LayerCycles:
        """The layer that starts in cycle `start`; the one before ended in cycle `counted`."""
        plan = self.program.plan.layers[values["layer"]]
        name, source = plan.layer.name, self.maps[plan.layer.name]
        if values["op"] == Op.ATTENTION:
            queries, keys = source[0], source[1]
            spent = cycles_attention.run(self.hardware, plan, queries, keys)
            self.now = start + spent.cycles
            compute, wait, events = spent.busy, 0, spent.events
        else:
            ran = cycles_engine.run(
                self.hardware, walk(self.program, plan, values, np.asarray(source)),
                self._results(values, plan), self._memories(values, start), start)
            self.now = ran.end
            compute, events = int(ran.busy.sum()), ran.events
            # The lanes see events one cycle after Dispatch issues them.
            wait = sum(int((~ran.busy[first - start - 1:last - start - 1]).sum())
                       for first, last in ran.waits)
        cycles = self.now - counted - 1
        return LayerCycles(name, cycles, compute, wait, cycles - compute - wait - idle, idle,
                           events, self.hardware.geometry.slots)

    def _results(self, values: dict[str, int], plan: LayerPlan) -> Results:
        geometry = self.hardware.geometry
        # Two positions beside each other come in one group.
        beats = [plan.beats(tile, geometry) << plan.beside for tile in range(plan.tiles)]
        # Drain repeats the sum of a static input for each timestep.
        repeats = values["timesteps"] - 1 if values["repeat"] else 0
        return Results(beats, repeats * (max(beats[0], values["interval"]) + 1),
                       bool(values.get("fire")), bool(values.get("pool")),
                       geometry.spike_word // geometry.neurons,
                       geometry.neurons if values["emit"] == Emit.LOGITS else 0)

    def _memories(self, values: dict[str, int], start: int) -> Memories:
        source = target = residual = None
        if values.get("source_window"):
            source = RowSource(values, start, self.latency)
        if values.get("target_window"):
            target = RowTarget(self.hardware, values)
        if self.hardware.spills_residual and values["emit"] == Emit.RESIDUAL:
            residual = ResidualPort(self.hardware, start, self.latency, values["stream_beats"],
                                    bool(values["add_residual"]))
        return Memories(self.tiles, source, target, residual)
