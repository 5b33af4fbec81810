# SPDX-License-Identifier: Apache-2.0
"""BatchNorm folded into the layer before it (paper, appendix B)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from hw.network import NetworkConfig

BN_EPSILON = 1e-5   # of every BatchNorm in the official code


@dataclass(frozen=True)
class FusedLayer:
    """weight float64 [O, I, k, k] and bias float64 [O] of conv and BatchNorm together."""

    weight: np.ndarray
    bias: np.ndarray


def fuse(network: NetworkConfig, state_dict: Mapping[str, Tensor]) -> dict[str, FusedLayer]:
    """Fold every BatchNorm: W' = W * gamma / sigma, b' = (b - mean) * gamma / sigma + beta.

    `state_dict` has the canonical names of `quantize.spikingformer`.  Returns one `FusedLayer` per
    layer with weights, by layer name; the classifier has no BatchNorm and stays as it is.
    """
    def read(name: str) -> np.ndarray:
        return state_dict[name].detach().double().cpu().numpy()

    fused = {}
    for layer in network.layers():
        if not layer.has_weights:
            continue
        shape = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
        if layer.name == "head":
            fused["head"] = FusedLayer(read("head.weight").reshape(shape), read("head.bias"))
            continue
        conv, bn = f"{layer.name}_conv", f"{layer.name}_bn"
        gain = read(f"{bn}.weight") / np.sqrt(read(f"{bn}.running_var") + BN_EPSILON)
        bias = (read(f"{conv}.bias") if f"{conv}.bias" in state_dict
                else np.zeros(layer.out_channels))
        fused[layer.name] = FusedLayer(
            read(f"{conv}.weight").reshape(shape) * gain[:, None, None, None],
            (bias - read(f"{bn}.running_mean")) * gain + read(f"{bn}.bias"))
    return fused
