# SPDX-License-Identifier: Apache-2.0
"""The integer golden model: what the RTL must compute, value for value.

Equations: `hw.model.LayerTensors` and docs/numerics.md.  Everything after a sum is int64.  Sums run
as matrix products in float32 or float64: their products and partial sums, in whatever order, are
integers below a bound on the weights, which must be one up to which the format holds every integer.
(A convolution routine proves nothing: Winograd's or a Fourier transform has other intermediates.)

`python -m quantize.golden DIR` prints the seconds that each layer takes.
"""

import argparse
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hw.command import Outcome, Parser, execute, progress_bar
from hw.layout import token_sum_width
from hw.model import SAMPLES, FixedPointModel, LayerTensors, Samples
from hw.network import Kind, Layer, NetworkConfig, Output
from quantize.attention import THRESHOLD, AttentionOrder, attention, operations

EXACT = ((torch.float32, 1 << 24), (torch.float64, 1 << 53))

# Values of the largest map of the images that run together: bounds the memory of a batch.
BATCH_VALUES = 1 << 23


@dataclass(frozen=True)
class LayerResult:
    """What one layer computes for one image.

    spikes:    bool [T, O, H, W] of the LIF that follows, before pooling; None without a LIF
    residual:  int64 [T, O, H, W], the stream after this layer's addition; None for other layers
    logits:    int64 [classes] of the classifier, None elsewhere
    acs:       weights added because an input bit asked for it (padding taps excluded)
    shared:    those of them that two neighbouring positions x (even) and x + 1 both need, counted
               once: what `hw.reuse` saves where it is used
    dense:     acs if every input bit were set
    input_density:  set input bits / input bits
    saturations:    residual values that saturated
    rates:     share of ones of each spike map read (q, k, v for attention); () for multi-bit inputs
    timesteps, head_dim:  of the network, for `quantize.energy`
    """

    name: str
    layer: Layer
    spikes: np.ndarray | None
    residual: np.ndarray | None
    logits: np.ndarray | None
    acs: int
    shared: int
    dense: int
    input_density: float
    saturations: int
    rates: tuple[float, ...]
    timesteps: int
    head_dim: int

    def without_maps(self) -> "LayerResult":
        """The same counts without spikes and residual, to keep when memory matters."""
        return replace(self, spikes=None, residual=None)


@dataclass(frozen=True)
class Step:
    """One layer for a whole batch; tensors are [T, B, channels, height, width].

    current: int64, y of a layer that feeds a LIF or the residual stream
    """

    layer: Layer
    current: Tensor | None = None
    spikes: Tensor | None = None
    residual: Tensor | None = None
    logits: Tensor | None = None      # [B, classes]
    acs: Tensor | None = None         # [B]
    shared: Tensor | None = None      # [B]
    dense: int = 0
    density: Tensor | None = None     # [B]
    rates: tuple[Tensor, ...] = ()    # [B] each, for inputs that are spikes
    saturations: Tensor | None = None  # [B]


def lif(x: Tensor, threshold: Tensor, tau: float) -> Tensor:
    """Spikes of h = v + x (tau 2) or v + 2x (tau 1.5) over the leading T; see docs/numerics.md.

    x int64 [T, ...], threshold broadcastable to x[0]; returns bool [T, ...].
    """
    v, spikes = torch.zeros_like(x[0]), []
    for current in x:
        h = v + current if tau == 2 else v + 2 * current
        fire = h >= threshold
        decayed = h >> 1 if tau == 2 else torch.div(h, 3, rounding_mode="floor")
        v = torch.where(fire, 0, decayed)
        spikes.append(fire)
    return torch.stack(spikes)


def max_pool(spikes: Tensor) -> Tensor:
    """OR over the valid part of 3x3 windows, stride 2, padding 1; bool [T, B, C, H, W]."""
    for axis in (3, 4):
        # Output i reads 2i - 1, 2i and 2i + 1; the first has no left, the last maybe no right one.
        parts = spikes.transpose(axis, 0)
        pooled, odd = parts[::2].clone(), parts[1::2]
        pooled[:len(odd)] |= odd
        pooled[1:] |= odd[:len(pooled) - 1]
        spikes = pooled.transpose(axis, 0)
    return spikes.contiguous()


def requantize(y: Tensor, shift: Tensor) -> Tensor:
    """y << -shift where shift <= 0, else (y + 2**(shift-1)) >> shift: nearest, halves up."""
    right = shift.clamp(min=0)
    half = torch.where(shift > 0, 1 << (right - 1).clamp(min=0), 0)
    return ((y << (-shift).clamp(min=0)) + half) >> right


