# SPDX-License-Identifier: Apache-2.0
"""Graphs against an interpreter that knows NIR's equations and the convention, nothing else."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hw.network import Classifier, NetworkConfig
from quantize.checkpoint import Checkpoint
from quantize.load import image_format
from quantize.nir_export import to_graph
from quantize.spikingformer import Spikingformer

nir = pytest.importorskip("nir")
DT = 1e-3
CONFIG = NetworkConfig(embed_dim=16, depth=2, num_heads=2, timesteps=3, in_channels=1,
                       image_height=8, image_width=8, num_classes=5, mlp_ratio=2.0,
                       pool_stages=(False, True, False, True))


def checkpoint(config: NetworkConfig = CONFIG) -> Checkpoint:
    """Random weights, statistics of random images; every neuron layer fires."""
    torch.manual_seed(0)
    model = Spikingformer(config)
    for name, part in model.named_modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(part.weight, 0.75, 1.5)
            busy = name.endswith(("q_bn", "k_bn", "v_bn"))
            torch.nn.init.normal_(part.bias, 2.0 if busy else 0.2, 0.5)
            part.momentum = None
    with torch.no_grad():
        model.train()(images(config))
    state = {name: tensor.detach() for name, tensor in model.state_dict().items()
             if not name.endswith("tracked")}
    return Checkpoint(config, state, image_format((0.5,), (0.25,)), None, [], {})


def images(config: NetworkConfig = CONFIG, count: int = 5) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, config.in_channels, 8, 8, generator=generator)


def execute(graph: Any, x: Tensor, steps: int) -> Tensor:
    """Mean output over time of x [B, C, H, W], seen in every timestep; nodes of all kinds."""
    states: dict[str, Tensor] = {}
    return torch.stack([_step(graph, x, states, "") for _ in range(steps)]).mean(0)


def _step(graph: Any, x: Tensor, states: dict[str, Tensor], prefix: str) -> Tensor:
    done: dict[str, Tensor] = {}

    def value(name: str) -> Tensor:
        if name not in done:
            node = graph.nodes[name]
            total = (x if type(node).__name__ == "Input" else
                     sum(value(a) for a, b in graph.edges if b == name))
            done[name] = _apply(node, total, states, prefix + name)
        return done[name]

    if graph.metadata.get("operator") in ("spiking_self_attention", b"spiking_self_attention"):
        heads = int(graph.metadata["num_heads"])
        q, k, v = (value(f"{branch}_lif").flatten(2).unflatten(1, (heads, -1)).transpose(-1, -2)
                   for branch in "qkv")
        a = (q @ k.transpose(-1, -2) @ v * float(graph.metadata["scale"])).transpose(-1, -2)
        return a.reshape(x.shape)
    return value(next(name for name, node in graph.nodes.items()
                      if type(node).__name__ == "Output"))


def _apply(node: Any, x: Tensor, states: dict[str, Tensor], name: str) -> Tensor:
    kind = type(node).__name__
    if kind == "NIRGraph":
        return _step(node, x, states, name + ".")
    if kind == "Conv2d":
        return functional.conv2d(x, torch.as_tensor(node.weight), torch.as_tensor(node.bias),
                                 padding=tuple(int(n) for n in node.padding))
    if kind == "LIF":
        v = states.get(name, torch.zeros_like(x))
        h = v + DT / torch.as_tensor(node.tau) * (torch.as_tensor(node.v_leak) - v
                                                  + torch.as_tensor(node.r) * x)
        spikes = (h >= torch.as_tensor(node.v_threshold)).float()
        states[name] = torch.where(spikes > 0, torch.as_tensor(node.v_reset), h)
        return spikes
    if kind == "SumPool2d":
        return functional.avg_pool2d(x, 3, 2, 1, divisor_override=1)
    if kind == "Threshold":
        return (x > torch.as_tensor(node.threshold)).float()
    if kind == "AvgPool2d":
        return functional.avg_pool2d(x, tuple(int(n) for n in node.kernel_size))
    if kind == "Flatten":
        return x.flatten(1)
    if kind == "Affine":
        return x @ torch.as_tensor(node.weight).T + torch.as_tensor(node.bias)
    assert kind in ("Input", "Output")
    return x


@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_a_graph_computes_what_the_network_does(tau: float) -> None:
    config = NetworkConfig(**{**CONFIG.__dict__, "tau": tau})
    whole = checkpoint(config)
    x, record = images(config).flip(-1), {}
    with torch.no_grad():
        wanted = whole.model()(x, record)
    assert all(0 < record[layer.name].spikes.mean() < 1 for layer in config.layers() if layer.lif)
    graph = to_graph(whole, DT)
    torch.testing.assert_close(execute(graph, x, 3), wanted, rtol=1e-4, atol=1e-4)
    assert wanted.std() > 0.01
    inner = graph.nodes["block.0.attn"]
    assert inner.metadata["num_heads"] == 2
    # The interpreter does look at what the convention says.
    inner.metadata["num_heads"] = 4
    assert not torch.allclose(execute(graph, x, 3), wanted, atol=1e-3)


def test_a_neuron_in_the_classifier_is_refused() -> None:
    config = NetworkConfig(**{**CONFIG.__dict__, "classifier": Classifier.SN_AVGPOOL_FC})
    with pytest.raises(ValueError, match="not 'sn_avgpool_fc'"):
        to_graph(checkpoint(config))


def test_shapes_are_those_of_nir() -> None:
    graph = to_graph(checkpoint(), DT)
    assert graph.check_types()
    assert np.array_equal(graph.nodes["patch_embed.block2"].input_type["input"], [4, 4, 4])
