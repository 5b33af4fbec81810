# SPDX-License-Identifier: Apache-2.0
"""The float Spikingformer (arXiv 2304.11954), general over `hw.network.NetworkConfig`.

Parameter names are those of the published CIFAR checkpoints, and LIF layers have none, so that a
published state dict loads with `strict=True` once its unused LayerNorm tensors are left out
(`quantize.checkpoint`).  All activations have the leading dimension T: `[T, B, C, H, W]`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.network import Classifier, NetworkConfig
from quantize.lif import LIF

SCALE = 0.125  # of the attention map, in every published variant
ATTENTION_V_THRESHOLD = 0.5


@dataclass
class LayerRecord:
    """What one layer computed, under the names and shapes of `NetworkConfig.layers()`.

    current:  [T, B, O, H, W] result of ConvBN (of scaled attention for "ssa"): what enters the LIF,
              or what is added to the residual stream.  Logits [B, classes] for "head".
    spikes:   [T, B, O, H, W] of the LIF named by `Layer.lif`, before pooling; None without one.
    residual: [T, B, O, H, W] the stream after the addition; None for layers that do not add.
    """

    current: Tensor | None = None
    spikes: Tensor | None = None
    residual: Tensor | None = None


Record = dict[str, LayerRecord]


def _note(record: Record | None, name: str, **parts: Tensor) -> None:
    if record is not None:
        entry = record.setdefault(name, LayerRecord())
        for part, value in parts.items():
            setattr(entry, part, value.detach())


def _conv_bn(conv: nn.Module, bn: nn.Module, x: Tensor) -> Tensor:
    """Convolution and batch normalization of [T, B, ...], with statistics over T and B."""
    return bn(conv(x.flatten(0, 1))).unflatten(0, x.shape[:2])


class Tokenizer(nn.Module):
    """Five 3x3 ConvBN, LIF and optional max-pool before stages 1 to 4 (Eq. 5, 9, 10).

    Stage 0 reads the input itself.  The result of stage 4 starts the residual stream and is real.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = (config.in_channels, *config.tokenizer_channels)
        self.pool_stages = config.pool_stages
        self.timesteps = config.timesteps
        self.static_input = config.static_input
        for i in range(5):
            self.add_module(f"block{i}_conv",
                            nn.Conv2d(channels[i], channels[i + 1], 3, padding=1, bias=False))
            self.add_module(f"block{i}_bn", nn.BatchNorm2d(channels[i + 1]))
            if i:
                self.add_module(f"block{i}_lif", LIF(config.tau))

    def forward(self, x: Tensor, record: Record | None) -> Tensor:
        for i in range(5):
            if i:
                x = self.get_submodule(f"block{i}_lif")(x)
                _note(record, f"patch_embed.block{i - 1}", spikes=x)
                if self.pool_stages[i - 1]:
                    x = functional.max_pool2d(x.flatten(0, 1), 3, 2, 1).unflatten(0, x.shape[:2])
            x = _conv_bn(self.get_submodule(f"block{i}_conv"),
                         self.get_submodule(f"block{i}_bn"), x)
            if i == 0 and self.static_input:
                # Every timestep sees the same image: encoded once, then repeated.
                x = x.expand(self.timesteps, *x.shape[1:]).contiguous()
            _note(record, f"patch_embed.block{i}", current=x)
        _note(record, "patch_embed.block4", residual=x)
        return x


