# SPDX-License-Identifier: Apache-2.0
"""Integers back to float weights: the checkpoint of a model directory whose own is not at hand.

What rounding took is lost, so it is a checkpoint of the integers' values: good to start from, for
`quantize.finetune` with fewer bits.
"""

from pathlib import Path

import torch

from hw.model import FixedPointModel
from hw.network import Kind
from quantize import fixed
from quantize.checkpoint import Checkpoint
from quantize.fuse import BN_EPSILON
from quantize.spikingformer import Spikingformer


def unfuse(model: FixedPointModel) -> Checkpoint:
    """Convolutions with the values of the integers; BatchNorms that only add the bias."""
    state = Spikingformer(model.network).state_dict()
    for layer in model.network.layers():
        if not layer.has_weights:
            continue
        tensors = model.tensors[layer.name]
        scale, unit = fixed.grid(model, layer)
        if layer.kind is Kind.ENCODER:
            scale = scale / model.input.scale
        weight = torch.from_numpy(tensors.weight * scale[:, None, None, None])
        bias = torch.from_numpy(tensors.bias * unit)
        if layer.name == "head":
            values = {"head.weight": weight, "head.bias": bias}
        else:
            bn, ones = f"{layer.name}_bn", torch.ones(layer.out_channels)
            values = {f"{layer.name}_conv.weight": weight, f"{bn}.bias": bias, f"{bn}.weight": ones,
                      f"{bn}.running_var": ones - BN_EPSILON, f"{bn}.running_mean": 0 * ones}
            if f"{layer.name}_conv.bias" in state:
                values[f"{layer.name}_conv.bias"] = 0 * ones
        for name, value in values.items():
            state[name] = value.float().reshape(state[name].shape)
    state = {name: tensor for name, tensor in state.items()
             if not name.endswith("num_batches_tracked")}
    return Checkpoint(model.network, state, model.input, model.accuracy.get("dataset"), [],
                      dict(model.provenance))


def load(folder: Path) -> Checkpoint:
    """The checkpoint of a model directory; ValueError, one sentence, if it is none."""
    return unfuse(FixedPointModel.load(folder))
