# SPDX-License-Identifier: Apache-2.0
"""Spikformer: shapes, integers of the residual stream, both counts, foreign names."""

from dataclasses import replace

import pytest
import torch

from hw.network import Kind, NetworkConfig
from quantize.baseline import calibrate
from quantize.energy import Operations
from quantize.models import find
from quantize.spikformer import (
    Count,
    Spikformer,
    convolution_name,
    operations,
    spiking_name,
)

SMALL = NetworkConfig(32, 2, 2, 3, 2, 8, 8, 5)
EVENTS = replace(SMALL, static_input=False)


def alive(network, images, seed=0):
    torch.manual_seed(seed)
    model = Spikformer(network)
    calibrate(model, images)
    return model


def images(network, count=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    leading = (count,) if network.static_input else (network.timesteps, count)
    return torch.randn(*leading, network.in_channels, network.image_height, network.image_width,
                       generator=generator)


@pytest.mark.parametrize("network", [SMALL, EVENTS])
def test_stream_is_a_sum_of_spikes(network):
    x = images(network)
    model = alive(network, x)
    with torch.no_grad():
        stream, logits = model.stream(x), model(x)
    assert stream.shape == (3, 4, 32, 2, 2) and logits.shape == (4, 5)
    assert torch.equal(stream, stream.round())
    assert stream.min() >= 0 and 1 < stream.max() <= 2 + 2 * network.depth


def test_a_timestep_of_a_static_image_is_encoded_once():
    x = images(SMALL)
    seen = []
    model = alive(SMALL, x)
    model.patch_embed.proj_conv.register_forward_hook(lambda _, __, y: seen.append(len(y)))
    with torch.no_grad():
        model(x)
    assert seen == [4]


def test_batch_norm_of_events_sees_every_timestep():
    """The same image in all timesteps is what a static input repeats."""
    x = images(SMALL)
    model, events = alive(SMALL, x), Spikformer(EVENTS)
    events.load_state_dict(model.state_dict())
    for block in events.block:
        block.attn.scale = model.block[0].attn.scale   # events have a larger one
    with torch.no_grad():
        assert torch.equal(model(x), events.eval()(x.expand(3, *x.shape)))


def test_wrong_shape():
    with pytest.raises(ValueError, match=r"must have shape \(batch, 2, 8, 8\), not \(1, 2, 8, 9\)"):
        Spikformer(SMALL)(torch.zeros(1, 2, 8, 9))
    with pytest.raises(ValueError, match=r"must have shape \(3, batch, 2, 8, 8\), not"):
        Spikformer(EVENTS)(torch.zeros(4, 1, 2, 8, 8))


def test_every_layer_has_its_module():
    model, layers = Spikformer(SMALL), SMALL.layers()
    for layer in layers:
        if layer.has_weights:
            weight = model.get_submodule(convolution_name(layer)).weight
            assert weight.shape[:2] == (layer.out_channels, layer.in_channels)
        if layer.kind is not Kind.CLASSIFIER:
            assert model.get_submodule(spiking_name(layer)).v_threshold == layer.v_threshold
    names = {spiking_name(layer) for layer in layers} - {""}
    assert len(names) == len(layers) - 1


@pytest.mark.parametrize("name", ["cifar10-4-256", "imagenet-8-384"])
def test_as_many_parameters_as_spikingformer(name):
    """The official counts without LayerNorm, and without the biases of q, k, v that CIFAR has."""
    with torch.device("meta"):
        model = Spikformer(find(name).network)
    assert sum(p.numel() for p in model.parameters()) == find(name).parameters


def test_published_names_of_cifar():
    x = images(SMALL)
    model = alive(SMALL, x)
    state, offsets = {}, {}
    for name, tensor in model.state_dict().items():
        if ".attn." in name or ".mlp." in name:
            name = name.replace("_conv", "_linear")
            tensor = tensor.flatten(1) if name.endswith("_linear.weight") else tensor
        state[name] = tensor.clone()
    for block in range(2):
        for branch in "qkv":
            # Powers of two: the means take them without rounding, so that not a bit changes.
            bias = torch.full((32,), 2.0 ** 10)
            state[f"block.{block}.attn.{branch}_linear.bias"] = bias
            mean = state[f"block.{block}.attn.{branch}_bn.running_mean"]
            offsets[f"block.{block}.attn.{branch}_bn.running_mean"] = mean - bias
        state[f"block.{block}.norm1.weight"] = torch.ones(32)
    loaded = Spikformer(SMALL)
    loaded.load_published(state)
    for name, tensor in loaded.state_dict().items():
        expected = offsets.get(name, model.state_dict()[name])
        assert torch.equal(tensor, expected), name


def test_foreign_tensors_are_refused():
    state = Spikformer(SMALL).state_dict()
    state.pop("head.bias")
    with pytest.raises(ValueError, match=r"not the tensors of this Spikformer: .*head\.bias"):
        Spikformer(SMALL).load_published(state)


def test_counts():
    layers = {layer.name: layer for layer in SMALL.layers()}
    q, mlp1 = layers["block.1.attn.q"], layers["block.1.mlp.mlp1"]
    dense = 3 * 4 * 32 * 32
    assert operations(q, 1.5, False, (), 3, 16, Count.SPIKES) == Operations(1.5 * dense)
    assert operations(q, 1.5, False, (), 3, 16, Count.MULTIPLIED) == Operations(macs=dense)
    assert operations(q, 0.5, True, (), 3, 16, Count.MULTIPLIED) == Operations(0.5 * dense)
    biased = 3 * 4 * 128 * 33
    assert operations(mlp1, 2.0, False, (), 3, 16, Count.MULTIPLIED) == Operations(macs=biased)
    for count in Count:
        encoder = operations(layers["patch_embed.block0"], -1.0, False, (), 3, 16, count)
        assert encoder == Operations(macs=3 * 64 * 9 * 2 * 4)
        assert operations(layers["head"], 1.0, False, (), 3, 16, count) == Operations(macs=5 * 33)
        ssa = operations(layers["block.0.attn.ssa"], 0.0, True, (0.5, 0.25, 0.125), 3, 16, count)
        assert ssa == Operations(3 * 4 * 32 * 16 * 0.625)
