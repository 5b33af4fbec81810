# SPDX-License-Identifier: Apache-2.0
"""The float Spikformer (arXiv 2209.15425): the baseline that Spikingformer changes.

Same shapes as the Spikingformer of the same `NetworkConfig`, other order and other residual stream:
ConvBN comes before its LIF, and every branch ends in a LIF, so the stream is a sum of spikes, an
integer from 0 to 2 + 2 L, and the convolutions that read it (q, k, v, fc1) have no binary input.

Two recalculations of its operations (Spikingformer paper, appendix G; the released counter names
them in `ops.py`), which `Count` implements:

1. an integer n is n spikes: n additions of the weight, ACs = dense * mean input;
2. only an input of zeros and ones is event-driven; a layer with any other input multiplies, all its
   dense operations being MACs, zeros included.

Parameter names are those of the published ImageNet checkpoints; `load_published` takes those of the
CIFAR and DVS code, too.  All activations have the leading dimension T: `[T, B, C, H, W]`.
"""

from collections.abc import Mapping
from enum import Enum

import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.network import Kind, Layer, NetworkConfig
from quantize.energy import Operations, dense_operations, paper_operations
from quantize.lif import LIF
from quantize.spikingformer import ATTENTION_V_THRESHOLD

TAU = 2.0   # in every published variant, of events too
SCALE, EVENT_SCALE = 0.125, 0.25    # of the attention map


class Count(Enum):
    """How operations on integer inputs are counted: calculations 1 and 2 of appendix G."""

    SPIKES = 1
    MULTIPLIED = 2


def operations(layer: Layer, mean: float, binary: bool, rates: tuple[float, ...], timesteps: int,
               head_dim: int, count: Count) -> Operations:
    """ACs and MACs of a Spikformer layer.

    mean:   input, over all timesteps and images
    binary: no input but 0 and 1
    rates:  of q, k, v for attention
    """
    if layer.kind is Kind.CONV:
        if count is Count.MULTIPLIED and not binary:
            return Operations(macs=dense_operations(layer, timesteps))
        return paper_operations(layer, (mean,), timesteps, head_dim)
    # The classifier reads a mean of integers, whatever the form of Spikingformer's.
    return paper_operations(layer, rates, timesteps, head_dim)


def convolution_name(layer: Layer) -> str:
    """Module path of the convolution of a `NetworkConfig.layers()` layer; "" for attention."""
    if layer.kind is Kind.ATTENTION:
        return ""
    if layer.kind is Kind.CLASSIFIER:
        return "head"
    parent, _, part = layer.name.rpartition(".")
    if part.startswith("block"):
        return "patch_embed.rpe_conv" if part == "block4" else _tokenizer(part[-1], "conv")
    return f"{parent}.{part.replace('mlp', 'fc')}_conv"


def spiking_name(layer: Layer) -> str:
    """Module path of the LIF behind a layer; "" for the classifier."""
    if layer.kind is Kind.ATTENTION:
        return layer.name.replace(".ssa", ".attn_lif")
    name = convolution_name(layer)
    return "" if name == "head" else name.replace("_conv", "_lif")


def _tokenizer(stage: str | int, kind: str) -> str:
    return f"patch_embed.proj_{kind}{'' if str(stage) == '0' else stage}"


def _spikes(module: nn.Module, name: str, x: Tensor, timesteps: int | None = None) -> Tensor:
    """LIF(BN(conv(x))) of [T, B, ...], with statistics over T and B.

    name:      of the three modules, "{}" standing for conv, bn and lif
    timesteps: repeat a single timestep as often before the LIF
    """
    conv, bn, lif = (module.get_submodule(name.format(kind)) for kind in ("conv", "bn", "lif"))
    x = bn(conv(x.flatten(0, 1))).unflatten(0, x.shape[:2])
    return lif(x if timesteps is None else x.expand(timesteps, *x.shape[1:]))