class Attention(nn.Module):
    """Spiking self-attention (Eq. 11 to 13): binary Q, K, V; no softmax.

    Takes the residual stream [T, B, D, H, W], returns what is to be added to it.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        d = config.embed_dim
        self.num_heads = config.num_heads
        self.proj_lif = LIF(config.tau)  # at the input; the published code calls it so
        for branch in "qkv":
            self.add_module(f"{branch}_conv", nn.Conv1d(d, d, 1, bias=False))
            self.add_module(f"{branch}_bn", nn.BatchNorm1d(d))
            self.add_module(f"{branch}_lif", LIF(config.tau))
        self.attn_lif = LIF(config.tau, ATTENTION_V_THRESHOLD)
        self.proj_conv = nn.Conv1d(d, d, 1)
        self.proj_bn = nn.BatchNorm1d(d)

    def forward(self, x: Tensor, record: Record | None, name: str, source: str) -> Tensor:
        grid = x.shape[-2:]
        x = self.proj_lif(x)
        _note(record, source, spikes=x)
        x = x.flatten(3)
        heads = []
        for branch in "qkv":
            current = _conv_bn(self.get_submodule(f"{branch}_conv"),
                               self.get_submodule(f"{branch}_bn"), x)
            spikes = self.get_submodule(f"{branch}_lif")(current)
            _note(record, f"{name}.{branch}", current=current.unflatten(3, grid),
                  spikes=spikes.unflatten(3, grid))
            # Channel c = head * head_dim + j.
            heads.append(spikes.unflatten(2, (self.num_heads, -1)))  # [T, B, heads, head_dim, N]
        q, k, v = heads
        # K^T V first, as [d, d] = V K^T on channel-major tensors; the counts are whole numbers, so
        # the order of the two products does not matter.
        a = ((v @ k.transpose(-1, -2)) @ q).flatten(2, 3) * SCALE
        spikes = self.attn_lif(a)
        _note(record, f"{name}.ssa", current=a.unflatten(3, grid), spikes=spikes.unflatten(3, grid))
        return _conv_bn(self.proj_conv, self.proj_bn, spikes).unflatten(3, grid)


class MLP(nn.Module):
    """LIF, ConvBN, LIF, ConvBN, both 1x1 (Eq. 7).  Stream [T, B, D, H, W] to its addend."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        d, hidden = config.embed_dim, config.hidden_dim
        self.mlp1_lif = LIF(config.tau)
        self.mlp1_conv = nn.Conv2d(d, hidden, 1)
        self.mlp1_bn = nn.BatchNorm2d(hidden)
        self.mlp2_lif = LIF(config.tau)
        self.mlp2_conv = nn.Conv2d(hidden, d, 1)
        self.mlp2_bn = nn.BatchNorm2d(d)

    def forward(self, x: Tensor, record: Record | None, name: str, source: str) -> Tensor:
        x = self.mlp1_lif(x)
        _note(record, source, spikes=x)
        x = _conv_bn(self.mlp1_conv, self.mlp1_bn, x)
        spikes = self.mlp2_lif(x)
        _note(record, f"{name}.mlp1", current=x, spikes=spikes)
        return _conv_bn(self.mlp2_conv, self.mlp2_bn, spikes)


class Block(nn.Module):
    """x + attention, then x + MLP (Eq. 6, 7)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.attn = Attention(config)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, record: Record | None, name: str, source: str) -> Tensor:
        proj, mlp2 = f"{name}.attn.proj", f"{name}.mlp.mlp2"
        current = self.attn(x, record, f"{name}.attn", source)
        x = x + current
        _note(record, proj, current=current, residual=x)
        current = self.mlp(x, record, f"{name}.mlp", proj)
        x = x + current
        _note(record, mlp2, current=current, residual=x)
        return x


class Spikingformer(nn.Module):
    """The whole network; `config` names every size.

    Input is float and already normalized, `(x - mean) / std` per channel (`quantize.datasets`).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = Tokenizer(config)
        self.block = nn.ModuleList(Block(config) for _ in range(config.depth))
        if config.classifier.spiking:
            self.head_lif = LIF(config.tau)
        self.head = nn.Linear(config.embed_dim, config.num_classes)

    def forward(self, x: Tensor, record: Record | None = None) -> Tensor:
        """Logits [B, num_classes] of images [B, C, H, W], or of events [T, B, C, H, W].

        `record`, if given, is filled with one `LayerRecord` per `Layer.name`.
        ValueError if the shape is not that of the configuration.
        """
        config = self.config
        image = (config.in_channels, config.image_height, config.image_width)
        if config.static_input:
            if x.dim() != 4 or x.shape[1:] != image:
                raise ValueError(f"input must have shape (batch, {str(image)[1:-1]}), "
                                 f"not {tuple(x.shape)!r}")
            x = x[None]
        elif x.dim() != 5 or len(x) != config.timesteps or x.shape[2:] != image:
            raise ValueError(f"input must have shape ({config.timesteps}, batch, "
                             f"{str(image)[1:-1]}), not {tuple(x.shape)!r}")
        x = self.patch_embed(x, record)
        source = "patch_embed.block4"
        for i, block in enumerate(self.block):
            x = block(x, record, f"block.{i}", source)
            source = f"block.{i}.mlp.mlp2"
        logits = self._classify(x, record, source)
        _note(record, "head", current=logits)
        return logits

    def _classify(self, x: Tensor, record: Record | None, source: str) -> Tensor:
        """Classification head, Eq. 14 to 17.  Mean over tokens and timesteps."""
        form = self.config.classifier
        if form.spiking:
            x = self.head_lif(x)
            _note(record, source, spikes=x)
        x = x.flatten(3)
        if form in (Classifier.AVGPOOL_FC, Classifier.SN_AVGPOOL_FC):
            return self.head(x.mean(3).mean(0))
        return self.head(x.transpose(2, 3)).mean(2).mean(0)

    def num_parameters(self) -> int:
        """Trained parameters, as the paper counts them (without the unused LayerNorm)."""
        return sum(p.numel() for p in self.parameters())


def predict(model: Spikingformer, x: Tensor, batch: int = 256) -> Tensor:
    """Logits of many inputs in eval mode without gradients, in batches; the mode is restored."""
    dim = 0 if model.config.static_input else 1
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            return torch.cat([model(part) for part in x.split(batch, dim)])
    finally:
        model.train(training)
