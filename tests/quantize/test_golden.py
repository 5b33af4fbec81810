# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch

from hw.model import SHIPPED_MODEL, FixedPointModel, InputFormat, ResidualFormat, Samples
from hw.network import Classifier, NetworkConfig, Output
from quantize.golden import GoldenModel, attention, lif, max_pool, requantize
from quantize.lif import LIF
from quantize.random_model import random_model, random_samples
from quantize.spikingformer import Spikingformer
from tests.hw import reference

LAST = (False, False, False, True)
NETWORKS = {
    "base": NetworkConfig(16, 1, 2, 2, 1, 6, 6, 10, pool_stages=LAST),
    "tau 1.5, events": NetworkConfig(16, 2, 2, 3, 2, 7, 5, 3, tau=1.5, static_input=False,
                                     pool_stages=(True, False, False, True)),
    "heads of 6": NetworkConfig(24, 1, 4, 1, 3, 4, 4, 5, pool_stages=LAST, mlp_ratio=2.0),
    **{form.value: NetworkConfig(16, 1, 2, 3, 1, 4, 4, 4, pool_stages=LAST, classifier=form)
       for form in Classifier},
}


@pytest.mark.parametrize(("tau", "x", "threshold", "spikes"), [
    (2.0, [10, 0], 10, [1, 0]), (2.0, [9, 6], 10, [0, 1]), (2.0, [9, 5], 10, [0, 0]),
    (2.0, [-3, 12], 10, [0, 1]), (2.0, [-3, 11], 10, [0, 0]),   # -3 >> 1 is -2, not -1
    (2.0, [11, 9], 10, [1, 0]),                                 # a reset leaves nothing
    (1.5, [15, 0], 30, [1, 0]), (1.5, [14, 11], 30, [0, 1]), (1.5, [14, 10], 30, [0, 0]),
    (1.5, [-2, 16], 30, [0, 1]), (1.5, [-2, 15], 30, [0, 0]),   # floor(-4 / 3) is -2
])
def test_lif_at_the_threshold_and_one_below(tau, x, threshold, spikes):
    fired = lif(torch.tensor(x)[:, None], torch.tensor([threshold]), tau)
    assert fired[:, 0].int().tolist() == spikes


@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_integer_lif_is_exact_against_unfloored_states(tau):
    rng = np.random.default_rng(0)
    x = rng.integers(-40, 60, (16, 4000))
    theta = 20
    factor = 2 if tau == 2 else 3
    spikes = lif(torch.from_numpy(x), torch.tensor(factor * theta), tau).numpy()
    v = np.zeros(4000)
    for t in range(16):   # Eq. 21 to 23 in floating point, nothing floored
        h = v + (x[t] - v) / tau
        fire = h >= theta - 1e-9
        assert (fire == spikes[t]).all(), t
        v = np.where(fire, 0, h)


def test_requantize_rounds_halves_up_and_shifts_both_ways():
    y = torch.tensor([-6, -5, -2, -1, 0, 1, 2, 3, 5, 6])
    assert requantize(y, torch.tensor(2)).tolist() == [-1, -1, 0, 0, 0, 0, 1, 1, 1, 2]
    assert requantize(y, torch.tensor(0)).tolist() == y.tolist()
    assert requantize(y, torch.tensor(-3)).tolist() == (8 * y).tolist()


def test_max_pool_is_or_over_the_valid_window():
    rng = np.random.default_rng(1)
    for height, width in ((1, 1), (1, 5), (4, 4), (7, 6)):
        spikes = rng.random((2, 3, 4, height, width)) < 0.2
        expected = np.stack([reference.pool(spikes[:, b]) for b in range(3)], 1)
        assert (max_pool(torch.from_numpy(spikes)).numpy() == expected).all()


def dense_attention(q, k, v, heads):
    def split(x):
        return x.flatten(3).unflatten(2, (heads, -1)).double()
    a = (split(q).transpose(-1, -2) @ split(k)) @ split(v).transpose(-1, -2)
    return a.transpose(-1, -2).flatten(2, 3).unflatten(3, q.shape[3:]).long()


@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_attention_counters_that_stop_at_8_are_exact(tau):
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.rand((6, 3, 16, 4, 4), generator=generator) < 0.35 for _ in range(3))
    limit = torch.tensor(8 if tau == 2 else 12)
    unbounded = dense_attention(q, k, v, 2)
    spikes = lif(unbounded, limit, tau)
    assert (lif(attention(q, k, v, 2), limit, tau) == spikes).all()
    assert 0.02 < spikes.double().mean() < 0.98
    if tau == 2:   # and the test can tell: one less is not enough
        assert (lif(unbounded.clamp(max=7), limit, tau) != spikes).any()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_value_equals_the_independent_reference(name):
    model = random_model(NETWORKS[name], seed=3,
                         residual=ResidualFormat(10, 2) if name == "base" else None)
    inputs = random_samples(model, 2, seed=5).inputs
    saturated = 0
    for image, results in zip(inputs, GoldenModel(model).run(inputs)):
        for expected, got in zip(reference.run(model, image), results):
            for part in ("spikes", "residual", "logits"):
                wanted = getattr(expected, part)
                assert (wanted is None) == (getattr(got, part) is None), (got.name, part)
                if wanted is not None:
                    assert (wanted == getattr(got, part)).all(), (got.name, part)
            assert (expected.acs, expected.saturations) == (got.acs, got.saturations), got.name
            assert got.acs <= got.dense
            saturated += got.saturations
    assert saturated > 0 or name != "base"


