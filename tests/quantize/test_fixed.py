# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from hw.model import WEIGHT_BITS, InputFormat, ResidualFormat
from hw.network import Classifier, Kind, NetworkConfig, Output
from quantize.fixed import quantize, residual_format, threshold_factor
from quantize.fuse import FusedLayer

FORMAT = InputFormat(5, False, 1 / 16, (0.0,), (1.0,))
RESIDUAL = ResidualFormat(16, 8)


def network(tau=2.0, classifier=Classifier.AVGPOOL_FC):
    return NetworkConfig(16, 1, 2, 2, 1, 4, 4, 5, tau=tau, classifier=classifier,
                         pool_stages=(False, False, False, True))


def random_fused(config, seed=0):
    rng = np.random.default_rng(seed)
    fused = {}
    for layer in config.layers():
        if layer.has_weights:
            shape = (layer.out_channels, layer.in_channels, layer.kernel, layer.kernel)
            gain = 2.0 ** rng.uniform(-6, 2, layer.out_channels)[:, None, None, None]
            fused[layer.name] = FusedLayer(rng.normal(size=shape) * gain,
                                           rng.normal(size=layer.out_channels))
    return fused


def grid_of(layer, tensors, config):
    """Float value of one weight unit, by output channel."""
    grid = 2.0 ** tensors.bias_shift
    if layer.output is Output.SPIKES:
        return threshold_factor(config.tau) * layer.v_threshold * grid / tensors.threshold
    return grid * 2.0 ** -tensors.shift / 2.0 ** RESIDUAL.fraction


@pytest.mark.parametrize("tau", [2.0, 1.5])
@pytest.mark.parametrize("bits", WEIGHT_BITS)
def test_weights_and_biases_lie_on_their_grids(bits, tau):
    config = network(tau)
    fused = random_fused(config)
    model = quantize(config, fused, FORMAT, RESIDUAL, bits)
    for layer in config.layers():
        if not layer.has_weights or layer.output is Output.LOGITS:
            continue
        tensors, part = model.tensors[layer.name], fused[layer.name]
        unit = grid_of(layer, tensors, config)
        weight = part.weight * (FORMAT.scale if layer.kind is Kind.ENCODER else 1)
        error = np.abs(tensors.weight * unit[:, None, None, None] - weight)
        # The best scale may cut off the largest weight; the mean error is that of rounding.
        assert (error.mean(axis=(1, 2, 3)) <= unit / 2).all(), layer.name
        step = unit / 2 ** tensors.bias_shift
        assert (np.abs(tensors.bias * step - part.bias) <= step / 2 + 1e-12).all(), layer.name
        assert np.abs(tensors.weight).max() > (1 << bits - 1) // 2   # the range is used
        if layer.output is Output.RESIDUAL and layer.lif:
            level = threshold_factor(tau) * layer.v_threshold * 2 ** RESIDUAL.fraction
            assert (tensors.threshold == level).all()


@pytest.mark.parametrize("form", Classifier)
def test_logits_are_the_float_ones(form):
    config = network(classifier=form)
    fused = random_fused(config)
    model = quantize(config, fused, FORMAT, RESIDUAL, 8)
    head, tokens = model.tensors["head"], config.tokens * config.timesteps
    inputs = np.random.default_rng(1).integers(0, 50, config.embed_dim)   # sums over all tokens
    raw = (head.weight[:, :, 0, 0].astype(int) @ inputs << head.bias_shift) + head.bias
    unit = 1 if form.spiking else 2.0 ** -RESIDUAL.fraction
    expected = fused["head"].weight[:, :, 0, 0] @ (inputs * unit) / tokens + fused["head"].bias
    scale = np.abs(fused["head"].weight).max() * inputs.sum() * unit / tokens
    assert np.abs(raw * model.logit_scale - expected).max() < scale / 100 + 1e-6


def test_extreme_channels_are_quantized_without_overflow():
    config = network()
    fused = random_fused(config)
    for scale, channel in ((0.0, 0), (1e-12, 1), (1e4, 2)):
        for part in fused.values():
            part.weight[min(channel, len(part.weight) - 1)] *= scale
    model = quantize(config, fused, FORMAT, RESIDUAL, 8)
    for layer in config.layers():
        if layer.output is Output.SPIKES and layer.has_weights:
            tensors = model.tensors[layer.name]
            assert (tensors.weight[0] == 0).all()
            assert (tensors.threshold >= 1).all()
            assert (tensors.threshold <= 2 << 16 + tensors.bias_shift + 1).all()


@pytest.mark.parametrize("largest", [0.3, 1.0, 12.53, 36.0, 500.0])
def test_residual_fraction_is_the_largest_that_does_not_saturate(largest):
    fmt = residual_format(16, largest)
    assert 2 * largest * 2 ** fmt.fraction <= fmt.maximum
    assert fmt.fraction == 15 or 2 * largest * 2 ** (fmt.fraction + 1) > fmt.maximum


def test_residual_fraction_can_be_given():
    assert residual_format(10, 100.0, 4) == ResidualFormat(10, 4)
    with pytest.raises(ValueError, match=r"^residual fraction must be 0 to 9, not 10$"):
        residual_format(10, 1.0, 10)
