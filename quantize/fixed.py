# SPDX-License-Identifier: Apache-2.0
"""Fused float weights to the integers of `hw.model.LayerTensors`.

Grids (docs/numerics.md).  A layer that feeds a LIF: any scale per output channel for which the
threshold is an integer.  A layer that feeds the residual stream: a power of two per output channel.
The classifier: one scale for all classes, so that logits compare.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hw.model import FixedPointModel, InputFormat, LayerTensors, ResidualFormat
from hw.network import Kind, Layer, NetworkConfig, Output
from quantize.fuse import FusedLayer

# Bits of bias and threshold below the weights' grid: coarse weights need a finer bias.
BIAS_SHIFT = {8: 2, 6: 3, 4: 4}
# The scale is the best of so many between half the largest weight and all of it.
CANDIDATES = 33
# Weights below 2**-16 of the threshold cannot matter and would only widen the threshold.
SMALLEST_SCALE = 2.0 ** -16
RESIDUAL_MARGIN = 2.0   # headroom of the residual stream over what calibration saw


def threshold_factor(tau: float) -> int:
    """h is compared with this times the threshold: 2 for tau 2, 3 for tau 1.5."""
    return 2 if tau == 2 else 3


def residual_format(width: int, largest: float, fraction: int | None = None) -> ResidualFormat:
    """The finest residual grid on which `largest` times a margin does not saturate.

    largest:  absolute value of the residual stream, from calibration
    fraction: use this one instead
    """
    ResidualFormat(width, 0)   # refuses a width before there are logarithms of it
    if fraction is None:
        limit = (1 << width - 1) - 1
        fraction = int(np.floor(np.log2(limit / max(largest * RESIDUAL_MARGIN, 1e-3))))
        fraction = min(max(fraction, 0), width - 1)
    return ResidualFormat(width, fraction)


def quantize(network: NetworkConfig, fused: Mapping[str, FusedLayer], input_format: InputFormat,
             residual: ResidualFormat, weight_bits: int = 8,
             provenance: Mapping[str, Any] | None = None) -> FixedPointModel:
    """The fixed-point model of a fused network.

    The input's scale is folded into the encoder's weights.  ValueError for formats that do not fit
    (see `FixedPointModel`).
    """
    tensors, logit_scale = {}, 1.0
    for layer in network.layers():
        if not layer.has_weights:
            continue
        part = fused[layer.name]
        if layer.kind is Kind.ENCODER:
            part = FusedLayer(part.weight * input_format.scale, part.bias)
        if layer.output is Output.LOGITS:
            tensors[layer.name], logit_scale = _classifier(network, part, residual, weight_bits)
        elif layer.output is Output.RESIDUAL:
            tensors[layer.name] = _residual_layer(network, part, residual, weight_bits,
                                                  layer.v_threshold if layer.lif else None)
        else:
            tensors[layer.name] = _spiking_layer(network, part, weight_bits, layer.v_threshold)
    return FixedPointModel(network, weight_bits, input_format, residual, tensors, logit_scale,
                           provenance=dict(provenance or {}))


def grid(model: FixedPointModel, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """What a layer's integers are worth: of its weights and of its biases, float64 [O] each, in the
    units of the fused float network; of the encoder, for pixels as integers.
    """
    tensors, network = model.tensors[layer.name], model.network
    g = 2.0 ** tensors.bias_shift
    if layer.output is Output.LOGITS:
        unit = np.full(layer.out_channels, model.logit_scale)
        scale = unit * (network.tokens * network.timesteps * g)
        if not network.classifier.spiking:
            scale = scale * 2.0 ** model.residual.fraction
        return scale, unit
    if layer.output is Output.RESIDUAL:
        scale = np.exp2((tensors.bias_shift - model.residual.fraction
                         - tensors.shift).astype(np.float64))
    else:
        level = threshold_factor(network.tau) * layer.v_threshold * g
        scale = level / tensors.threshold.astype(np.float64)
    return scale, scale / g


def _round(weight: np.ndarray, scale: np.ndarray, bits: int) -> np.ndarray:
    limit = 1 << bits - 1
    return np.clip(np.rint(weight / scale), -limit, limit - 1)


def _best_scales(rows: np.ndarray, candidates: np.ndarray, bits: int) -> np.ndarray:
    """Of each row's candidate scales [O, n], the one with the least squared error."""
    errors = np.stack([
        ((rows - _round(rows, scale[:, None], bits) * scale[:, None]) ** 2).sum(1)
        for scale in candidates.T], axis=1)
    return np.take_along_axis(candidates, errors.argmin(1)[:, None], 1)[:, 0]


