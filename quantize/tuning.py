# SPDX-License-Identifier: Apache-2.0
"""Random networks whose neurons fire as those of a trained one.

Weights are random, BatchNorm statistics are those of given images, and BatchNorm biases are moved,
layer by layer in the order of execution, until every LIF fires with its target rate
(`quantize.rates`).
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hw.command import progress_bar
from hw.network import Layer, NetworkConfig
from quantize import rates
from quantize.search import SEARCH_TOLERANCE, find_shift, firing_rate, search, with_odds
from quantize.spikingformer import ATTENTION_V_THRESHOLD, SCALE, Spikingformer

# Channels of a trained network differ: BatchNorm gains in 1 +- GAIN, biases with this deviation,
# unless the deviation is searched.
GAIN = 0.25
SPREAD = 0.5
LARGEST_SPREAD = 4.0
LARGEST_ODDS = 4.0


@dataclass(frozen=True)
class Rate:
    """Firing rate of one LIF, 0 to 1: wanted, and reached by the float network.

    pooled_target, pooled: the same behind the max-pool that follows, None where none does
    """

    lif: str
    target: float
    reached: float
    pooled_target: float | None = None
    pooled: float | None = None


def random_tensor(seed: int, network: str, tensor: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float32 that depends on nothing but seed and names."""
    digest = hashlib.sha256(f"{network}:{seed}:{tensor}".encode()).digest()
    rng = np.random.default_rng(np.frombuffer(digest, np.uint32))
    return torch.from_numpy(rng.standard_normal(shape, np.float32))


def max_pool(spikes: Tensor) -> Tensor:
    """The tokenizer's pooling of [T, B, C, H, W]."""
    return functional.max_pool2d(spikes.flatten(0, 1), 3, 2, 1).unflatten(0, spikes.shape[:2])


