# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the published code: their tensors by name, and the published network itself.

The second part runs the model.py files of github.com/zhouchenlin2096/Spikingformer beside ours::

    SPIKINGFORMER_CODE=CHECKOUT pytest -s tests/quantize/test_official.py

It needs spikingjelly 0.0.0.0.14, a version that still has clock_driven.  Of timm and einops the
files use a decorator, an initializer and a pair; stand-ins spare their dependencies.
"""

import argparse
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hw.model import InputFormat
from hw.network import NetworkConfig
from quantize import photos
from quantize.checkpoint import load_checkpoint
from quantize.datasets import normalize
from quantize.load import event_format, image_format
from quantize.models import MODELS, NORMALIZATION, find
from quantize.spikingformer import Spikingformer

CODE = os.environ.get("SPIKINGFORMER_CODE", "")
GESTURE = replace(find("dvs-2-256").network, num_classes=11, name="dvs128-2-256")


def is_cifar(network: NetworkConfig) -> bool:
    return network.image_height == 32


def input_format(network: NetworkConfig) -> InputFormat:
    if not network.static_input:
        return event_format(2)
    return image_format(*NORMALIZATION["CIFAR10" if is_cifar(network) else "ImageNet-1K"])


def save(path: Path, network: NetworkConfig, state: dict[str, Tensor]) -> Path:
    """As the training scripts do: timm's container, or that of the DVS code."""
    arguments = argparse.Namespace(lr=1e-3, opt_betas=None, mean=(0.5, 0.5), amp=True)
    if network.static_input:
        content = {"epoch": 3, "arch": "vitsnn", "state_dict": state, "version": 2,
                   "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3, "params": [0, 1]}]},
                   "args": arguments, "amp_scaler": {"scale": 65536.0}, "metric": 95.0}
    else:
        content = {"model": state, "optimizer": {"state": {}, "param_groups": []},
                   "lr_scheduler": {"base_values": [1e-3]}, "epoch": 3, "args": arguments,
                   "max_test_acc1": 81.3, "test_acc5_at_max_test_acc1": 99.0}
    torch.save(content, path)
    return path


