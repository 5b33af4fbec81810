# SPDX-License-Identifier: Apache-2.0
"""Random fixed-point models that are alive: for tests and benchmarks of any configuration.

A network with random weights is dead from the second LIF on.  Here the thresholds are set, layer by
layer, so that a wanted share of neurons fires on random input; weights, biases, grids and shifts
are random.
"""

import numpy as np
from torch import Tensor

from hw.model import FixedPointModel, InputFormat, LayerTensors, ResidualFormat, Samples
from hw.network import Layer, NetworkConfig, Output
from quantize.golden import GoldenModel

# Firing rates: attention multiplies three of them, so its inputs need more to have an output.
DENSITY = 0.2
BRANCH_DENSITY = 0.6


def random_model(network: NetworkConfig, seed: int = 0, weight_bits: int = 8,
                 input_format: InputFormat | None = None, residual: ResidualFormat | None = None,
                 density: float = DENSITY) -> FixedPointModel:
    """A model whose every LIF fires, on inputs of `random_samples` with the same seed.

    input_format: default 5 unsigned bits
    residual:     default 16 bits, 4 of them fraction
    density:      approximate firing rate
    """
    rng = np.random.default_rng(seed)
    fmt = input_format or InputFormat(5, False, 1 / 16, (0.0,) * network.in_channels,
                                      (1.0,) * network.in_channels)
    tensors = {layer.name: _random_tensors(layer, rng, weight_bits)
               for layer in network.layers() if layer.has_weights}
    model = FixedPointModel(network, weight_bits, fmt, residual or ResidualFormat(16, 4), tensors)
    # A layer's threshold changes only what comes after it: one walk sets them all.
    golden = _Calibration(model, density)
    for _ in golden.steps(_random_inputs(model, 2, seed)):
        pass
    return model


class _Calibration(GoldenModel):
    """Sets the threshold of each LIF to what its first inputs need to fire as often as wanted."""

    def __init__(self, model: FixedPointModel, density: float) -> None:
        super().__init__(model)
        self.density = density

    def _fire(self, layer: Layer, x: Tensor) -> Tensor:
        wanted = BRANCH_DENSITY if layer.name.rpartition(".")[2] in "qkv" else self.density
        level = np.quantile(x.numpy() * 1.5, 1 - wanted, axis=(0, 1, 3, 4))
        self.model.tensors[layer.name].threshold[:] = np.maximum(level, 1).astype(np.int64)
        return super()._fire(layer, x)


def random_samples(model: FixedPointModel, count: int, seed: int = 0) -> Samples:
    """Uniformly random inputs; the labels are what the golden model answers."""
    inputs = _random_inputs(model, count, seed)
    return Samples(inputs, GoldenModel(model).logits(inputs).argmax(1))


def _random_inputs(model: FixedPointModel, count: int, seed: int) -> np.ndarray:
    network, fmt = model.network, model.input
    shape = (network.in_channels, network.image_height, network.image_width)
    if not network.static_input:
        shape = (network.timesteps, *shape)
    return np.random.default_rng(seed).integers(fmt.minimum, fmt.maximum + 1, (count, *shape))


def _random_tensors(layer: Layer, rng: np.random.Generator, weight_bits: int) -> LayerTensors:
    limit = 1 << weight_bits - 1
    shape = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
    return LayerTensors(
        weight=rng.integers(-limit, limit, shape).astype(np.int8),
        bias=rng.integers(-200, 200, layer.out_channels), bias_shift=int(rng.integers(0, 5)),
        # Both directions, with ties: right shifts round.
        shift=(rng.integers(-2, 6, layer.out_channels) if layer.output is Output.RESIDUAL
               else None),
        threshold=np.full(layer.out_channels, 100) if layer.lif else None)
