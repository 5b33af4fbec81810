# SPDX-License-Identifier: Apache-2.0
"""Modules of both SpikingJelly packages: the same spikes, and every deviation told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hw.network import Classifier, NetworkConfig
from quantize.checkpoint import load_checkpoint
from quantize.load import event_format, image_format
from quantize.spikingformer import predict
from quantize.spikingjelly import analyze_module, from_module, layer_name

pytest.importorskip("spikingjelly")
from spikingjelly.activation_based import neuron as active
from spikingjelly.clock_driven import neuron as clock

FORMAT = image_format((0.5,), (0.25,))
Make = Callable[..., nn.Module]


def activation_based(**options: Any) -> nn.Module:
    return active.LIFNode(**{"step_mode": "m", "detach_reset": True} | options)


def clock_driven(**options: Any) -> nn.Module:
    return clock.MultiStepLIFNode(**{"backend": "torch"} | options)


class ConvBN(nn.Module):
    """Holds nothing: adds `{name}_conv` and `{name}_bn` to a module, and applies them over T."""

    @staticmethod
    def add(module: nn.Module, name: str, conv: nn.Module) -> None:
        norm = nn.BatchNorm1d if isinstance(conv, nn.Conv1d) else nn.BatchNorm2d
        module.add_module(f"{name}_conv", conv)
        module.add_module(f"{name}_bn", norm(conv.out_channels))

    @staticmethod
    def run(module: nn.Module, name: str, x: Tensor) -> Tensor:
        y = getattr(module, f"{name}_bn")(getattr(module, f"{name}_conv")(x.flatten(0, 1)))
        return y.unflatten(0, x.shape[:2])


class Tokenizer(nn.Module):
    def __init__(self, lif: Make, channels: int, d: int, pools: str, prefix: str,
                 pool_first: bool) -> None:
        super().__init__()
        self.names = ([f"block{i}" for i in range(5)] if prefix == "block"
                      else ["proj", *(f"proj{i}" for i in range(1, 5))])
        self.pool_first = pool_first
        sizes = (channels, d // 8, d // 4, d // 2, d, d)
        for i, name in enumerate(self.names):
            if i:
                self.add_module(f"{name}_lif", lif())
                if pools[i - 1] == "T":
                    self.add_module(f"{name}_mp", nn.MaxPool2d(3, 2, 1))
            ConvBN.add(self, name, nn.Conv2d(sizes[i], sizes[i + 1], 3, padding=1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        for i, name in enumerate(self.names):
            pool = getattr(self, f"{name}_mp", nn.Sequential())
            lif = getattr(self, f"{name}_lif") if i else nn.Sequential()
            for part in ((pool, lif) if self.pool_first else (lif, pool)):
                x = (part(x.flatten(0, 1)).unflatten(0, x.shape[:2]) if part is pool and
                     isinstance(pool, nn.MaxPool2d) else part(x))
            x = ConvBN.run(self, name, x)
        return x


class Attention(nn.Module):
    scale, heads = 0.125, None

    def __init__(self, lif: Make, d: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.proj_lif = lif()
        for branch in "qkv":
            ConvBN.add(self, branch, nn.Conv1d(d, d, 1, bias=False))
            self.add_module(f"{branch}_lif", lif())
        self.attn_lif = lif(v_threshold=0.5)
        ConvBN.add(self, "proj", nn.Conv1d(d, d, 1))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape
        x = self.proj_lif(x).flatten(3)
        q, k, v = (getattr(self, f"{name}_lif")(ConvBN.run(self, name, x))
                   .unflatten(2, (self.heads or self.num_heads, -1)).transpose(-1, -2)
                   for name in "qkv")
        a = (q @ k.transpose(-1, -2) @ v * self.scale).transpose(-1, -2).flatten(2, 3)
        return ConvBN.run(self, "proj", self.attn_lif(a)).reshape(size)


class MLP(nn.Module):
    def __init__(self, lif: Make, d: int) -> None:
        super().__init__()
        self.mlp1_lif, self.mlp2_lif = lif(), lif()
        ConvBN.add(self, "mlp1", nn.Conv2d(d, 2 * d, 1))
        ConvBN.add(self, "mlp2", nn.Conv2d(2 * d, d, 1))

    def forward(self, x: Tensor) -> Tensor:
        return ConvBN.run(self, "mlp2", self.mlp2_lif(ConvBN.run(self, "mlp1", self.mlp1_lif(x))))


class Block(nn.Module):
    def __init__(self, lif: Make, d: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)   # as published: never called
        self.attn, self.mlp = Attention(lif, d, heads), MLP(lif, d)
        self.drop_path = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(x))
        return x + self.mlp(x)


class Net(nn.Module):
    """A Spikingformer as the published code names it."""

    def __init__(self, lif: Make = activation_based, channels: int = 1, pools: str = "FFTT",
                 prefix: str = "block", events: bool = False, pool_first: bool = False,
                 head_lif: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.events = events
        self.patch_embed = Tokenizer(lif, channels, 16, pools, prefix, pool_first)
        self.block = nn.ModuleList(Block(lif, 16, 2) for _ in range(2))
        if head_lif:
            self.head_lif = lif()
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x.transpose(0, 1) if self.events else x.expand(3, *x.shape))
        for block in self.block:
            x = block(x)
        if hasattr(self, "head_lif"):
            x = self.head_lif(x)
        return self.head(x.flatten(3).mean(3).mean(0))


def reset(module: nn.Module) -> None:
    for part in module.modules():
        if hasattr(part, "reset"):
            part.reset()


def alive(net: nn.Module, inputs: Tensor) -> nn.Module:
    """Statistics of these inputs, without which every neuron is silent."""
    generator = torch.Generator().manual_seed(1)
    for name, part in net.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(part.weight, 0.75, 1.5, generator=generator)
            mean = 2.0 if name.endswith(("q_bn", "k_bn", "v_bn")) else 0.2
            nn.init.normal_(part.bias, mean, 0.5, generator=generator)
            part.momentum = None
    net.train()
    with torch.no_grad():
        net(inputs)
    reset(net)
    return net


def images(count: int = 4, channels: int = 1, steps: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    shape = (count, steps, channels, 8, 8) if steps else (count, channels, 8, 8)
    return torch.randint(-8, 9, shape, generator=generator) / 4


@pytest.mark.parametrize(("lif", "options"), [
    (activation_based, {}), (clock_driven, {}),
    (clock_driven, {"prefix": "proj", "pools": "TTFF"}),
    (activation_based, {"head_lif": True, "pools": "FFFF"}),
    (lambda **given: activation_based(**{"tau": 1.5} | given),
     {"events": True, "channels": 2, "pools": "TFFT"}),
], ids=["activation_based", "clock_driven", "imagenet-names", "head-lif", "events-tau-1.5"])
def test_imported_network_computes_the_same(tmp_path: Path, lif: Make, options: dict) -> None:
    events = options.get("events", False)
    inputs = images(channels=options.get("channels", 1), steps=3 * events)
    net = alive(Net(lif, **options), inputs)
    fmt = event_format(2) if events else FORMAT
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    checkpoint = from_module(net, inputs, fmt, name="imported")
    assert checkpoint.config == NetworkConfig(
        embed_dim=16, depth=2, num_heads=2, timesteps=3, in_channels=inputs.shape[-3],
        image_height=8, image_width=8, num_classes=5, tau=1.5 if events else 2.0, mlp_ratio=2.0,
        pool_stages=tuple(letter == "T" for letter in options.get("pools", "FFTT")),
        classifier=(Classifier.SN_AVGPOOL_FC if options.get("head_lif") else
                    Classifier.AVGPOOL_FC), static_input=not events, name="imported")
    # BatchNorm's statistics of eval mode, on inputs that calibrated nothing.
    other = images(7, inputs.shape[-3], 3 * events).flip(-1) + 0.25
    net.eval()
    with torch.no_grad():
        wanted = net(other)
    reset(net)
    ours = predict(checkpoint.model(), other.transpose(0, 1).contiguous() if events else other)
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-6)
    assert wanted.std() > 0.01
    assert " 0 differ" in checkpoint.provenance["compared"]
    assert not [note for note in checkpoint.notes if "silent" in note]
    # The module is as it was, and what was made of it can be written and read.
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    checkpoint.save(tmp_path / "net.safetensors")
    loaded = load_checkpoint(tmp_path / "net.safetensors")
    assert (loaded.config, loaded.input_format) == (checkpoint.config, fmt)
    assert torch.equal(predict(loaded.model(), other.transpose(0, 1).contiguous() if events
                               else other), ours)


def test_a_container_hides_the_name() -> None:
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.node = active.LIFNode()

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.node(part) for part in x])

    inputs = images()
    net = alive(Net(lambda **given: Loop() if not given else activation_based(**given)), inputs)
    findings = analyze_module(net, inputs).findings
    assert any(entry.layer == "patch_embed.block1_lif.node" for entry in findings)


def test_neurons_that_step_one_by_one() -> None:
    class Steps(active.LIFNode):
        """Multi-step neuron for its users, driven one step after the other."""

        def multi_step_forward(self, x_seq: Tensor) -> Tensor:
            return torch.stack([self.single_step_forward(x) for x in x_seq])

    inputs = images()
    net = alive(Net(lambda **given: Steps(step_mode="m", **given)), inputs)
    assert from_module(net, inputs, FORMAT).config.timesteps == 3
    # The whole network as one timestep: the loop over time is outside, T is 1 and says so.
    alone = alive(Net(lambda **given: active.LIFNode(step_mode="s", **given)), inputs)
    assert any("timestep" in entry.why or "differ" in entry.why
               for entry in analyze_module(alone, inputs).findings)


def broken_reset(net: Net) -> None:
    net.block[1].mlp.mlp2_lif.v_reset = None


def broken_parametric(net: Net) -> None:
    net.block[0].attn.k_lif = active.ParametricLIFNode(step_mode="m")


def broken_if(net: Net) -> None:
    net.patch_embed.block2_lif = active.IFNode(step_mode="m")


def broken_strict(net: Net) -> None:
    class Strict(active.LIFNode):
        def multi_step_forward(self, x_seq: Tensor) -> Tensor:
            v, spikes = 0, []
            for x in x_seq:
                h = v + (x - v) / self.tau
                spikes.append((h > self.v_threshold).float())
                v = h * (1 - spikes[-1])
            return torch.stack(spikes)

    net.block[0].mlp.mlp1_lif = Strict(step_mode="m")


def broken_tau(net: Net) -> None:
    net.block[0].mlp.mlp1_lif.tau = 1.75


def broken_taus(net: Net) -> None:
    net.block[0].mlp.mlp1_lif.tau = 1.5


def broken_input(net: Net) -> None:
    net.block[0].attn.proj_lif.decay_input = False


def broken_threshold(net: Net) -> None:
    net.block[0].attn.attn_lif.v_threshold = 1.0


class NormedBlock(Block):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.norm1(x.transpose(2, 4)).transpose(2, 4))


def broken_used_layer_norm(net: Net) -> None:
    net.block[0].__class__ = NormedBlock


def broken_eps(net: Net) -> None:
    net.block[0].attn.q_bn.eps = 1e-3


def broken_stride(net: Net) -> None:
    net.patch_embed.block1_conv = nn.Conv2d(2, 4, 3, padding=1, dilation=1, groups=2, bias=False)


def broken_bias(net: Net) -> None:
    net.block[0].attn.q_conv = nn.Conv1d(16, 16, 1)


def broken_pool(net: Net) -> None:
    net.patch_embed.block3_mp = nn.MaxPool2d(2, 2)


class Louder(Attention):
    scale = 0.5


def broken_scale(net: Net) -> None:
    net.block[1].attn.__class__ = Louder


class OtherHeads(Attention):
    heads = 4


def broken_heads(net: Net) -> None:
    for block in net.block:
        block.attn.__class__ = OtherHeads


@pytest.mark.parametrize(("change", "layer", "why"), [
    (broken_reset, "block.1.mlp.mlp2_lif", "subtraction"),
    (broken_parametric, "block.0.attn.k_lif", "learned"),
    (broken_if, "patch_embed.block2_lif", "leaky"),
    (broken_strict, "block.0.mlp.mlp1_lif", "(>)"),
    (broken_tau, "block.0.mlp.mlp1_lif", "tau must be 2 or 1.5"),
    (broken_taus, "", "same tau"),
    (broken_input, "block.0.attn.proj_lif", "not divided by tau"),
    (broken_threshold, "block.0.attn.attn_lif", "threshold at this place is 0.5"),
    (broken_used_layer_norm, "block.0.norm1", "no such layer"),
    (broken_eps, "block.0.attn.q_bn", "eps"),
    (broken_stride, "patch_embed.block1_conv", "one group"),
    (broken_bias, "block.0.attn.q_conv", "no bias of its own"),
    (broken_pool, "patch_embed.block3_mp", "kernel 3, stride 2"),
    (broken_scale, "block.1.attn.attn_lif", "differ"),
    (broken_heads, "block.0.attn.attn_lif", "differ"),
])
def test_every_deviation_is_told(change: Callable[[Net], None], layer: str, why: str) -> None:
    inputs = images()
    net = alive(Net(), inputs)
    change(net)
    reset(net)
    analysis = analyze_module(net, inputs)
    assert any(entry.layer == layer and why in entry.why for entry in analysis.findings), \
        "\n".join(analysis.lines())
    assert all(entry.hint for entry in analysis.findings)
    with pytest.raises(ValueError, match=r"^Net cannot be imported: [^\n]*$"):
        from_module(net, inputs, FORMAT)


def test_all_deviations_at_once() -> None:
    inputs = images()
    net = alive(Net(), inputs)
    changes = (broken_reset, broken_parametric, broken_if, broken_eps, broken_bias)
    for change in changes:
        change(net)
    findings = analyze_module(net, inputs).findings
    assert len({entry.layer for entry in findings}) >= len(changes)


def test_pool_before_the_neuron_is_cml() -> None:
    inputs = images()
    findings = analyze_module(alive(Net(pool_first=True), inputs), inputs).findings
    assert {entry.layer for entry in findings} >= {"patch_embed.block3_mp", "patch_embed.block4_mp"}
    assert all("CML" in entry.why for entry in findings if entry.layer.endswith("_mp"))


@pytest.mark.parametrize(("module", "inputs", "message"), [
    (object(), images(), "must be a torch.nn.Module, not object"),
    (nn.Identity(), torch.zeros(3), r"not \(3,\)"),
    (nn.Identity(), "x", "not 'x'"),
])
def test_bad_arguments(module: Any, inputs: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        analyze_module(module, inputs)


def test_other_networks_and_wrong_inputs_do_not_crash() -> None:
    lines = analyze_module(nn.Sequential(nn.Flatten(), nn.LSTM(64, 5)), images()).lines()
    assert lines[-1].endswith("nothing is imported")
    inputs = images()
    net = alive(Net(), inputs)
    findings = analyze_module(net, images(channels=3)).findings
    assert "does not run" in findings[0].why
    with pytest.raises(ValueError, match="must have 1 entries, not 3"):
        from_module(net, inputs, image_format((0.5,) * 3, (0.5,) * 3))
    silent = Net()
    assert any("silent" in note for note in analyze_module(silent, inputs * 0).notes)


def test_names() -> None:
    assert layer_name("patch_embed.proj_conv") == "patch_embed.block0_conv"
    assert layer_name("module.patch_embed.proj3_lif") == "patch_embed.block3_lif"
    assert layer_name("block.0.mlp.fc1_lif") == "block.0.mlp.mlp1_lif"
    assert layer_name("block.3.attn.q_lif") == "block.3.attn.q_lif"
    assert layer_name("head") == "head"
