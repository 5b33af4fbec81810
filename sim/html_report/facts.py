# SPDX-License-Identifier: Apache-2.0
"""What a report shows: one inference in RTL simulation, and what is known beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hw.command import first_line
from hw.compiler import Program
from hw.memory_map import MemoryMap, memory_map
from hw.network import Kind, Layer, NetworkConfig, Output
from quantize.comparison import Row as Beside
from quantize.energy import Operations, paper_operations
from quantize.golden import LayerResult
from quantize.rates import pooled_rates, target_rates
from sim.compare import Comparison
from sim.counts import Row
from sim.trace import Inference

IMAGE = -1


@dataclass(frozen=True)
class Facts:
    """Everything that the page is drawn from.

    image:      integer raw values [C, H, W] (static) or [T, C, H, W]
    label:      the true one, None if unknown
    rows:       of each layer and the total, `sim.counts.count`
    spikformer: a Spikformer of equal shape layer by layer, None without a checkpoint
    accuracy:   {weight bits: share of right labels}, and under 0 the float model's
    build:      contents of a report.json of `hw.build`, and under "floorplan" the modules of its
                floorplan.json where it was placed; None without a build
    explored:   contents of a file of `hw.explore --points`, None where there is none
    """

    program: Program
    image: np.ndarray
    label: int | None
    inference: Inference
    golden: Sequence[LayerResult]
    comparison: Comparison
    rows: Sequence[Row]
    memory: MemoryMap
    spikformer: Sequence[Beside] | None
    accuracy: Mapping[int, float]
    build: Mapping[str, Any] | None
    explored: Mapping[str, Any] | None

    @property
    def network(self) -> NetworkConfig:
        return self.program.model.network

    @property
    def layers(self) -> Sequence[Layer]:
        return self.network.layers()

    @property
    def names(self) -> list[str]:
        return [layer.name for layer in self.layers]


def manifest_accuracy(program: Program) -> dict[int, float]:
    """What the model directory says of its own accuracy, {} if nothing."""
    known, bits = program.model.accuracy, program.model.weight_bits
    return {0: known["float"], bits: known["integer"]} if known else {}


def read_json(path: Path, keys: Sequence[str]) -> Mapping[str, Any]:
    """An object with at least `keys`; ValueError, one sentence, if it is none."""
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be JSON: {first_line(error)}") from None
    if not isinstance(content, dict) or not set(keys) <= set(content):
        raise ValueError(f"{path} must be an object with {', '.join(keys)}, "
                         f"not {str(content)[:60]!r}")
    return content


def sources(layers: Sequence[Layer]) -> list[tuple[int, ...]]:
    """Of each layer the numbers of those whose spikes it reads; `IMAGE` for the encoder."""
    found: list[tuple[int, ...]] = []
    stream = IMAGE
    for index, layer in enumerate(layers):
        if layer.kind is Kind.ENCODER:
            found.append((IMAGE,))
        elif layer.kind is Kind.ATTENTION:
            found.append((index - 3, index - 2, index - 1))
        elif layer.name.endswith((".q", ".k", ".v", ".mlp1")) or layer.kind is Kind.CLASSIFIER:
            found.append((stream,))
        else:
            found.append((index - 1,))
        if layer.output is Output.RESIDUAL:
            stream = index
    return found


def published_operations(network: NetworkConfig) -> list[Operations]:
    """ACs and MACs of each layer by Eq. 18 at the rates that the authors measured on 8-512."""
    layers = network.layers()
    rates = target_rates(network) | pooled_rates(network)
    found = []
    for layer, read in zip(layers, sources(layers), strict=True):
        known = tuple(rates[layers[number].lif] for number in read
                      if number != IMAGE and layers[number].lif)
        found.append(paper_operations(layer, known, network.timesteps, network.head_dim))
    return found


def gather(program: Program, image: np.ndarray, label: int | None, inference: Inference,
           golden: Sequence[LayerResult], comparison: Comparison, rows: Sequence[Row],
           **beside: Any) -> Facts:
    """The facts, with the memory map of the program; `beside`: the last fields of `Facts`."""
    return Facts(program, image, label, inference, golden, comparison, rows, memory_map(program),
                 **beside)
