# SPDX-License-Identifier: Apache-2.0
"""The trainable integer model against the golden one, and its gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from hw.model import ResidualFormat
from hw.network import Classifier, NetworkConfig
from quantize.fake import FakeQuantized, _Fire
from quantize.fuse import fuse
from quantize.golden import GoldenModel
from quantize.golden import lif as golden_lif
from quantize.lif import LIF
from tests.quantize.test_nir_export import CONFIG, checkpoint

SPIKING = replace(CONFIG, classifier=Classifier.SN_AVGPOOL_FC)


@pytest.mark.parametrize("bits", [8, 6, 4])
@pytest.mark.parametrize("config", [CONFIG, replace(CONFIG, tau=1.5), SPIKING],
                         ids=["tau-2", "tau-1.5", "sn-head"])
def test_logits_are_those_of_the_golden_model(config: NetworkConfig, bits: int) -> None:
    fake = FakeQuantized(checkpoint(config), bits, ResidualFormat(16, 9))
    fmt = fake.input
    inputs = np.random.default_rng(0).integers(fmt.minimum, fmt.maximum + 1, (20, 1, 8, 8))
    golden = GoldenModel(fake.integers).logits(inputs)
    with torch.no_grad():
        logits = fake(torch.from_numpy(inputs))
    whole = (logits / fake.integers.logit_scale).round().long().numpy()
    assert np.array_equal(whole, golden)
    assert len(set(map(tuple, golden))) == 20


@pytest.mark.parametrize("bits", [8, 4])
def test_integers_are_those_of_the_quantizer(bits: int) -> None:
    fake = FakeQuantized(checkpoint(), bits, ResidualFormat(16, 9))
    for layer in CONFIG.layers():
        if layer.has_weights:
            weight, bias = fake.quantized(layer)
            assert np.array_equal(weight.detach().numpy(), fake.integers.tensors[layer.name].weight)
            assert np.array_equal(bias.detach().numpy(), fake.integers.tensors[layer.name].bias)
            # The grid times the integers is the weight again, up to half a step where not clipped.
            fused = fuse(CONFIG, fake.state())[layer.name].weight
            if layer.name != "patch_embed.block0":
                error = np.abs(weight.detach().numpy() - fused / fake.grids[
                    layer.name].scale.numpy()[:, None, None, None])
                inside = np.abs(weight.detach().numpy()) < (1 << bits - 1) - 1
                assert error[inside].max() <= 0.5 + 1e-9


@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_fire(tau: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-40, 60, (8, 3, 5, 4, 4), generator=generator)
    threshold = torch.tensor([30, 41, 52, 63, 10])[:, None, None]
    spikes = _Fire.apply(x.float(), tau, threshold.float(), 1.0)
    assert torch.equal(spikes.bool(), golden_lif(x, threshold, tau))
    # In units where the threshold is 1 it is the LIF of the float network, gradient included,
    # up to the fractions that the integer state drops.
    fine = 3 ** 8 * 2 ** 8
    level = fine * 8
    y = (x * fine).double().requires_grad_()
    factor = 2 if tau == 2 else 3
    threshold = torch.tensor(float(level * factor), dtype=torch.float64)
    weight = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    (_Fire.apply(y, tau, threshold, 1.0) * weight).sum().backward()
    z = (x.double() / 8).requires_grad_()
    (LIF(tau)(z) * weight).sum().backward()
    torch.testing.assert_close(y.grad * level, z.grad, rtol=1e-6, atol=1e-9)


def test_gradients_reach_every_weight() -> None:
    fake = FakeQuantized(checkpoint(), 4, ResidualFormat(16, 9))
    inputs = torch.randint(fake.input.minimum, fake.input.maximum + 1, (16, 1, 8, 8))
    fake(inputs).square().sum().backward()
    dead = [name for name, p in fake.model.named_parameters()
            if p.grad is None or not p.grad.abs().sum() > 0]
    assert not dead
