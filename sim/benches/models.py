# SPDX-License-Identifier: Apache-2.0
"""Fixed-point models with random weights that keep firing, for tests of the hardware."""

from dataclasses import replace
from typing import Any

import numpy as np

from hw.config import HardwareConfig
from hw.isa import WORD_BITS, Instruction
from hw.model import Activity, FixedPointModel, InputFormat, LayerTensors, ResidualFormat
from hw.network import Kind, NetworkConfig, Output

SMALL = NetworkConfig(embed_dim=32, depth=1, num_heads=2, timesteps=3, in_channels=2,
                      image_height=6, image_width=5, num_classes=5, mlp_ratio=2.0,
                      pool_stages=(False, True, False, False))


# Of even width, so that all but the encoder and attention's reader can take positions two by two.
EVEN = replace(SMALL, image_width=8)


def measured_model(network: NetworkConfig, density: float, shared: float) -> FixedPointModel:
    """`random_model` whose layers are all said to be as active (`hw.model.Activity`).

    It decides which layers take their positions two by two, whatever the inputs are.
    """
    return replace(random_model(network), activity={
        layer.name: Activity(density, shared) for layer in network.layers()
        if layer.kind is Kind.CONV})


def random_model(network: NetworkConfig, seed: int = 0, weight_bits: int = 8,
                 residual: ResidualFormat | None = None,
                 input_format: InputFormat | None = None) -> FixedPointModel:
    """Weights over their whole range; thresholds so that some neurons fire in every layer.

    Sums are about normal: a threshold of half their deviation (for the doubled LIF grid) fires a
    third of the time, whatever the shape of the network.
    """
    rng = np.random.default_rng(seed)
    residual = residual or ResidualFormat(12, 4)
    channels = network.in_channels
    input_format = input_format or InputFormat(4, True, 1 / 8, (0.0,) * channels,
                                               (1.0,) * channels)
    limit = 1 << weight_bits - 1
    tensors = {}
    for layer in network.layers():
        if not layer.has_weights:
            continue
        size = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
        weight = rng.integers(-limit, limit, size).astype(np.int8)
        shift_bits = int(rng.integers(0, 3))
        deviation = limit * (0.1 * layer.in_channels * layer.kernel ** 2) ** 0.5
        scaled = max(2, int(deviation * 2 ** shift_bits))
        outputs = layer.out_channels
        bias = rng.integers(-scaled // 4, scaled // 4 + 1, outputs)
        threshold = shift = None
        if layer.output is Output.RESIDUAL:
            # Bring the deviation to an eighth of the residual's range: it saturates now and then.
            wanted = residual.maximum / 8
            shift = rng.integers(-1, 2, outputs) + round(np.log2(scaled / wanted))
            if layer.lif:
                threshold = rng.integers(1, residual.maximum // 4, outputs)
        elif layer.lif:
            threshold = rng.integers(1, scaled, outputs)
        tensors[layer.name] = LayerTensors(weight, bias, shift_bits, shift, threshold)
    return FixedPointModel(network, weight_bits, input_format, residual, tensors)


def random_inputs(model: FixedPointModel, count: int, seed: int = 0) -> np.ndarray:
    """Raw inputs over the whole range, the first one only of extremes."""
    network, fmt = model.network, model.input
    shape = (network.in_channels, network.image_height, network.image_width)
    if not network.static_input:
        shape = (network.timesteps, *shape)
    rng = np.random.default_rng(seed)
    inputs = rng.integers(fmt.minimum, fmt.maximum + 1, (count, *shape))
    inputs[0] = rng.choice([fmt.minimum, fmt.maximum, 0], shape)
    return inputs


def hardware_for(lanes: int = 8, banks: int = 2, tau: float = 2.0, ports: int = 2,
                 engines: int = 1, **changes: Any) -> HardwareConfig:
    """Hardware of the small network, with fields of the network changed."""
    network = NetworkConfig.from_dict(SMALL.to_dict() | {"tau": tau} | changes)
    hardware = HardwareConfig.for_model(random_model(network), lanes=lanes, banks=banks,
                                        attention_engines=engines)
    return replace(hardware, geometry=replace(hardware.geometry, ports=ports))


def instruction_bits(hardware: HardwareConfig, **fields: Any) -> int:
    """An instruction as the bits of a unit's port."""
    words = Instruction(hardware).encode(fields)
    return sum(word << WORD_BITS * i for i, word in enumerate(words))
