# SPDX-License-Identifier: Apache-2.0
"""The integer model against the float Spikingformer, which shares no code with it.

Bounds.  The integers round in one place, the residual additions: by at most half a unit of the
stream each.  After k of them the stream differs by at most k/2 units as long as all spikes are
equal, so a LIF can differ only where its h is within the sum of k/2 * (1 + 1/2 + ...) = k of its
threshold 2 theta (tau 1.5: 2 * k/2 * (1 + 1/3 + ...) = 3k/2).  Where no spike differs, a logit
differs by at most k/2 times the sum of a class's absolute weights, per token and timestep.
Layers that only shift left round nothing: all spikes and logits are equal.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from hw.model import SHIPPED_MODEL, FixedPointModel, ResidualFormat, Samples
from hw.network import Classifier, Kind, NetworkConfig, Output
from quantize.golden import GoldenModel
from quantize.lif import LIF
from quantize.random_model import random_model, random_samples
from quantize.spikingformer import Spikingformer

LAST = (False, False, False, True)
NETWORKS = {
    "tau 2": NetworkConfig(16, 2, 2, 4, 1, 6, 6, 5, pool_stages=LAST),
    "tau 1.5": NetworkConfig(16, 2, 2, 4, 1, 6, 6, 5, tau=1.5, pool_stages=LAST),
    "events": NetworkConfig(24, 1, 4, 3, 2, 7, 5, 3, static_input=False,
                            pool_stages=(True, False, False, True)),
    "events, tau 1.5": NetworkConfig(24, 1, 4, 3, 2, 7, 5, 3, tau=1.5, static_input=False,
                                     pool_stages=(True, False, False, True)),
    **{form.value: NetworkConfig(16, 1, 2, 3, 1, 6, 6, 4, pool_stages=LAST, classifier=form)
       for form in Classifier},
}


def factor(network):
    """An integer LIF compares with this times the threshold."""
    return {2.0: 2, 1.5: 3}[network.tau]


def float_twin(model: FixedPointModel) -> Spikingformer:
    """The float network with the model's dequantized weights; BatchNorms are the identity.

    Thresholds become 1 by dividing a channel's weights and bias by theirs.  The logits come out in
    the integers' unit.
    """
    network = model.network
    twin = Spikingformer(network).double().eval()
    state = twin.state_dict()
    for layer in network.layers():
        if not layer.has_weights:
            continue
        tensors = model.tensors[layer.name]
        unit = np.ones(layer.out_channels)   # value of 1 in y
        if layer.output is Output.SPIKES:
            unit = factor(network) / tensors.threshold
        elif layer.output is Output.RESIDUAL:
            unit = 2.0 ** -(tensors.shift + model.residual.fraction)
        weight = tensors.weight * (2.0 ** tensors.bias_shift * unit)[:, None, None, None]
        bias = tensors.bias * unit
        if layer.name == "head":
            # The float network takes the mean, the integers the sum, and the stream's unit.
            weight = weight * network.tokens * network.timesteps
            if not network.classifier.spiking:
                weight = weight * 2.0 ** model.residual.fraction
            state["head.weight"] = torch.from_numpy(weight[:, :, 0, 0])
            state["head.bias"] = torch.from_numpy(bias)
            continue
        if layer.kind is Kind.ENCODER:
            weight = weight / model.input.scale
        conv, bn = f"{layer.name}_conv", f"{layer.name}_bn"
        state[f"{conv}.weight"] = torch.from_numpy(weight).reshape(state[f"{conv}.weight"].shape)
        if f"{conv}.bias" in state:
            state[f"{conv}.bias"].zero_()
        state[f"{bn}.weight"].fill_(1)
        state[f"{bn}.bias"] = torch.from_numpy(bias)
        state[f"{bn}.running_mean"].zero_()
        state[f"{bn}.running_var"].fill_(1 - 1e-5)   # so that sigma is 1
    twin.load_state_dict(state)
    for module in twin.modules():
        if isinstance(module, LIF):
            # Equality must fire although 1 / threshold is no binary number; the next value below
            # that the exact h can have is much further away than this.
            module.v_threshold *= 1 - 1e-9
    return twin


@dataclass
class Comparison:
    """What was found for one image.

    differing:  names of the layers with a spike that differs, in order
    roundings:  residual additions that round
    rates:      firing rate of each LIF
    logits:     largest difference
    """

    differing: list[str]
    roundings: int
    rates: dict[str, float]
    logits: float


def level(x, threshold, fired, tau):
    """h of an integer LIF at the first timestep where it does not do `fired`, else NaN."""
    v, found = np.zeros(x.shape[1:], int), np.full(x.shape[1:], np.nan)
    for current, other in zip(x, fired):
        h = v + current if tau == 2 else v + 2 * current
        fire = h >= threshold
        found = np.where(np.isnan(found) & (fire != other), h, found)
        v = np.where(fire, 0, h >> 1 if tau == 2 else h // 3)
    return found


def compare(model: FixedPointModel, inputs: np.ndarray) -> list[Comparison]:
    """Run both; the bounds of the module's docstring are asserted while spikes are equal."""
    network, record = model.network, {}
    x = torch.from_numpy(inputs).double() * model.input.scale
    with torch.no_grad():
        float_twin(model)(x if network.static_input else x.transpose(0, 1), record)
    return [compare_image(model, record, image, results)
            for image, results in enumerate(GoldenModel(model).run(inputs))]