class _Tuning:
    """Fills a network in the order of execution, with all calibration images at once."""

    def __init__(self, network: NetworkConfig, seed: int, targets: Mapping[str, float],
                 pooled: Mapping[str, float], done: Callable[[str], None]) -> None:
        self.network, self.seed, self.done = network, seed, done
        self.targets, self.pooled = targets, pooled
        self.model = Spikingformer(network).eval()
        self.layers = {layer.name: layer for layer in network.layers()}
        self.rates: dict[str, Rate] = {}
        for name, parameter in self.model.named_parameters():
            if name.endswith("conv.weight") or name == "head.weight":
                values = self._random(name, tuple(parameter.shape))
                parameter.copy_(values / parameter[0].numel() ** 0.5)
            elif name.endswith(".bias"):
                parameter.zero_()
            else:
                # Uniform from normal: one kind of random number is enough.
                uniform = torch.erf(self._random(name, tuple(parameter.shape)) / 2 ** 0.5)
                parameter.copy_(1 + GAIN * uniform)
        # The encoder sees edges, as a trained one does: brightness would make all neighbours fire
        # together, and a pool behind them would read too few spikes.
        encoder = self.model.patch_embed.block0_conv.weight
        encoder -= encoder.mean((2, 3), keepdim=True)

    def run(self, x: Tensor) -> None:
        """`x`: [1, B, C, H, W] of static images or events [T, B, C, H, W], normalized."""
        network = self.network
        for i in range(4):
            layer = self.layers[f"patch_embed.block{i}"]
            x = self._spiking(layer, x)
            x = max_pool(x) if layer.pool else x
        layer = self.layers["patch_embed.block4"]
        x = self._residual(layer, x, None)
        for i in range(network.depth):
            attn, mlp = f"block.{i}.attn", f"block.{i}.mlp"
            spikes = self._attention(attn, self._fire(layer, x).flatten(3))
            layer = self.layers[f"{attn}.proj"]
            x = self._residual(layer, spikes, x)
            spikes = self._spiking(self.layers[f"{mlp}.mlp1"], self._fire(layer, x))
            layer = self.layers[f"{mlp}.mlp2"]
            x = self._residual(layer, spikes, x)
        if network.classifier.spiking:
            x = self._fire(layer, x)
        head = self.model.head
        # Logits centred on the pictures: a picture decides the class, not the weights alone.
        head.bias.copy_(-head.weight @ x.flatten(3).mean((0, 1, 3)))

    def _random(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return random_tensor(self.seed, self.network.name, name, shape)

    def _convolve(self, name: str, x: Tensor) -> tuple[Tensor, nn.Module]:
        """The convolution of x [T, B, ...], and its BatchNorm with the statistics of that."""
        raw = self.model.get_submodule(f"{name}_conv")(x.flatten(0, 1))
        bn = self.model.get_submodule(f"{name}_bn")
        axes = [axis for axis in range(raw.dim()) if axis != 1]
        variance, mean = torch.var_mean(raw, axes, correction=0)
        bn.running_mean.copy_(mean)
        bn.running_var.copy_(variance)
        return raw.unflatten(0, x.shape[:2]), bn

    def _current(self, raw: Tensor, bn: nn.Module, biases: Tensor, target: float | None,
                 stream: Tensor | None = None) -> Tensor:
        """What enters a LIF, its BatchNorm biases moved so that it fires with the target rate.

        biases: before they move, all alike
        target: None where no LIF follows
        stream: that the result is added to
        """
        def current() -> Tensor:
            x = bn(raw.flatten(0, 1)).unflatten(0, raw.shape[:2])
            # The one timestep of a static image stands for all.
            x = x.expand(self.network.timesteps, *x.shape[1:])
            return x if stream is None else stream + x.view_as(stream)

        bn.bias.copy_(biases)
        if target is not None:
            bn.bias += find_shift(current(), target, self.network.tau)
        return current()

    def _spiking(self, layer: Layer, x: Tensor) -> Tensor:
        """ConvBN and LIF; returns the spikes before pooling.

        The rate behind a max-pool depends on how unlike the channels are: a few busy channels fire
        where the window holds a spike already.
        """
        raw, bn = self._convolve(layer.name, x)
        lif, target = self.model.get_submodule(layer.lif), self.targets[layer.lif]

        biases = self._random(f"{layer.name}_bn.bias", (layer.out_channels,))

        def pooled(spread: float) -> float:
            return float(max_pool(lif(self._current(raw, bn, spread * biases, target))).mean())

        spread = SPREAD
        if layer.lif in self.pooled:
            spread, _ = search(pooled, self.pooled[layer.lif], 0.0, LARGEST_SPREAD)
        return self._fire(layer, self._current(raw, bn, spread * biases, target))

    def _residual(self, layer: Layer, x: Tensor, stream: Tensor | None) -> Tensor:
        """ConvBN onto the stream, tuned for the LIF that reads it."""
        raw, bn = self._convolve(layer.name, x)
        biases = self._random(f"{layer.name}_bn.bias", (layer.out_channels,))
        return self._current(raw, bn, SPREAD * biases, self.targets.get(layer.lif), stream)

    def _fire(self, layer: Layer, current: Tensor) -> Tensor:
        """Spikes of the LIF behind a layer; notes its rate."""
        spikes = self.model.get_submodule(layer.lif)(current)
        pooled = float(max_pool(spikes).mean(dtype=torch.float64)) if layer.pool else None
        self.rates[layer.lif] = Rate(
            layer.lif, self.targets[layer.lif], float(spikes.mean(dtype=torch.float64)),
            self.pooled.get(layer.lif), pooled)
        self.done(layer.lif)
        return spikes

    def _attention(self, name: str, x: Tensor) -> Tensor:
        """Spikes of attn_lif on the spikes x [T, B, D, N] of proj_lif.

        Rates of q, k and v leave open which channels fire, and attention counts where q and k both
        do.  So what is searched is how unlike the channels of q and k are: with the same pattern
        in both (alignment above 0), or busy channels of one where the other rests (below 0).  v
        keeps its channels alike, since those that never fire have no output.  Only where that is
        not enough, the three rates move, by equal log odds.
        """
        layers = {branch: self.layers[f"{name}.{branch}"] for branch in "qkv"}
        convolved = {branch: self._convolve(f"{name}.{branch}", x) for branch in "qkv"}
        pattern = self._head_pattern(f"{name}.qk_bn.bias")

        def currents(alignment: float, odds: float) -> dict[str, Tensor]:
            spreads = {"q": abs(alignment), "k": alignment, "v": 0.0}
            return {branch: self._current(
                        raw, bn, spreads[branch] * pattern,
                        with_odds(self.targets[layers[branch].lif], odds))
                    for branch, (raw, bn) in convolved.items()}

        def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            q, k, v = (each.unflatten(2, (self.network.num_heads, -1)) for each in (q, k, v))
            return ((v @ k.transpose(-1, -2)) @ q).flatten(2, 3) * SCALE

        def rate(alignment: float, odds: float) -> float:
            spikes = [self.model.get_submodule(layers[branch].lif)(current)
                      for branch, current in currents(alignment, odds).items()]
            return firing_rate(attention(*spikes), 0.0, self.network.tau, ATTENTION_V_THRESHOLD)

        layer = self.layers[f"{name}.ssa"]
        target, odds = self.targets[layer.lif], 0.0
        alignment, reached = search(lambda value: rate(value, 0.0), target,
                                     -LARGEST_SPREAD, LARGEST_SPREAD)
        if abs(reached - target) > 2 * SEARCH_TOLERANCE * target:
            odds, _ = search(lambda value: rate(alignment, value), target,
                              -LARGEST_ODDS, LARGEST_ODDS)
        spikes = [self._fire(layers[branch], current)
                  for branch, current in currents(alignment, odds).items()]
        return self._fire(layer, attention(*spikes))

    def _head_pattern(self, name: str) -> Tensor:
        """Quantiles of the normal distribution [D], the same in each head, in random order.

        Drawn channel by channel, some heads would have no busy channel, and no attention.
        """
        heads, size = self.network.num_heads, self.network.head_dim
        quantiles = [NormalDist().inv_cdf((i + 0.5) / size) for i in range(size)]
        order = self._random(name, (heads, size)).argsort(1)
        return torch.tensor(quantiles, dtype=torch.float32)[order].flatten()


@torch.no_grad()
def tune(network: NetworkConfig, seed: int, images: np.ndarray,
         targets: Mapping[str, float] | None = None, pooled: Mapping[str, float] | None = None,
         progress: bool = False) -> tuple[Spikingformer, list[Rate]]:
    """A float network whose LIFs fire with the target rates on these images.

    images:  normalized, [n, C, H, W] or [n, T, C, H, W]
    targets: of every LIF before pooling, by `Layer.lif`; default `rates.target_rates`
    pooled:  behind the max-pool, of some of them; default `rates.pooled_rates`
    Returns the network in eval mode and a `Rate` for each LIF, in the order of execution.
    """
    targets = rates.target_rates(network) if targets is None else targets
    pooled = rates.pooled_rates(network) if pooled is None else pooled
    x = torch.from_numpy(np.ascontiguousarray(images, np.float32))
    with progress_bar(total=len(targets), desc="firing rates", unit="layer", disable=not progress,
              leave=False) as bar:
        def done(lif: str) -> None:
            bar.set_postfix_str(lif, refresh=False)
            bar.update()

        tuning = _Tuning(network, seed, targets, pooled, done)
        tuning.run(x[None] if network.static_input else x.transpose(0, 1))
    return tuning.model, [tuning.rates[lif] for lif in targets]