def _largest_scales(rows: np.ndarray, bits: int, smallest: float) -> np.ndarray:
    """The scale of each row at which its largest weight just fits."""
    return np.maximum(np.abs(rows).max(1) / ((1 << bits - 1) - 1), smallest)


def _spiking_layer(network: NetworkConfig, part: FusedLayer, bits: int,
                   v_threshold: float) -> LayerTensors:
    shift, rows = BIAS_SHIFT[bits], part.weight.reshape(len(part.weight), -1)
    factor = threshold_factor(network.tau) * v_threshold * (1 << shift)
    # An integer threshold means scale = factor / threshold, so candidates are such scales.
    wanted = _largest_scales(rows, bits, SMALLEST_SCALE * v_threshold)
    wanted = wanted[:, None] * np.linspace(0.5, 1.0, CANDIDATES)
    thresholds = np.maximum(np.rint(factor / wanted), 1)
    scale = _best_scales(rows, factor / thresholds, bits)
    return LayerTensors(
        weight=_round(part.weight, scale[:, None, None, None], bits).astype(np.int8),
        bias=np.rint(part.bias / scale * (1 << shift)).astype(np.int64), bias_shift=shift,
        threshold=np.rint(factor / scale).astype(np.int64))


def _residual_layer(network: NetworkConfig, part: FusedLayer, residual: ResidualFormat, bits: int,
                    v_threshold: float | None) -> LayerTensors:
    shift, rows = BIAS_SHIFT[bits], part.weight.reshape(len(part.weight), -1)
    # Scales below an eighth of the stream's unit would only be rounded away.
    smallest = 2.0 ** (-residual.fraction - 3 - bits)
    exponent = np.ceil(np.log2(_largest_scales(rows, bits, smallest)))
    exponent = np.log2(_best_scales(rows, 2.0 ** (exponent[:, None] - np.arange(3)), bits))
    scale = 2.0 ** exponent
    threshold = None
    if v_threshold is not None:
        level = threshold_factor(network.tau) * v_threshold * 2.0 ** residual.fraction
        threshold = np.full(len(rows), int(level), np.int64)
    return LayerTensors(
        weight=_round(part.weight, scale[:, None, None, None], bits).astype(np.int8),
        bias=np.rint(part.bias / scale * (1 << shift)).astype(np.int64), bias_shift=shift,
        # A sum counts 2**(exponent - g); the stream counts 2**-F.
        shift=(shift - exponent - residual.fraction).astype(np.int64), threshold=threshold)


def _classifier(network: NetworkConfig, part: FusedLayer, residual: ResidualFormat,
                bits: int) -> tuple[LayerTensors, float]:
    rows = part.weight.reshape(1, -1)
    wanted = _largest_scales(rows, bits, 1e-12)[:, None] * np.linspace(0.5, 1.0, CANDIDATES)
    scale = float(_best_scales(rows, wanted, bits)[0])
    # Inputs are sums over tokens and timesteps: of the residual stream, or of spikes.
    shift = BIAS_SHIFT[bits] if network.classifier.spiking else 0
    unit = scale / (network.tokens * network.timesteps) * 2.0 ** -shift
    if not network.classifier.spiking:
        unit *= 2.0 ** -residual.fraction
    tensors = LayerTensors(weight=_round(part.weight, scale, bits).astype(np.int8),
                           bias=np.rint(part.bias / unit).astype(np.int64), bias_shift=shift)
    return tensors, unit