class GoldenModel:
    """A fixed-point model that runs.

    `run` gives every value of every layer, `results` those of one image layer by layer, `logits`
    only the answers.  Inputs are raw integers of `hw.model.InputFormat`: [n, C, H, W] for a static
    network, [n, T, C, H, W] for events.

    attention_order: of its products; the spikes are the same, the counts of the attention layers
                     are not.  Default: what the RTL executes.

    Raises ValueError for sums that no float holds exactly.
    """

    def __init__(self, model: FixedPointModel,
                 attention_order: AttentionOrder = AttentionOrder.KV_FIRST) -> None:
        self.model, self.attention_order = model, attention_order
        self._kernels: dict[str, Tensor] = {}
        for layer in model.network.layers():
            if layer.has_weights:
                limit = self._largest_input(layer) * self._abs_sum(model.tensors[layer.name])
                dtype = next((dtype for dtype, bound in EXACT if limit < bound), None)
                if dtype is None:
                    raise ValueError(f"sums of {layer.name} must be below 2**53, not {limit!r}")
                weight = torch.from_numpy(model.tensors[layer.name].weight)
                self._kernels[layer.name] = weight.flatten(1).to(dtype)

    @staticmethod
    def _abs_sum(tensors: LayerTensors) -> int:
        return int(np.abs(tensors.weight.astype(np.int64)).reshape(len(tensors.weight), -1)
                   .sum(1).max())

    def _largest_input(self, layer: Layer) -> int:
        if layer.kind is Kind.ENCODER:
            return 1 << self.model.input.bits
        if layer.kind is Kind.CLASSIFIER and not self.model.network.classifier.spiking:
            return 1 << token_sum_width(self.model.network, self.model.residual.width)
        return 1

    @property
    def batch(self) -> int:
        """How many images run together in `run` and `logits`, 1 to 64."""
        network = self.model.network
        largest = max(layer.out_channels * layer.positions for layer in network.layers())
        if self.attention_order is AttentionOrder.QK_FIRST:
            largest = max(largest, network.num_heads * network.tokens ** 2)
        return min(64, max(1, BATCH_VALUES // (largest * network.timesteps)))

    def run(self, inputs: np.ndarray) -> list[list[LayerResult]]:
        """Every layer of every image: `result[image][layer]`."""
        self._check(inputs)
        results: list[list[LayerResult]] = []
        for part in self._parts(inputs, self.batch):
            images: list[list[LayerResult]] = [[] for _ in part]
            for step in self.steps(part):
                for number, image in enumerate(images):
                    image.append(_result(step, number, self.model.network))
            results += images
        return results

    def results(self, image: np.ndarray) -> Iterator[LayerResult]:
        """Every layer of one input [C, H, W] or [T, C, H, W], to be used and dropped in turn."""
        for step in self.steps(image[None]):
            yield _result(step, 0, self.model.network)

    def logits(self, inputs: np.ndarray, batch: int | None = None) -> np.ndarray:
        """Raw logits, int64 [n, classes]."""
        return np.concatenate([deque(self.steps(part), maxlen=1).pop().logits.numpy()
                               for part in self._parts(inputs, batch or self.batch)])

    @staticmethod
    def _parts(inputs: np.ndarray, batch: int) -> Iterator[np.ndarray]:
        return (inputs[first:first + batch] for first in range(0, len(inputs), batch))

    @torch.no_grad()
    def steps(self, inputs: np.ndarray) -> Iterator[Step]:
        """Yield the layers' `Step`s for a batch, in the order of `network.layers()`."""
        network = self.model.network
        self._check(inputs)
        spikes = torch.from_numpy(np.ascontiguousarray(inputs)).long()
        spikes = spikes[None] if network.static_input else spikes.transpose(0, 1)
        residual, branches = None, []
        for layer in network.layers():
            if layer.kind is Kind.ATTENTION:
                step = self._attention(layer, *branches)
                branches = []
            elif layer.kind is Kind.CLASSIFIER:
                step = self._classifier(layer, spikes, residual)
            else:
                step = self._convolution(layer, spikes, residual)
            if step.residual is not None:
                residual = step.residual
            if layer.name.endswith((".attn.q", ".attn.k", ".attn.v")):
                branches.append(step.spikes)
            elif step.spikes is not None:
                spikes = max_pool(step.spikes) if layer.pool else step.spikes
            yield step

    def _check(self, inputs: np.ndarray) -> None:
        network, fmt = self.model.network, self.model.input
        shape = (network.in_channels, network.image_height, network.image_width)
        if not network.static_input:
            shape = (network.timesteps, *shape)
        if inputs.shape[1:] != shape:
            raise ValueError(f"inputs must have shape (n, {', '.join(map(str, shape))}), "
                             f"not {inputs.shape!r}")
        if inputs.dtype.kind not in "biu":
            raise ValueError(f"inputs must be integers, not {inputs.dtype}")
        if inputs.size and not fmt.minimum <= inputs.min() <= inputs.max() <= fmt.maximum:
            raise ValueError(f"inputs must be {fmt.minimum} to {fmt.maximum}, "
                             f"not {int(inputs.min())!r} to {int(inputs.max())!r}")

    def _sums(self, layer: Layer, x: Tensor) -> Tensor:
        kernel = self._kernels[layer.name]
        maps = x.flatten(0, 1).to(kernel.dtype)
        columns = maps.flatten(2) if layer.kernel == 1 else F.unfold(maps, layer.kernel, padding=1)
        sums = (kernel @ columns).long()
        return sums.unflatten(0, x.shape[:2]).unflatten(3, x.shape[3:])

    def _fire(self, layer: Layer, x: Tensor) -> Tensor:
        """The spikes of the LIF after a layer with weights."""
        threshold = self.model.tensors[layer.name].threshold
        return lif(x, _per_channel(threshold), self.model.network.tau)

    def _convolution(self, layer: Layer, x: Tensor, residual: Tensor | None) -> Step:
        network, tensors = self.model.network, self.model.tensors[layer.name]
        y = (self._sums(layer, x) << tensors.bias_shift) + _per_channel(tensors.bias)
        if layer.kind is Kind.ENCODER:
            bits, planes = _set_bits(x, self.model.input.bits), self.model.input.bits
            if network.static_input:   # encoded once, seen by every timestep
                y = y.expand(network.timesteps, *y.shape[1:])
        else:
            bits, planes = x, 1
        counts = _count(layer, bits, planes)
        if layer.output is Output.SPIKES:
            return Step(layer, current=y, spikes=self._fire(layer, y), **counts)
        total = requantize(y, _per_channel(tensors.shift))
        if layer.adds:
            total = total + residual
        limit = self.model.residual.maximum
        stream = total.clamp(-limit - 1, limit)
        spikes = self._fire(layer, stream) if layer.lif else None
        return Step(layer, current=y, spikes=spikes, residual=stream,
                    saturations=(stream != total).sum((0, 2, 3, 4)), **counts)

    def _attention(self, layer: Layer, q: Tensor, k: Tensor, v: Tensor) -> Step:
        network, order = self.model.network, self.attention_order
        a = attention(q, k, v, network.num_heads, order)
        spikes = lif(a, torch.tensor(THRESHOLD[network.tau]), network.tau)
        acs, dense, density = operations(q, k, v, network.num_heads, order)
        return Step(layer, spikes=spikes, acs=acs, dense=dense, density=density,
                    rates=tuple(x.double().mean((0, 2, 3, 4)) for x in (q, k, v)))

    def _classifier(self, layer: Layer, spikes: Tensor, residual: Tensor) -> Step:
        network, tensors = self.model.network, self.model.tensors[layer.name]
        if network.classifier.spiking:
            bits, planes = spikes, 1
            x = bits.sum((0, 3, 4))
        else:
            x = residual.sum((0, 3, 4))
            planes = token_sum_width(network, self.model.residual.width)
            bits = _set_bits(x, planes)[None, :, :, None, None]
        weight = torch.from_numpy(tensors.weight[:, :, 0, 0].astype(np.int64))
        logits = (x @ weight.T << tensors.bias_shift) + torch.from_numpy(tensors.bias)
        return Step(layer, logits=logits, **_count(layer, bits, planes))


def _per_channel(values: np.ndarray) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))[:, None, None]