def compare_image(model, record, image, results):
    network, found, unit = model.network, Comparison([], 0, {}, 0.0), 2.0 ** model.residual.fraction
    for result in results:
        entry, tensors = record[result.name], model.tensors.get(result.name)
        equal = not found.differing
        if result.residual is not None:
            assert result.saturations == 0
            found.roundings += bool((tensors.shift > 0).any())
            error = np.abs(entry.residual[:, image].numpy() * unit - result.residual).max()
            assert not equal or error <= found.roundings / 2 + 1e-6, result.name
        if result.logits is not None:
            found.logits = float(np.abs(entry.current[image].numpy() - result.logits).max())
        if result.spikes is None:
            continue
        found.rates[result.name] = result.spikes.mean()
        spikes = entry.spikes[:, image].numpy() > 0
        if (spikes == result.spikes).all():
            continue
        if equal:   # the first difference: explained by rounding, or wrong
            assert result.residual is not None, result.name
            threshold = tensors.threshold[:, None, None]
            h = level(result.residual, threshold, spikes, network.tau)
            margin = found.roundings * factor(network) / 2
            assert np.nanmax(np.abs(h - threshold)) <= margin + 1, result.name
        found.differing.append(result.name)
    return found


def with_residuals(model, shift):
    """`shift` applied to the shifts; thresholds of the stream's LIFs as for v_threshold 1."""
    for name, tensors in model.tensors.items():
        if tensors.shift is not None:
            threshold = tensors.threshold
            if threshold is not None:
                threshold = np.full_like(threshold,
                                         factor(model.network) << model.residual.fraction)
            model.tensors[name] = replace(tensors, shift=shift(tensors.shift), threshold=threshold)
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_differs_where_nothing_is_rounded(name):
    model = with_residuals(random_model(NETWORKS[name], seed=1, residual=ResidualFormat(24, 10)),
                           lambda shift: -np.abs(shift))
    images = compare(model, random_samples(model, 3).inputs)
    for found in images:
        assert (found.differing, found.roundings) == ([], 0)
        assert found.logits < 1e-3   # of integers of at least a thousand
    check_alive(images)


@pytest.mark.parametrize("name", NETWORKS)
def test_rounding_stays_within_its_bound(name):
    model = with_residuals(random_model(NETWORKS[name], seed=1, residual=ResidualFormat(24, 8)),
                           lambda shift: np.maximum(shift, -2))
    images = compare(model, random_samples(model, 8).inputs)
    assert all(found.roundings == 1 + 2 * model.network.depth for found in images)
    check_logits(model, images)


def check_alive(images):
    for name in images[0].rates:
        assert 0 < np.mean([found.rates[name] for found in images]) < 1, name


def check_logits(model, images):
    """The bound on logits, for images without a differing spike; at least half must be such."""
    head, network = model.tensors["head"], model.network
    equal = [found for found in images if not found.differing]
    assert len(equal) >= len(images) / 2
    for found in equal:
        bound = (0 if network.classifier.spiking else found.roundings / 2) * 2 ** head.bias_shift
        bound *= np.abs(head.weight.astype(int)).sum((1, 2, 3)).max()
        assert found.logits <= bound * network.tokens * network.timesteps + 1e-3


def test_the_shipped_network_on_held_out_images():
    model, samples = FixedPointModel.load(SHIPPED_MODEL), Samples.load(SHIPPED_MODEL)
    images = compare(model, samples.inputs[:20])
    check_alive(images)
    check_logits(model, images)
    # With the differing spikes too, 2 % of the largest logit.
    largest = np.abs(GoldenModel(model).logits(samples.inputs[:20])).max()
    assert max(found.logits for found in images) < 0.02 * largest


def test_the_comparison_notices_a_wrong_threshold():
    model = FixedPointModel.load(SHIPPED_MODEL)
    inputs = Samples.load(SHIPPED_MODEL).inputs[:2]
    record = {}
    with torch.no_grad():
        float_twin(model)(torch.from_numpy(inputs).double() * model.input.scale, record)
    tensors = model.tensors["patch_embed.block0"]
    model.tensors["patch_embed.block0"] = replace(tensors, threshold=tensors.threshold * 9 // 8)
    with pytest.raises(AssertionError, match=r"patch_embed\.block0"):
        for image, results in enumerate(GoldenModel(model).run(inputs)):
            compare_image(model, record, image, results)