def test_batches_equal_single_runs():
    model = random_model(NETWORKS["base"])
    inputs = random_samples(model, 5).inputs
    golden = GoldenModel(model)
    together = golden.logits(inputs, batch=2)
    assert (together == np.concatenate([golden.logits(inputs[i:i + 1]) for i in range(5)])).all()


def test_wrong_inputs_are_one_sentence():
    golden = GoldenModel(random_model(NETWORKS["base"]))
    shape = r"^inputs must have shape \(n, 1, 6, 6\), not \(1, 6, 6\)$"
    with pytest.raises(ValueError, match=shape):
        golden.run(np.zeros((1, 6, 6), int))
    with pytest.raises(ValueError, match=r"^inputs must be 0 to 31, not -1 to 0$"):
        golden.run(np.array([-1] + [0] * 35).reshape(1, 1, 6, 6))


def float_twin(model: FixedPointModel) -> Spikingformer:
    """The float network with the model's dequantized weights; BatchNorms are the identity.

    Thresholds become 1 by dividing a channel's weights and bias by theirs.
    """
    network = model.network
    twin = Spikingformer(network).double().eval()
    state = twin.state_dict()
    factor = 2 if network.tau == 2 else 3
    for layer in network.layers():
        if not layer.has_weights:
            continue
        tensors = model.tensors[layer.name]
        grid = 2.0 ** tensors.bias_shift
        if layer.output is Output.SPIKES:
            unit = factor / tensors.threshold
        elif layer.output is Output.RESIDUAL:
            unit = 2.0 ** -tensors.shift / 2.0 ** model.residual.fraction
        else:
            tokens = network.tokens * network.timesteps
            unit = np.full(layer.out_channels, tokens * 2.0 ** model.residual.fraction)
        weight = tensors.weight * (grid * unit)[:, None, None, None]
        bias = tensors.bias * unit
        if layer.kind.value == "encoder":
            weight = weight / model.input.scale
        if layer.name == "head":
            state["head.weight"] = torch.from_numpy(weight[:, :, 0, 0])
            state["head.bias"] = torch.from_numpy(tensors.bias.astype(float))
            continue
        conv, bn = f"{layer.name}_conv", f"{layer.name}_bn"
        state[f"{conv}.weight"] = torch.from_numpy(weight).reshape(state[f"{conv}.weight"].shape)
        if f"{conv}.bias" in state:
            state[f"{conv}.bias"].zero_()
        state[f"{bn}.weight"].fill_(1)
        state[f"{bn}.bias"] = torch.from_numpy(bias.astype(float))
        state[f"{bn}.running_mean"].zero_()
        state[f"{bn}.running_var"].fill_(1 - 1e-5)   # so that sigma is 1
    twin.load_state_dict(state)
    for module in twin.modules():
        if isinstance(module, LIF):
            # Equality must fire although 1 / threshold is no binary number; the integers' next
            # value below is much further away than this.
            module.v_threshold *= 1 - 1e-9
    return twin


def compare_with_float(model, inputs):
    """Share of differing spikes, and the largest difference of a logit relative to their spread."""
    record = {}
    x = torch.from_numpy(inputs).double() * model.input.scale
    with torch.no_grad():
        logits = float_twin(model)(x if model.network.static_input else x.transpose(0, 1), record)
    different = total = 0
    for step in GoldenModel(model).steps(inputs):
        if step.spikes is not None:
            different += int((record[step.layer.name].spikes.bool() != step.spikes).sum())
            total += step.spikes.numel()
    spread = float(step.logits.double().std())
    return different / total, float((logits - step.logits).abs().max()) / spread


@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_float_model_fires_the_same_spikes_where_nothing_is_rounded(tau):
    network = NetworkConfig(16, 1, 2, 4, 1, 6, 6, 5, tau=tau, pool_stages=LAST)
    model = random_model(network, seed=1, residual=ResidualFormat(24, 8),
                         input_format=InputFormat(5, False, 1 / 16, (0.0,), (1.0,)))
    for name, tensors in model.tensors.items():
        if tensors.shift is not None:   # left shifts only; thresholds equal in all channels
            model.tensors[name] = replace(
                tensors, shift=-np.abs(tensors.shift),
                threshold=None if tensors.threshold is None
                else np.full(16, (2 if tau == 2 else 3) << 8))
    different, error = compare_with_float(model, random_samples(model, 4).inputs)
    assert (different, error < 1e-6) == (0, True)


def test_float_model_of_the_shipped_network_within_its_rounding():
    """The only rounding is that of residual sums: half of 2**-10, far below the threshold 1."""
    model, samples = FixedPointModel.load(SHIPPED_MODEL), Samples.load(SHIPPED_MODEL)
    different, error = compare_with_float(model, samples.inputs[:20])
    assert different < 1e-3
    assert error < 0.05