def _set_bits(x: Tensor, width: int) -> Tensor:
    """Number of set bits in the two's complement representation of `width` bits."""
    return sum(x >> i & 1 for i in range(width))


def _count(layer: Layer, bits: Tensor, planes: int) -> dict:
    """ACs of set input bits [T, B, C, H, W]: each reaches the outputs whose window contains it."""
    def taps(size: int) -> Tensor:
        reach = torch.full((size,), layer.kernel)
        if layer.kernel == 3:
            reach[0] -= 1
            reach[-1] -= 1
        return reach.clamp(min=1)

    outputs = taps(bits.shape[3])[:, None] * taps(bits.shape[4]) * layer.out_channels
    size = bits[:, 0].numel() * planes
    places = bits.sum((0, 2))   # how many are set at each position, [B, H, W]
    shared = torch.zeros_like(places[:, 0, 0])
    if layer.kind is Kind.CONV and bits.shape[4] % 2 == 0:
        # A tap of column x, which is the same tap of its neighbour's column x + 1.
        both = (bits[..., :-1] & bits[..., 1:]).sum((0, 2))
        columns = torch.ones(bits.shape[4] - 1, dtype=torch.long)
        columns[1::2] = 2 if layer.kernel == 3 else 0   # last tap of a pair, first one of the next
        shared = (both * (taps(bits.shape[3])[:, None] * columns)).sum((1, 2)) * layer.out_channels
    density = places.sum((1, 2)) / size
    return {"acs": (places * outputs).sum((1, 2)), "shared": shared,
            "dense": int(outputs.sum()) * bits.shape[0] * bits.shape[2] * planes,
            "density": density, "rates": (density,) if planes == 1 else ()}


