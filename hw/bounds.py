# SPDX-License-Identifier: Apache-2.0
"""Largest values that any input can produce, proved from the weights of a model.

The registers of the hardware get their widths from these bounds, so nothing can overflow.
"""

from dataclasses import dataclass

from hw.layout import token_sum_width
from hw.model import FixedPointModel, LayerTensors
from hw.network import Kind, Layer, NetworkConfig, Output


def signed_width(limit: int) -> int:
    """Bits of a two's complement number that holds -limit to limit."""
    return limit.bit_length() + 1


@dataclass(frozen=True)
class LayerBounds:
    """Bounds on absolute values of one layer, in units of its own grids.

    sum:     one group: the weights of the input bits that are set.  At most the sum of a channel's
             positive or of its negative weights.
    total:   sums of all bit planes, or of all spikes in a spiking head
    current: y = (total << bias_shift) + bias
    state:   h of the LIF that follows, and its threshold; 0 without a LIF
    """

    sum: int
    total: int
    current: int
    state: int


def layer_bounds(model: FixedPointModel) -> dict[str, LayerBounds]:
    """Bounds of every layer with weights, by name."""
    bounds = {}
    for layer in model.network.layers():
        if layer.has_weights:
            tensors = model.tensors[layer.name]
            total = tensors.max_sum * _repeats(model, layer)
            current = (total << tensors.bias_shift) + int(abs(tensors.bias).max())
            entering = (model.residual.maximum + 1 if layer.output is Output.RESIDUAL else current)
            bounds[layer.name] = LayerBounds(tensors.max_sum, total, current,
                                             _state(model.network, tensors, entering))
    return bounds


def _repeats(model: FixedPointModel, layer: Layer) -> int:
    """The largest number that multiplies a weight when the groups of one sum come together.

    B planes of a two's complement number reach -2**(B-1), but weights of both signs may then add
    up, twice `max_sum` in all: 2**B covers that, and unsigned numbers too.
    """
    network = model.network
    if layer.kind is Kind.ENCODER:
        return 1 << model.input.bits
    if layer.kind is Kind.CLASSIFIER:
        return (network.tokens * network.timesteps if network.classifier.spiking
                else 1 << token_sum_width(network, model.residual.width))
    return 1


def _state(network: NetworkConfig, tensors: LayerTensors, entering: int) -> int:
    """h = v + x or v + 2x: v is a weighted mean of inputs >= -m, and below threshold / 2 or 3."""
    if tensors.threshold is None:
        return 0
    threshold = int(abs(tensors.threshold).max())
    if network.tau == 2:
        return max(2 * entering, threshold // 2 + entering, threshold)
    return max(3 * entering, threshold // 3 + 2 * entering, threshold)
