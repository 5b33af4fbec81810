# SPDX-License-Identifier: Apache-2.0
"""The whole integer network once more, in plain numpy: what the RTL is compared with.

Written from the equations alone and as literally as possible, so that neither the RTL nor the
golden PyTorch model can share a mistake with it.  In particular membranes are carried in infinite
precision (no floors) and attention sums are not saturated: that the RTL's short integers give the
same spikes is part of what is tested.
"""

from dataclasses import dataclass

import numpy as np

from hw.model import FixedPointModel, InputFormat, LayerTensors, ResidualFormat
from hw.network import Kind, Layer, NetworkConfig, Output, pooled


@dataclass
class Values:
    """Everything one layer computes: maps are [T, C, H, W], spikes before pooling."""

    layer: Layer
    acs: int = 0
    saturations: int = 0
    spikes: np.ndarray | None = None
    residual: np.ndarray | None = None
    logits: np.ndarray | None = None


def conv(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Convolution, stride 1, same padding: weight [O, I, k, k], x [I, H, W] to int64 [O, H, W]."""
    out_channels, in_channels, kernel, _ = weight.shape
    height, width = x.shape[1:]
    pad = kernel // 2
    padded = np.zeros((in_channels, height + 2 * pad, width + 2 * pad), np.int64)
    padded[:, pad:pad + height, pad:pad + width] = x
    out = np.zeros((out_channels, height, width), np.int64)
    for dy in range(kernel):
        for dx in range(kernel):
            tap = weight[:, :, dy, dx].astype(np.int64)
            out += np.einsum("oi,ihw->ohw", tap, padded[:, dy:dy + height, dx:dx + width])
    return out


def additions(layer: Layer, x: np.ndarray) -> int:
    """Weights added for the spikes x [I, H, W]: in-bounds taps times output channels."""
    ones = np.ones((layer.out_channels, layer.in_channels, layer.kernel, layer.kernel), np.int64)
    return int(conv(ones, x).sum())


def lif(x: np.ndarray, threshold: np.ndarray | int, tau: float) -> np.ndarray:
    """Spikes of x [T, ...]; the membrane is an exact fraction numerator / base**t.

    tau 2: h = v + x, v = h / 2; tau 1.5: h = v + 2x, v = h / 3; fire (and v = 0) at h >= threshold.
    """
    base, gain = (2, 1) if tau == 2 else (3, 2)
    spikes = np.zeros(x.shape, bool)
    numerator, scale = np.zeros(x.shape[1:], object), 1
    for t, current in enumerate(x):
        h = numerator + gain * current.astype(object) * scale
        spikes[t] = h >= threshold * scale
        numerator, scale = np.where(spikes[t], 0, h), scale * base
    return spikes


def pool(spikes: np.ndarray) -> np.ndarray:
    """OR over 3x3 windows, stride 2, padding 1: [T, C, H, W] to [T, C, ceil(H/2), ceil(W/2)]."""
    height, width = spikes.shape[2:]
    out = np.zeros((*spikes.shape[:2], pooled(height), pooled(width)), bool)
    for y in range(out.shape[2]):
        for x in range(out.shape[3]):
            window = spikes[:, :, max(2 * y - 1, 0):2 * y + 2, max(2 * x - 1, 0):2 * x + 2]
            out[:, :, y, x] = window.any((2, 3))
    return out


def attention_sums(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int) -> np.ndarray:
    """A = Q (K^T V) in every head, unbounded: spikes [T, D, N] to int64 [T, D, N]."""
    timesteps, channels, tokens = q.shape
    q, k, v = (s.reshape(timesteps, heads, -1, tokens).astype(np.int64) for s in (q, k, v))
    kv = np.einsum("thln,thcn->thlc", k, v)
    return np.einsum("thln,thlc->thcn", q, kv).reshape(timesteps, channels, tokens)


def attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int, tau: float) -> np.ndarray:
    """LIF(A / 8) with threshold 1/2, in units of 1/8: thresholds 2 * 4 and 3 * 4."""
    return lif(attention_sums(q, k, v, heads), 8 if tau == 2 else 12, tau)


def requantize(y: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """y * 2**-shift, rounded to nearest, halves up; int64 y [C, ...], shift [C]."""
    shift = shift.reshape(-1, *[1] * (y.ndim - 1))
    left = y << np.maximum(-shift, 0)
    return np.where(shift > 0, ((2 * left >> np.maximum(shift, 0)) + 1) >> 1, left)


def ones_in_planes(values: np.ndarray, width: int) -> np.ndarray:
    """Set bits of two's complement numbers of `width` bits."""
    return sum((values >> bit) & 1 for bit in range(width))


def run(model: FixedPointModel, x: np.ndarray, calibrate=None) -> list[Values]:
    """One inference: x raw integers [C, H, W], or [T, C, H, W] for events.

    calibrate(layer, tensors, current) may change all three before a LIF uses them.
    """
    network, T = model.network, model.network.timesteps
    source = residual = None
    branches, results = [], []
    for layer in network.layers():
        values, tensors = Values(layer), model.tensors.get(layer.name)
        results.append(values)
        if layer.kind is Kind.ATTENTION:
            flat = [spikes.reshape(T, network.embed_dim, -1) for spikes in branches]
            values.acs = network.head_dim * int(flat[0].sum() + flat[1].sum())
            source = attention(*flat, network.num_heads, network.tau).reshape(branches[0].shape)
            values.spikes, branches = source, []
            continue
        if layer.kind is Kind.CLASSIFIER and not network.classifier.spiking:
            sums = residual.sum((0, 2, 3))
            width = model.residual.width + (network.tokens * T - 1).bit_length()
            total = tensors.weight[:, :, 0, 0].astype(np.int64) @ sums
            values.acs = layer.out_channels * int(ones_in_planes(sums, width).sum())
            values.logits = (total << tensors.bias_shift) + tensors.bias
            continue
        if layer.kind is Kind.ENCODER:
            frames = x[None] if network.static_input else x
            values.acs = sum(additions(layer, frame >> bit & 1)
                             for frame in frames for bit in range(model.input.bits))
            sums = np.array([conv(tensors.weight, frame) for frame in frames])
            if network.static_input:
                sums = np.repeat(sums, T, 0)
        else:
            values.acs = sum(additions(layer, frame) for frame in source)
            sums = np.array([conv(tensors.weight, frame) for frame in source])
        if layer.kind is Kind.CLASSIFIER:
            values.logits = (sums.sum((0, 2, 3)) << tensors.bias_shift) + tensors.bias
            continue
        current = (sums << tensors.bias_shift) + tensors.bias[:, None, None]
        if layer.output is Output.RESIDUAL:
            rounded = np.array([requantize(frame, tensors.shift) for frame in current])
            exact = rounded + (residual if layer.adds else 0)
            limit = model.residual.maximum
            residual = current = np.clip(exact, -limit - 1, limit)
            values.residual, values.saturations = residual, int((residual != exact).sum())
        if layer.lif:
            if calibrate is not None:
                calibrate(layer, tensors, current)
            values.spikes = lif(current, tensors.threshold[:, None, None], network.tau)
            if layer.name.rpartition(".")[2] in ("q", "k", "v"):
                branches.append(values.spikes)
            else:
                source = pool(values.spikes) if layer.pool else values.spikes
    return results


def random_model(network: NetworkConfig, seed: int = 0, bits: int = 8,
                 input_format: InputFormat | None = None, residual_width: int = 16,
                 density: float = 0.2, branch_density: float = 0.6,
                 shrink_all_but: str = "") -> tuple[FixedPointModel, np.ndarray]:
    """A model with random integers whose LIFs fire at about `density`, and an input for it.

    branch_density: of q, k and v; attention multiplies three of them
    shrink_all_but: the weights of all layers but this one are small, so that it has the widest sums
    Thresholds come from that input, since with arbitrary ones no spike gets past the second LIF.
    """
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in network.layers():
        if layer.has_weights:
            limit = 1 << bits - 1
            shape = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
            is_residual = layer.output is Output.RESIDUAL
            if shrink_all_but and layer.name != shrink_all_but:
                limit = 4
            tensors[layer.name] = LayerTensors(
                weight=rng.integers(-limit, limit, shape).astype(np.int8),
                bias=rng.integers(-200, 200, layer.out_channels),
                bias_shift=int(rng.integers(0, 4)),
                shift=rng.integers(-2, 6, layer.out_channels) if is_residual else None,
                threshold=np.full(layer.out_channels, 100) if layer.lif else None)
    fmt = input_format or InputFormat(5, False, 1 / 16, (0.0,) * network.in_channels,
                                      (1.0,) * network.in_channels)
    model = FixedPointModel(network, bits, fmt, ResidualFormat(residual_width, 4), tensors)

    def calibrate(layer: Layer, tensors: LayerTensors, current: np.ndarray) -> None:
        is_branch = layer.name.rpartition(".")[2] in ("q", "k", "v")
        wanted = branch_density if is_branch else density
        if layer.output is Output.SPIKES:
            # Moved to where thresholds above zero can be reached: each channel by its own values,
            # but all together where a channel has a single value.
            axes = (0, 2, 3) if current[:, 0].size > 1 else (0, 1, 2, 3)
            center = np.broadcast_to(np.quantile(current, 0.9 - wanted, axis=axes),
                                     len(tensors.bias)).astype(np.int64)
            tensors.bias[:] -= center
            current -= center[:, None, None]
        level = np.quantile(current * (1.5 if network.timesteps > 1 else 1), 1 - wanted,
                            axis=(0, 2, 3))
        tensors.threshold[:] = np.maximum(1, level).astype(np.int64)

    shape = (network.in_channels, network.image_height, network.image_width)
    x = rng.integers(fmt.minimum, fmt.maximum + 1,
                     shape if network.static_input else (network.timesteps, *shape))
    run(model, x, calibrate)
    return model, x
