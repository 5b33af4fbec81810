# SPDX-License-Identifier: Apache-2.0
"""The float network: parameter counts of the paper, names, shapes, and a plain reference."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hw.network import Classifier, Kind, NetworkConfig, Output
from quantize.lif import LIF
from quantize.spikingformer import Record, Spikingformer, predict

CIFAR = NetworkConfig(embed_dim=256, depth=4, num_heads=8, timesteps=4, in_channels=3,
                      image_height=32, image_width=32, num_classes=10)
IMAGENET = NetworkConfig(embed_dim=512, depth=8, num_heads=8, timesteps=4, in_channels=3,
                         image_height=224, image_width=224, num_classes=1000,
                         pool_stages=(True,) * 4)
DVS = NetworkConfig(embed_dim=256, depth=2, num_heads=16, timesteps=16, in_channels=2,
                    image_height=128, image_width=128, num_classes=10, tau=1.5,
                    pool_stages=(True,) * 4, static_input=False)
SMALL = NetworkConfig(embed_dim=24, depth=2, num_heads=3, timesteps=3, in_channels=2,
                      image_height=9, image_width=6, num_classes=5, mlp_ratio=1.5,
                      pool_stages=(False, True, False, True))


def lively(config: NetworkConfig, seed: int = 0) -> Spikingformer:
    """A random network whose BatchNorm was calibrated: an untrained one hardly fires."""
    torch.manual_seed(seed)
    model = Spikingformer(config)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # averages all batches
            torch.nn.init.uniform_(module.weight, 1.0, 2.0)
            torch.nn.init.uniform_(module.bias, 0.0, 1.0)
    for block in model.block:
        for name in "qkv":  # attention fires only where 8 coincidences meet
            torch.nn.init.constant_(block.attn.get_submodule(f"{name}_bn").bias, 1.5)
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(inputs(config, 16))
    return model.eval()


def inputs(config: NetworkConfig, count: int, seed: int = 1) -> Tensor:
    shape = (count, config.in_channels, config.image_height, config.image_width)
    generator = torch.Generator().manual_seed(seed)
    if config.static_input:
        return torch.rand(shape, generator=generator)
    return torch.randint(0, 4, (config.timesteps, *shape), generator=generator).float()


@pytest.mark.parametrize(("config", "count"), [
    pytest.param(CIFAR, 4_152_106, id="4-256"),
    pytest.param(replace(CIFAR, embed_dim=384, num_heads=12, depth=2), 5_762_746, id="2-384"),
    pytest.param(replace(CIFAR, embed_dim=384, num_heads=12), 9_320_122, id="4-384"),
    pytest.param(replace(CIFAR, embed_dim=384, num_heads=12, num_classes=100), 9_354_772,
                 id="4-384-cifar100"),
    pytest.param(replace(IMAGENET, embed_dim=384), 16_816_024, id="8-384"),
    pytest.param(IMAGENET, 29_689_384, id="8-512"),
    pytest.param(replace(IMAGENET, embed_dim=768), 66_338_632, id="8-768"),
    pytest.param(DVS, 2_566_666, id="dvs-2-256"),
    pytest.param(replace(DVS, num_classes=11), 2_566_923, id="dvs128-2-256"),
])
def test_parameter_counts_of_the_paper(config: NetworkConfig, count: int) -> None:
    with torch.device("meta"):
        assert Spikingformer(config).num_parameters() == count


def test_state_dict_names_and_shapes() -> None:
    with torch.device("meta"):
        state = Spikingformer(CIFAR).state_dict()
    expected = {}
    channels = (3, 32, 64, 128, 256, 256)

    def batch_norm(name: str, size: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            expected[f"{name}_bn.{part}"] = (size,)
        expected[f"{name}_bn.num_batches_tracked"] = ()

    for i in range(5):
        expected[f"patch_embed.block{i}_conv.weight"] = (channels[i + 1], channels[i], 3, 3)
        batch_norm(f"patch_embed.block{i}", channels[i + 1])
    for i in range(4):
        for branch in ("q", "k", "v", "proj"):
            expected[f"block.{i}.attn.{branch}_conv.weight"] = (256, 256, 1)
            batch_norm(f"block.{i}.attn.{branch}", 256)
        expected[f"block.{i}.attn.proj_conv.bias"] = (256,)
        for name, outputs, ins in (("mlp1", 1024, 256), ("mlp2", 256, 1024)):
            expected[f"block.{i}.mlp.{name}_conv.weight"] = (outputs, ins, 1, 1)
            expected[f"block.{i}.mlp.{name}_conv.bias"] = (outputs,)
            batch_norm(f"block.{i}.mlp.{name}", outputs)
    expected |= {"head.weight": (10, 256), "head.bias": (10,)}
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == expected


def reference(model: Spikingformer, x: Tensor) -> Tensor:
    """The network again, image by image and matrix by matrix, from its state dict alone."""
    config, state = model.config, model.state_dict()
    lif = LIF(config.tau)

    def conv_bn(name: str, x: Tensor) -> Tensor:  # [T, C, H, W]
        weight = state[f"{name}_conv.weight"]
        weight = weight.reshape(*weight.shape[:2], *(weight.shape[2:] if weight.dim() == 4
                                                     else (1, 1)))
        x = functional.conv2d(x, weight, state.get(f"{name}_conv.bias"),
                              padding=weight.shape[-1] // 2)
        mean, var, gain, shift = (state[f"{name}_bn.{part}"][:, None, None] for part in
                                  ("running_mean", "running_var", "weight", "bias"))
        return (x - mean) / torch.sqrt(var + 1e-5) * gain + shift

    if config.static_input:
        x = x[None].repeat(config.timesteps, 1, 1, 1)
    x = conv_bn("patch_embed.block0", x)
    for i in range(4):
        x = lif(x)
        if config.pool_stages[i]:
            x = functional.max_pool2d(x, 3, 2, 1)
        x = conv_bn(f"patch_embed.block{i + 1}", x)
    for i in range(config.depth):
        spikes = lif(x)
        q, k, v = (lif(conv_bn(f"block.{i}.attn.{branch}", spikes)).flatten(2).transpose(1, 2)
                   for branch in "qkv")  # [T, N, D]
        a = torch.zeros_like(q)
        d = config.head_dim
        for head in range(config.num_heads):
            part = slice(head * d, (head + 1) * d)
            for t in range(config.timesteps):
                a[t, :, part] = q[t, :, part] @ k[t, :, part].T @ v[t, :, part] / 8
        attention = LIF(config.tau, 0.5)(a.transpose(1, 2).unflatten(2, config.grid))
        x = x + conv_bn(f"block.{i}.attn.proj", attention)
        hidden = lif(conv_bn(f"block.{i}.mlp.mlp1", lif(x)))
        x = x + conv_bn(f"block.{i}.mlp.mlp2", hidden)
    if config.classifier.spiking:
        x = lif(x)
    return functional.linear(x.mean((0, 2, 3)), state["head.weight"], state["head.bias"])


@pytest.mark.parametrize("form", Classifier)
@pytest.mark.parametrize(("tau", "static"), [(2.0, True), (1.5, False)])
def test_matches_plain_reference(form: Classifier, tau: float, static: bool) -> None:
    config = replace(SMALL, classifier=form, tau=tau, static_input=static)
    model = lively(config).double()
    x = inputs(config, 4).double()
    with torch.no_grad():
        logits = model(x)
        for i in range(4):
            torch.testing.assert_close(logits[i], reference(model, x[i] if static else x[:, i]))


def test_both_orders_of_pooling_and_fc_agree() -> None:
    for one, other in ((Classifier.AVGPOOL_FC, Classifier.FC_AVGPOOL),
                       (Classifier.SN_AVGPOOL_FC, Classifier.SN_FC_AVGPOOL)):
        model = lively(replace(SMALL, classifier=one))
        twin = Spikingformer(replace(SMALL, classifier=other))
        twin.load_state_dict(model.state_dict())
        x = inputs(SMALL, 3)
        torch.testing.assert_close(predict(model, x), predict(twin, x))


@pytest.mark.parametrize("static", [True, False])
def test_record_follows_the_layer_list(static: bool) -> None:
    config = replace(SMALL, classifier=Classifier.SN_AVGPOOL_FC, static_input=static)
    model = lively(config)
    record: Record = {}
    with torch.no_grad():
        logits = model(inputs(config, 2), record)
    assert list(record) == [layer.name for layer in config.layers()]
    stream = None
    for layer in config.layers():
        entry = record[layer.name]
        if layer.kind is Kind.CLASSIFIER:
            assert torch.equal(entry.current, logits)
            assert entry.spikes is None
            assert entry.residual is None
            continue
        shape = (config.timesteps, 2, layer.out_channels, layer.height, layer.width)
        assert entry.current.shape == shape
        assert (entry.residual is not None) == (layer.output is Output.RESIDUAL)
        value = entry.current
        if entry.residual is not None:
            value = entry.residual
            if layer.adds:
                torch.testing.assert_close(value, stream + entry.current)
            stream = value
        # Each layer's spikes are those of a LIF with its threshold on its current or stream.
        assert torch.equal(entry.spikes, LIF(config.tau, layer.v_threshold)(value))
        assert 0 < entry.spikes.mean() < 1, layer.name


@pytest.mark.parametrize("static", [True, False])
def test_batches_are_independent(static: bool) -> None:
    config = replace(SMALL, static_input=static)
    model = lively(config)
    x = inputs(config, 5)
    together = predict(model, x)
    single = predict(model, x, batch=1)
    torch.testing.assert_close(together, single)
    torch.testing.assert_close(predict(model, x), together)  # no state stays behind


def test_gradients_reach_every_parameter() -> None:
    model = lively(SMALL).train()
    model(inputs(SMALL, 8)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_predict_restores_the_mode() -> None:
    model = Spikingformer(SMALL).train()
    predict(model, inputs(SMALL, 2))
    assert model.training


@pytest.mark.parametrize(("static", "shape", "message"), [
    (True, (1, 3, 9, 6), r"^input must have shape \(batch, 2, 9, 6\), not \(1, 3, 9, 6\)$"),
    (True, (2, 9, 6), r"^input must have shape \(batch, 2, 9, 6\), not \(2, 9, 6\)$"),
    (False, (4, 1, 2, 9, 6),
     r"^input must have shape \(3, batch, 2, 9, 6\), not \(4, 1, 2, 9, 6\)$"),
])
def test_wrong_input_shape(static: bool, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Spikingformer(replace(SMALL, static_input=static))(torch.zeros(shape))
