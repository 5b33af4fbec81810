# SPDX-License-Identifier: Apache-2.0
"""Two neighbouring positions at a time: what they share is added, or read, once.

**Pairs** share the additions that both of them need.

Neighbours see similar inputs.  For a pair of positions x and x + 1 at one timestep the inputs
that are set in both (C), only at x (A) and only at x + 1 (B) make three groups; with integers

    sum(x) = sum(C) + sum(A),    sum(x + 1) = sum(C) + sum(B)

hold exactly, so a lane adds C once, keeps its sum, goes on with A, and starts from the kept sum
again with B.  Instead of |x| + |x + 1| rows of weights |x or x + 1| are added.  In a convolution
the inputs are taps: the tap of x and the same tap of x + 1 lie in neighbouring columns.

**Beside** each other, each in lanes of its own, two positions of a layer with few output channels
fill lanes that had nothing to do.  A spike of column x - 1 + j reads a row that has the
tap j for x and the tap j - 1 for x + 1, zero where there is none: of four columns instead of twice
three.

What takes fewer cycles depends on the layer: a short group costs its lines, its banks' imbalance
and the finish pipeline's time however few events it has.  `walks` decides it from
`hw.model.Activity`.
"""

from collections.abc import Collection
from math import ceil, sqrt

from hw.layout import LINE_WORDS, Geometry, LayerPlan, Walk
from hw.model import Activity, FixedPointModel
from hw.network import Kind, Layer, Output

# Mean of the largest of n standard normal numbers: how much the fullest of n banks exceeds the
# mean, in standard deviations.
_LARGEST = {1: 0.0, 2: 0.56, 4: 1.03, 8: 1.42, 16: 1.77}
# Slices and the last odd event of a bank leave ports empty: part of a cycle per group.
_ROUNDING = 0.4
# Of layers that nobody has measured.
_TYPICAL, _IMAGE = Activity(0.15, 0.05), Activity(0.5, 0.25)
# Cycles must fall by this share before a layer is paired.
_GAIN = 0.02


def can_be_beside(layer: Layer, geometry: Geometry) -> bool:
    """Convolutions whose output channels fit the lanes twice, in whole words.

    Words of one position come at least two cycles before those of its neighbour, which may belong
    to the same pooling window.
    """
    stored = geometry.words(layer.out_channels) * geometry.spike_word
    return (layer.kernel == 3 and layer.output is Output.SPIKES and layer.width % 2 == 0
            and 2 * stored <= geometry.lanes and stored // geometry.neurons >= 2)


def can_pair(layer: Layer) -> bool:
    """Layers whose positions can be taken two by two.

    Bit planes join in the lanes, so the encoder's sums cannot be kept; the attention engine writes
    one position at a time, so its reader takes one at a time.
    """
    return (layer.kind is Kind.CONV and layer.width % 2 == 0
            and layer.name.rpartition(".")[2] != "proj")


def group_cycles(events: float, lines: int, geometry: Geometry) -> float:
    """Estimated cycles of a group with so many events in so many lines."""
    if events <= 0:
        return max(1, lines)
    bank = events / geometry.banks
    spread = _LARGEST.get(geometry.banks, 2.0) * sqrt(bank)
    return max(1, lines, (bank + spread) / geometry.ports + _ROUNDING)


def step_cycles(layer: Layer, activity: Activity, geometry: Geometry) -> dict[Walk, float]:
    """Estimated cycles of two positions at one timestep (or bit plane), in each way."""
    inputs = layer.in_channels * layer.kernel ** 2
    words = geometry.words(layer.in_channels)
    beats = ceil(min(layer.out_channels, geometry.lanes) / geometry.neurons)
    if layer.kind is Kind.ENCODER:
        beats = 1   # planes join, so that few groups leave the lanes
    if layer.kernel == 3:
        alone_lines = pair_lines = 3 * words
    else:
        alone_lines, pair_lines = ceil(words / LINE_WORDS), ceil(2 * words / LINE_WORDS)
    alone = group_cycles(activity.density * inputs, alone_lines, geometry)
    both = group_cycles(activity.shared * inputs, pair_lines, geometry)
    rest = group_cycles((activity.density - activity.shared) * inputs, pair_lines, geometry)
    cycles = {Walk.ALONE: 2 * max(alone, beats)}
    if can_pair(layer):
        cycles[Walk.PAIRS] = max(both + rest, beats) + max(rest, beats)
    if can_be_beside(layer, geometry):
        cycles[Walk.BESIDE] = max(2 * beats, group_cycles(
            activity.density * inputs * 4 / 3, 3 * words, geometry))
    return cycles


def activity_of(layer: Layer, model: FixedPointModel) -> Activity:
    """As measured, or something typical."""
    return model.activity.get(layer.name,
                              _IMAGE if layer.kind is Kind.ENCODER else _TYPICAL)


def walks(model: FixedPointModel, geometry: Geometry, pairs: bool = True, beside: bool = True,
          one_order: bool = False) -> dict[str, Walk]:
    """Layers that take fewer cycles two positions at a time, by name.

    pairs, beside: whether the hardware can
    one_order: all layers that add to the residual stream must walk it in the same order (it lies in
               external memory), so they are paired together or not at all
    """
    possible = {Walk.ALONE} | ({Walk.PAIRS} if pairs else set()) | (
        {Walk.BESIDE} if beside else set())
    layers = [layer for layer in model.network.layers()
              if layer.name in model.activity or layer.kind is Kind.ENCODER]
    chosen: dict[str, Walk] = {}
    for group in _together(layers, one_order):
        total = dict.fromkeys(possible, 0.0)
        for layer in group:
            cycles = step_cycles(layer, activity_of(layer, model), geometry)
            tiles = ceil(layer.out_channels / geometry.lanes)
            total = {walk: total[walk] + tiles * layer.positions * cycles[walk]
                     for walk in total.keys() & cycles.keys()}
        best = min(total, key=lambda walk: (total[walk], walk.value))
        if total[best] < (1 - _GAIN) * total[Walk.ALONE]:
            chosen |= {layer.name: best for layer in group}
    return chosen


def _together(layers: Collection[Layer], one_order: bool) -> list[list[Layer]]:
    """Layers that must be decided together: q, k and v read one map; see `one_order`."""
    groups: dict[str, list[Layer]] = {}
    for layer in layers:
        block, _, branch = layer.name.rpartition(".")
        key = layer.name
        if branch in ("q", "k", "v"):
            key = f"{block}.qkv"
        elif one_order and layer.output is Output.RESIDUAL:
            key = "residual"
        groups.setdefault(key, []).append(layer)
    return list(groups.values())


def tile_cycles(plan: LayerPlan, model: FixedPointModel, geometry: Geometry) -> float:
    """Estimated cycles in which a tile of a layer is used."""
    layer, network = plan.layer, model.network
    if layer.kind is Kind.CLASSIFIER:
        return 0.0
    steps = network.timesteps
    if layer.kind is Kind.ENCODER:   # bit planes, and one sum for all timesteps of a static input
        steps = model.input.bits * (1 if network.static_input else steps)
    cycles = step_cycles(layer, activity_of(layer, model), geometry)
    return layer.positions * steps * cycles[plan.walk] / 2