def _result(step: Step, image: int, network: NetworkConfig) -> LayerResult:
    def pick(x: Tensor | None) -> np.ndarray | None:
        return None if x is None else x[:, image].numpy()

    return LayerResult(
        name=step.layer.name, layer=step.layer, spikes=pick(step.spikes),
        residual=pick(step.residual),
        logits=None if step.logits is None else step.logits[image].numpy(),
        acs=int(step.acs[image]),
        shared=0 if step.shared is None else int(step.shared[image]), dense=step.dense,
        input_density=float(step.density[image]),
        saturations=0 if step.saturations is None else int(step.saturations[image]),
        rates=tuple(float(rate[image]) for rate in step.rates), timesteps=network.timesteps,
        head_dim=network.head_dim)


def layer_seconds(golden: GoldenModel, image: np.ndarray) -> list[tuple[float, LayerResult]]:
    """Seconds that each layer of one input takes, with its counts (no maps)."""
    timed, start = [], time.perf_counter()
    for result in golden.results(image):
        timed.append((time.perf_counter() - start, result.without_maps()))
        start = time.perf_counter()
    return timed


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m quantize.golden",
        description="Time the integer golden model: seconds per image and per layer.")
    parser.add_argument("model", type=Path, metavar="DIR", help="model directory")
    parser.add_argument("--samples", type=int, default=1, metavar="N",
                        help="inputs to run, held-out ones where DIR has them, else random (1)")
    parser.add_argument("--attention-order", choices=[order.value for order in AttentionOrder],
                        default=AttentionOrder.KV_FIRST.value,
                        help="Q (K^T V), as the RTL (default), or (Q K^T) V: other counts, no "
                             "other spikes")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0, or 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    if arguments.samples < 1:
        raise ValueError(f"--samples must be at least 1, not {arguments.samples!r}")
    model = FixedPointModel.load(arguments.model)
    inputs = _samples(arguments.model, model, arguments.samples)
    golden = GoldenModel(model, AttentionOrder(arguments.attention_order))
    runs = [layer_seconds(golden, image)
            for image in progress_bar(inputs, desc="golden model", unit="image", leave=False)]
    print(f"{'layer':<22} {'seconds':>8} {'AC':>16} {'density':>8}")
    layers = []
    for timed in zip(*runs):
        seconds, acs, density = np.mean([(seconds, result.acs, result.input_density)
                                         for seconds, result in timed], axis=0)
        layers.append({"layer": timed[0][1].name, "seconds": seconds, "acs": acs,
                       "density": density})
        print(f"{timed[0][1].name:<22} {seconds:>8.3f} {acs:>16,.0f} {density:>8.2%}")
    totals = [sum(seconds for seconds, _ in run) for run in runs]
    print(f"{np.mean(totals):.2f} s per image, {min(totals):.2f} to {max(totals):.2f} s; "
          f"images: {len(runs)}, threads: {torch.get_num_threads()}")
    return Outcome({"layers": layers, "seconds": totals})


def _samples(directory: Path, model: FixedPointModel, count: int) -> np.ndarray:
    network, fmt = model.network, model.input
    if (directory / SAMPLES).is_file():
        return Samples.load(directory).inputs[:count]
    shape = (network.in_channels, network.image_height, network.image_width)
    if not network.static_input:
        shape = (network.timesteps, *shape)
    return np.random.default_rng(0).integers(fmt.minimum, fmt.maximum + 1, (count, *shape))


if __name__ == "__main__":
    sys.exit(main())