class SPS(nn.Module):
    """Spiking patch splitting: five 3x3 ConvBN with LIF, max-pools between.

    The fifth is the relative position embedding, added to its own input: spikes 0 to 2.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = (config.in_channels, *config.tokenizer_channels)
        self.pool_stages, self.timesteps = config.pool_stages, config.timesteps
        self.names = [f"proj_{{}}{i or ''}" for i in range(4)] + ["rpe_{}"]
        for i, name in enumerate(self.names):
            self.add_module(name.format("conv"), nn.Conv2d(channels[i], channels[i + 1], 3,
                                                           padding=1, bias=False))
            self.add_module(name.format("bn"), nn.BatchNorm2d(channels[i + 1]))
            self.add_module(name.format("lif"), LIF(TAU))

    def forward(self, x: Tensor) -> Tensor:
        for name, pool in zip(self.names[:4], self.pool_stages, strict=True):
            x = _spikes(self, name, x, self.timesteps)   # changes static images only, and only once
            if pool:
                x = functional.max_pool2d(x.flatten(0, 1), 3, 2, 1).unflatten(0, x.shape[:2])
        return x + _spikes(self, self.names[4], x)


class SSA(nn.Module):
    """Spiking self-attention on the integer stream [T, B, D, H, W]; returns spikes."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        d = config.embed_dim
        self.num_heads = config.num_heads
        self.scale = SCALE if config.static_input else EVENT_SCALE
        for branch in ("q", "k", "v", "proj"):
            self.add_module(f"{branch}_conv", nn.Conv1d(d, d, 1, bias=branch == "proj"))
            self.add_module(f"{branch}_bn", nn.BatchNorm1d(d))
            self.add_module(f"{branch}_lif", LIF(TAU))
        self.attn_lif = LIF(TAU, ATTENTION_V_THRESHOLD)

    def forward(self, x: Tensor) -> Tensor:
        grid, x = x.shape[-2:], x.flatten(3)
        q, k, v = (_spikes(self, f"{branch}_{{}}", x).unflatten(2, (self.num_heads, -1))
                   for branch in "qkv")   # [T, B, heads, head_dim, N]
        a = ((v @ k.transpose(-1, -2)) @ q).flatten(2, 3) * self.scale
        return _spikes(self, "proj_{}", self.attn_lif(a)).unflatten(3, grid)


class MLP(nn.Module):
    """Two 1x1 ConvBN with LIF; integers [T, B, D, H, W] to spikes."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        d, hidden = config.embed_dim, config.hidden_dim
        for name, inputs, outputs in (("fc1", d, hidden), ("fc2", hidden, d)):
            self.add_module(f"{name}_conv", nn.Conv2d(inputs, outputs, 1))
            self.add_module(f"{name}_bn", nn.BatchNorm2d(outputs))
            self.add_module(f"{name}_lif", LIF(TAU))

    def forward(self, x: Tensor) -> Tensor:
        return _spikes(self, "fc2_{}", _spikes(self, "fc1_{}", x))


class Block(nn.Module):
    """x + SSA(x), then x + MLP(x), on integers."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.attn = SSA(config)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(x)
        return x + self.mlp(x)


class Spikformer(nn.Module):
    """The whole network; `config.tau` and `config.classifier` are Spikingformer's and not used.

    Input is float and already normalized.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = SPS(config)
        self.block = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.head = nn.Linear(config.embed_dim, config.num_classes)

    def stream(self, x: Tensor) -> Tensor:
        """The residual stream after the last block, whole numbers 0 to 2 + 2 L."""
        config = self.config
        image = (config.in_channels, config.image_height, config.image_width)
        leading = () if config.static_input else (config.timesteps,)
        if x.dim() != len(leading) + 4 or (*x.shape[:len(leading)], *x.shape[-3:]) != (*leading,
                                                                                       *image):
            shape = ", ".join(map(str, (*leading, "batch", *image)))
            raise ValueError(f"input must have shape ({shape}), not {tuple(x.shape)!r}")
        if config.static_input:
            x = x[None]
        x = self.patch_embed(x)
        for block in self.block:
            x = block(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Logits [B, num_classes] of images [B, C, H, W], or of events [T, B, C, H, W].

        ValueError if the shape is not that of the configuration.
        """
        return self.head(self.stream(x).flatten(3).mean(3).mean(0))

    @torch.no_grad()
    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Load a state dict of the published ImageNet, CIFAR or DVS code.

        CIFAR's linear layers become 1x1 convolutions; their biases of q, k and v move into the
        running means of the BatchNorm behind, which is the same in eval mode.  Tensors that no
        computation uses are left out.  ValueError for anything else that is missing or unknown.
        """
        own = self.state_dict()
        tensors = {name.replace("_linear", "_conv"): tensor for name, tensor in state.items()
                   if ".norm" not in name and not name.startswith(("norm.", "pos_embed"))}
        for name in [name for name in tensors if name.endswith(("q_conv.bias", "k_conv.bias",
                                                                "v_conv.bias"))]:
            mean = name.replace("_conv.bias", "_bn.running_mean")
            tensors[mean] = tensors[mean] - tensors.pop(name)
        for name, tensor in tensors.items():
            if name in own and tensor.numel() == own[name].numel():
                tensors[name] = tensor.reshape(own[name].shape)
        try:
            self.load_state_dict(tensors)
        except RuntimeError as error:
            problem = str(error).splitlines()[-1].strip()
            raise ValueError(f"these are not the tensors of this Spikformer: {problem}") from None
