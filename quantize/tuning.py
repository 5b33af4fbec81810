# SPDX-License-Identifier: Apache-2.0
"""Random networks whose neurons fire as those of a trained one.

Weights are random, BatchNorm statistics are those of given images, and BatchNorm biases are moved,
layer by layer in the order of execution, until every LIF fires with its target rate
(`quantize.rates`).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from hw.network import Layer, NetworkConfig
from quantize import rates
from quantize.spikingformer import ATTENTION_V_THRESHOLD, SCALE, Spikingformer

# Channels of a trained network differ: BatchNorm gains in 1 +- GAIN, biases with this deviation.
GAIN = 0.25
SPREAD = 0.5
# Channel spread and log odds of the branches are searched until attention fires as it should.
LARGEST_SPREAD = 2.0
LARGEST_ODDS = 4.0
SEARCH_STEPS = 12
TOLERANCE = 0.002           # of a rate, relative
LARGEST_SHIFT = 16.0        # in units of a normalized current


@dataclass(frozen=True)
class Rate:
    """Firing rate of one LIF before pooling, 0 to 1: wanted, and reached by the float network."""

    lif: str
    target: float
    reached: float


def random_tensor(seed: int, network: str, tensor: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float32 that depends on nothing but seed and names."""
    digest = hashlib.sha256(f"{network}:{seed}:{tensor}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
    return torch.from_numpy(rng.standard_normal(shape, np.float32))


def firing_rate(x: Tensor, shift: float, tau: float, v_threshold: float) -> float:
    """Mean firing rate of `LIF(tau, v_threshold)` on currents x [T, ...] + shift."""
    v, fired = torch.zeros_like(x[0]), 0
    for current in x:
        v += (current - v).add_(shift).div_(tau)
        fire = v >= v_threshold
        fired += int(fire.sum())
        v.masked_fill_(fire, 0)
    return fired / x.numel()


def find_shift(x: Tensor, target: float, tau: float, v_threshold: float = 1.0) -> float:
    """The shift of currents x [T, ...] at which their LIF fires with the target rate, by bisection.

    A multiple of 2**-12: finer ones change nothing but the digits.
    """
    low, high = -LARGEST_SHIFT, LARGEST_SHIFT
    while high - low > 2 ** -12:
        middle = (low + high) / 2
        rate = firing_rate(x, middle, tau, v_threshold)
        if abs(rate - target) <= TOLERANCE * target:
            return middle
        low, high = (middle, high) if rate < target else (low, middle)
    return high


class _Synthesis:
    """Fills a network in the order of execution, with all calibration images at once."""

    def __init__(self, network: NetworkConfig, seed: int, targets: Mapping[str, float],
                 done: Callable[[Layer], None]) -> None:
        self.network, self.seed, self.targets, self.done = network, seed, targets, done
        self.model = Spikingformer(network).eval()
        self.layers = {layer.name: layer for layer in network.layers()}
        self.reached: dict[str, float] = {}
        for name, parameter in self.model.named_parameters():
            if name.endswith("conv.weight") or name == "head.weight":
                values = self._random(name, tuple(parameter.shape))
                parameter.copy_(values / parameter[0].numel() ** 0.5)
            elif name.endswith(".bias"):
                parameter.zero_()
            elif name.endswith("bn.weight"):
                # Uniform from normal: one kind of random number is enough.
                uniform = torch.erf(self._random(name, tuple(parameter.shape)) / 2 ** 0.5)
                parameter.copy_(1 + GAIN * uniform)

    def _random(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return random_tensor(self.seed, self.network.name, name, shape)

    def run(self, x: Tensor) -> None:
        """`x`: [B, C, H, W] or events [T, B, C, H, W], normalized."""
        network = self.network
        x = self._tokenizer(x[None] if network.static_input else x)
        for i in range(network.depth):
            attn, mlp = f"block.{i}.attn", f"block.{i}.mlp"
            spikes = self._attention(attn, self._fire(x, "patch_embed.block4" if not i else
                                                      f"block.{i - 1}.mlp.mlp2").flatten(3))
            x = self._residual(f"{attn}.proj", spikes, x)
            spikes = self._spiking(f"{mlp}.mlp1", self._fire(x, f"{attn}.proj"))
            x = self._residual(f"{mlp}.mlp2", spikes, x)
        head = self.model.head
        if network.classifier.spiking:
            x = self._fire(x, f"block.{network.depth - 1}.mlp.mlp2")
        # Logits centred on the pictures: a picture decides the class, not the weights alone.
        head.bias.copy_(-head.weight @ x.flatten(3).mean((0, 1, 3)))
        self.done(self.layers["head"])

    def _tokenizer(self, x: Tensor) -> Tensor:
        for i in range(4):
            layer = self.layers[f"patch_embed.block{i}"]
            x = self._spiking(layer.name, x)
            if layer.pool:
                x = functional.max_pool2d(x.flatten(0, 1), 3, 2, 1).unflatten(0, x.shape[:2])
        return self._residual("patch_embed.block4", x, None)

    def _module(self, name: str) -> nn.Module:
        return self.model.get_submodule(name)

    def _convolve(self, name: str, x: Tensor) -> tuple[Tensor, nn.Module]:
        """The convolution of x, and its BatchNorm with the statistics of that."""
        raw = self._module(f"{name}_conv")(x.flatten(0, 1))
        bn = self._module(f"{name}_bn")
        variance, mean = torch.var_mean(raw, [d for d in range(raw.dim()) if d != 1],
                                        correction=0)
        bn.running_mean.copy_(mean)
        bn.running_var.copy_(variance)
        bn.bias.copy_(SPREAD * self._random(f"{name}_bn.bias", tuple(bn.bias.shape)))
        return raw, bn

    def _current(self, raw: Tensor, bn: nn.Module, like: Tensor) -> Tensor:
        current = bn(raw).unflatten(0, like.shape[:2])
        # The one timestep of a static image stands for all.
        return current.expand(self.network.timesteps, *current.shape[1:])

    def _spiking(self, name: str, x: Tensor) -> Tensor:
        """ConvBN and LIF with the target rate; returns the spikes."""
        raw, bn = self._convolve(name, x)
        bn.bias += find_shift(self._current(raw, bn, x), self._target(name), self.network.tau)
        return self._fire(self._current(raw, bn, x), name)

    def _residual(self, name: str, x: Tensor, stream: Tensor | None) -> Tensor:
        """ConvBN onto the stream, with the target rate of the LIF that reads it."""
        grid = x.shape[3:] if stream is None else stream.shape[3:]
        raw, bn = self._convolve(name, x)

        def total() -> Tensor:
            addend = self._current(raw, bn, x).flatten(3).unflatten(3, grid)
            return addend if stream is None else stream + addend

        if self.layers[name].lif:
            bn.bias += find_shift(total(), self._target(name), self.network.tau)
        self.done(self.layers[name])
        return total()

    def _target(self, name: str) -> float:
        return self.targets[self.layers[name].lif]

    def _fire(self, current: Tensor, name: str) -> Tensor:
        """Spikes of the LIF behind a layer; notes its rate."""
        layer = self.layers[name]
        spikes = self._module(layer.lif)(current)
        self.reached[layer.lif] = float(spikes.mean(dtype=torch.float64))
        if name.endswith((".q", ".k", ".v", ".ssa")) or layer.output.value == "spikes":
            self.done(layer)
        return spikes

    def _attention(self, name: str, x: Tensor) -> Tensor:
        """Spikes of attn_lif on the spikes x [T, B, D, N] of proj_lif.

        Rates of q, k and v leave open which channels fire.  First the spread of rates among the
        channels is searched (q and k alike: a match of both is what attention counts), then, only
        if that is not enough, the odds of the three rates.
        """
        raws = {branch: self._convolve(f"{name}.{branch}", x) for branch in "qkv"}
        patterns = {branch: self._random(f"{name}.{'v' if branch == 'v' else 'qk'}.pattern",
                                         (self.network.embed_dim,)) for branch in "qkv"}

        def branches(spread: float, odds: float) -> list[Tensor]:
            spikes = []
            for branch, (raw, bn) in raws.items():
                bn.bias.copy_(spread * patterns[branch])
                target = _with_odds(self._target(f"{name}.{branch}"), odds)
                bn.bias += find_shift(self._current(raw, bn, x), target, self.network.tau)
                lif = self._module(f"{name}.{branch}_lif")
                spikes.append(lif(self._current(raw, bn, x)))
            return spikes

        def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (each.unflatten(2, (self.network.num_heads, -1)) for each in (q, k, v))
            return ((v @ k.transpose(-1, -2)) @ q).flatten(2, 3) * SCALE

        def rate(spread: float, odds: float) -> float:
            return firing_rate(attention(*branches(spread, odds)), 0.0, self.network.tau,
                               ATTENTION_V_THRESHOLD)

        target = self._target(f"{name}.ssa")
        spread = _search(lambda value: rate(value, 0.0), target, 0.0, LARGEST_SPREAD)
        odds = 0.0
        if abs(rate(spread, 0.0) - target) > 0.01 * target:
            odds = _search(lambda value: rate(spread, value), target, -LARGEST_ODDS, LARGEST_ODDS)
        spikes = branches(spread, odds)
        for branch, each in zip("qkv", spikes, strict=True):
            self.reached[f"{name}.{branch}_lif"] = float(each.mean(dtype=torch.float64))
            self.done(self.layers[f"{name}.{branch}"])
        return self._fire(attention(*spikes), f"{name}.ssa")


def _with_odds(rate: float, log_odds: float) -> float:
    """The rate whose odds are exp(log_odds) times those of `rate`."""
    odds = rate / (1 - rate) * np.exp(log_odds)
    return float(odds / (1 + odds))


def _search(function: Callable[[float], float], target: float, low: float, high: float) -> float:
    """Where a growing function comes closest to a target."""
    tried = {}
    for value in (low, high):
        tried[value] = function(value)
    if tried[low] < target < tried[high]:
        for _ in range(SEARCH_STEPS):
            middle = (low + high) / 2
            tried[middle] = function(middle)
            if abs(tried[middle] - target) <= TOLERANCE * target:
                break
            low, high = (middle, high) if tried[middle] < target else (low, middle)
    return min(tried, key=lambda value: abs(tried[value] - target))


@torch.no_grad()
def tune(network: NetworkConfig, seed: int, images: np.ndarray,
               targets: Mapping[str, float] | None = None,
               progress: bool = False) -> tuple[Spikingformer, list[Rate]]:
    """A float network whose LIFs fire with the target rates on these images.

    images:  normalized, [n, C, H, W] or [n, T, C, H, W]
    targets: by `Layer.lif`; default `rates.target_rates`
    Returns the network in eval mode and a `Rate` for each LIF, in the order of execution.
    """
    layers, targets = network.layers(), targets or rates.target_rates(network)
    x = torch.from_numpy(np.ascontiguousarray(images, np.float32))
    with tqdm(total=len(layers), desc="firing rates", unit="layer", disable=not progress,
              leave=False) as bar:
        def done(layer: Layer) -> None:
            bar.set_postfix_str(layer.name, refresh=False)
            bar.update()

        synthesis = _Synthesis(network, seed, targets, done)
        synthesis.run(x if network.static_input else x.transpose(0, 1))
    return synthesis.model, [Rate(layer.lif, targets[layer.lif], synthesis.reached[layer.lif])
                             for layer in layers if layer.lif]
