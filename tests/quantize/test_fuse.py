# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from torch.nn import functional

from hw.network import NetworkConfig
from quantize.fuse import fuse
from quantize.spikingformer import Spikingformer

NETWORK = NetworkConfig(16, 2, 2, 2, 3, 8, 8, 5)


@pytest.fixture(scope="module")
def state():
    generator = torch.Generator().manual_seed(0)
    values = {}
    for name, tensor in Spikingformer(NETWORK).state_dict().items():
        values[name] = tensor
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            values[name] = noise.abs() + 0.1 if name.endswith("running_var") else noise
    return values


def test_fused_layers_equal_convolution_and_batch_norm(state):
    generator = torch.Generator().manual_seed(1)
    fused = fuse(NETWORK, state)
    layers = [layer for layer in NETWORK.layers() if layer.has_weights]
    assert set(fused) == {layer.name for layer in layers}
    for layer in layers[:-1]:
        x = torch.randn((2, layer.in_channels, 5, 4), generator=generator, dtype=torch.float64)
        conv, bn = f"{layer.name}_conv", f"{layer.name}_bn"
        shape = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
        y = functional.conv2d(x, state[f"{conv}.weight"].reshape(shape), state.get(f"{conv}.bias"),
                              padding=layer.kernel // 2)
        expected = functional.batch_norm(
            y, state[f"{bn}.running_mean"], state[f"{bn}.running_var"], state[f"{bn}.weight"],
            state[f"{bn}.bias"], eps=1e-5)
        part = fused[layer.name]
        got = functional.conv2d(x, torch.from_numpy(part.weight), torch.from_numpy(part.bias),
                                padding=layer.kernel // 2)
        assert torch.allclose(got, expected, rtol=1e-10, atol=1e-10), layer.name


def test_classifier_stays_as_it_is(state):
    head = fuse(NETWORK, state)["head"]
    assert np.array_equal(head.weight[:, :, 0, 0], state["head.weight"].numpy())
    assert np.array_equal(head.bias, state["head.bias"].numpy())