def official_shapes(network: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that the published code writes."""
    d, shapes = network.embed_dim, {}

    def conv_bn(prefix: str, shape: tuple[int, ...], bias: bool = False) -> None:
        shapes[f"{prefix}_conv.weight"] = shape
        if bias:
            shapes[f"{prefix}_conv.bias"] = shape[:1]
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{prefix}_bn.{part}"] = shape[:1]
        shapes[f"{prefix}_bn.num_batches_tracked"] = ()

    channels = (network.in_channels, d // 8, d // 4, d // 2, d, d)
    for stage, name in enumerate(("proj", "proj1", "proj2", "proj3", "proj4")):
        name = f"block{stage}" if is_cifar(network) else name
        conv_bn(f"patch_embed.{name}", (channels[stage + 1], channels[stage], 3, 3))
    for i in range(network.depth):
        for norm in ("norm1", "norm2"):
            shapes |= {f"block.{i}.{norm}.weight": (d,), f"block.{i}.{norm}.bias": (d,)}
        for branch in "qkv":
            conv_bn(f"block.{i}.attn.{branch}", (d, d, 1))
        conv_bn(f"block.{i}.attn.proj", (d, d, 1), bias=True)
        conv_bn(f"block.{i}.mlp.mlp1", (4 * d, d, 1, 1), bias=True)
        conv_bn(f"block.{i}.mlp.mlp2", (d, 4 * d, 1, 1), bias=True)
    return shapes | {"head.weight": (network.num_classes, d), "head.bias": (network.num_classes,)}


@pytest.mark.parametrize("network", [*(model.network for model in MODELS.values()), GESTURE],
                         ids=lambda network: network.name)
def test_every_published_list_of_tensors_loads(tmp_path: Path, network: NetworkConfig) -> None:
    shapes = official_shapes(network)
    assert len(shapes) == 32 + 43 * network.depth
    # One stored element per tensor: 8-768 would take 265 MB.
    state = {name: torch.zeros((), dtype=torch.int64 if name.endswith("tracked") else torch.float32
                               ).expand(shape) for name, shape in shapes.items()}
    path = save(tmp_path / "model_best.pth.tar", network, state)
    loaded = load_checkpoint(path, network, input_format=input_format(network))
    assert loaded.config == network
    assert len(loaded.notes) == (0 if is_cifar(network) else 1)
    with torch.device("meta"):
        ours = Spikingformer(network).state_dict()
    wanted = {name: tensor.shape for name, tensor in ours.items() if not name.endswith("tracked")}
    assert {name: tensor.shape for name, tensor in loaded.state_dict.items()} == wanted
    unused = {name for name in shapes if "norm1" in name or "norm2" in name
              or name.endswith("tracked")}
    assert set(loaded.ignored) == unused
    assert len(shapes) == len(wanted) + len(unused)


@dataclass(frozen=True)
class Published:
    """A network of the public code: folder of its model.py, configuration, arguments it takes."""

    folder: str
    network: NetworkConfig

    def build(self, code: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
        module, n = load_module(code / self.folder / "model.py", monkeypatch), self.network
        if not n.static_input:
            return module.Spikingformer()   # all sizes are written there
        return module.Spikingformer(
            img_size_h=n.image_height, img_size_w=n.image_width,
            patch_size=n.image_height // n.grid[0], embed_dims=n.embed_dim, num_heads=n.num_heads,
            mlp_ratios=4, in_channels=3, num_classes=n.num_classes, qkv_bias=False,
            depths=n.depth, sr_ratios=1, T=n.timesteps)


def load_module(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """One model.py, with neurons on the CPU."""
    from spikingjelly.clock_driven import neuron

    class OnCPU(neuron.MultiStepLIFNode):
        def __init__(self, *args: Any, backend: str, **options: Any) -> None:
            super().__init__(*args, backend="torch", **options)

    def stand_in(name: str, **content: Any) -> None:
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)

    def register(function: Callable) -> Callable:
        return function

    monkeypatch.setattr(neuron, "MultiStepLIFNode", OnCPU)
    for name in ("timm", "einops", "einops.layers"):
        stand_in(name)
    stand_in("timm.models", create_model=None)
    stand_in("timm.models.layers", DropPath=nn.Identity, trunc_normal_=nn.init.trunc_normal_,
             to_2tuple=lambda size: (size, size))
    stand_in("timm.models.registry", register_model=register)
    stand_in("timm.models.vision_transformer", _cfg=dict)
    stand_in("einops.layers.torch", Rearrange=None)
    spec = importlib.util.spec_from_file_location(f"published_{path.parent.name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def enliven(model: nn.Module, images: Tensor, reset: Callable[[nn.Module], None]) -> None:
    """Random BatchNorm gains and biases, and the statistics of these images."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.75, 1.25, generator=generator)
            nn.init.normal_(module.bias, 0.0, 0.25, generator=generator)
            module.momentum = None  # statistics of all that is seen, not a moving mean
    nn.init.normal_(model.head.bias, generator=generator)
    model.train()
    model(images)
    reset(model)
    model.eval()


@pytest.mark.skipif(not CODE, reason="SPIKINGFORMER_CODE names no checkout of "
                                     "github.com/zhouchenlin2096/Spikingformer")
@pytest.mark.parametrize("published", [
    *(Published("cifar10", find(name).network)
      for name in ("cifar10-4-256", "cifar10-2-384", "cifar10-4-384")),
    Published("cifar100", find("cifar100-4-384").network),
    *(Published("imagenet", find(name).network)
      for name in ("imagenet-8-384", "imagenet-8-512", "imagenet-8-768")),
    Published("cifar10-dvs", find("dvs-2-256").network),
    Published("cifar10-dvs", find("dvs-2-256", 10).network),
    Published("dvs128-gesture", GESTURE),
], ids=lambda published: f"{published.network.name}-T{published.network.timesteps}")
def test_logits_are_those_of_the_published_network(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published: Published) -> None:
    pytest.importorskip("spikingjelly.clock_driven", reason="needs spikingjelly 0.0.0.0.14")
    from spikingjelly.clock_driven import functional

    network = published.network
    fmt = input_format(network)
    inputs = torch.from_numpy(normalize(photos.inputs(network, 4, 0), fmt))
    torch.manual_seed(0)
    model = published.build(Path(CODE), monkeypatch)
    fired: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if name.endswith("_lif"):
            # The tokenizers of ImageNet and DVS call stage i "proj" i.
            name = name.replace("patch_embed.proj", "patch_embed.block")
            module.register_forward_hook(
                lambda _, __, output, name=name: fired.update({name: output}))
    with torch.no_grad():
        enliven(model, inputs[:2], functional.reset_net)
        wanted = model(inputs[2:])
        functional.reset_net(model)
    path = save(tmp_path / "published.pth", network, model.state_dict())
    loaded = load_checkpoint(path, network, input_format=fmt)
    ours = inputs[2:] if network.static_input else inputs[2:].transpose(0, 1).contiguous()
    record: dict[str, Any] = {}
    with torch.no_grad():
        logits = loaded.model()(ours, record)

    spikes = {layer.lif: record[layer.name].spikes for layer in network.layers() if layer.lif}
    assert set(spikes) == set(fired)
    different = sum(int((spikes[name] != fired[name].view_as(spikes[name])).sum())
                    for name in spikes)
    rates = {name: float(s.mean()) for name, s in spikes.items()}
    difference = float((logits - wanted).abs().max())
    count = sum(s.numel() for s in spikes.values())
    print(f"\n{network.name} T={network.timesteps}: logits up to {wanted.abs().max():.3f}, differ "
          f"by {difference:.1e}; {different} of {count:,} spike bits differ; "
          f"{np.average(list(rates.values())):.1%} fire, from {min(rates.values()):.2%} "
          f"to {max(rates.values()):.1%} of a layer")
    assert all(0 < rate < 1 for rate in rates.values()), rates
    assert wanted.std() > 0.01
    assert difference < 1e-4
    assert different == 0


@pytest.mark.skipif(not CODE, reason="SPIKINGFORMER_CODE names no checkout of "
                                     "github.com/zhouchenlin2096/Spikingformer")
@pytest.mark.parametrize("published", [
    Published("cifar10", find("cifar10-2-384").network),
    Published("cifar10-dvs", find("dvs-2-256", 16).network),
], ids=lambda published: published.folder)
def test_the_published_module_imports(monkeypatch: pytest.MonkeyPatch,
                                      published: Published) -> None:
    """As an object: every fact is measured, none is given but the format of the input."""
    pytest.importorskip("spikingjelly.clock_driven", reason="needs spikingjelly 0.0.0.0.14")
    from spikingjelly.clock_driven import functional

    from quantize.spikingjelly import from_module

    network, fmt = published.network, input_format(published.network)
    inputs = torch.from_numpy(normalize(photos.inputs(network, 2, 0), fmt))
    model = published.build(Path(CODE), monkeypatch)
    with torch.no_grad():
        enliven(model, inputs, functional.reset_net)
    checkpoint = from_module(model, inputs, fmt, name=network.name)
    print(f"\n{network.name}: {checkpoint.provenance['compared']}")
    assert checkpoint.config == network
    assert " 0 differ" in checkpoint.provenance["compared"]
    assert not checkpoint.notes
