# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest
import torch

from hw.model import FixedPointModel, InputFormat, LayerTensors, ResidualFormat
from hw.network import Classifier, Kind, NetworkConfig, Output
from quantize import golden as golden_module
from quantize.attention import AttentionOrder
from quantize.golden import GoldenModel, lif, main, max_pool, requantize
from quantize.random_model import random_model, random_samples
from tests.hw import reference

LAST = (False, False, False, True)
NETWORKS = {
    "base": NetworkConfig(16, 1, 2, 2, 1, 6, 6, 10, pool_stages=LAST),
    "tau 1.5, events": NetworkConfig(16, 2, 2, 3, 2, 7, 5, 3, tau=1.5, static_input=False,
                                     pool_stages=(True, False, False, True)),
    "one pixel": NetworkConfig(8, 1, 1, 3, 1, 1, 1, 2, pool_stages=(True,) * 4),
    "signed": NetworkConfig(16, 1, 2, 2, 3, 5, 3, 4, pool_stages=(True, False, False, False)),
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


@pytest.mark.parametrize("name", NETWORKS)
def test_every_value_equals_the_independent_reference(name):
    signed = InputFormat(5, True, 1 / 16, (0.0,) * 3, (1.0,) * 3) if name == "signed" else None
    model = random_model(NETWORKS[name], seed=3, input_format=signed,
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


def source_bits(model, image, results):
    """The bits that each layer reads, [planes * T, C, H, W], from the spikes of the layers before.

    For attention those of q, k and v.
    """
    network, spikes, residual, branches = model.network, None, None, []
    for result in results:
        layer = result.layer
        if layer.kind is Kind.ENCODER:
            frames = image[None] if network.static_input else image
            source = np.concatenate([frames >> i & 1 for i in range(model.input.bits)])
        elif layer.kind is Kind.ATTENTION:
            source, branches = np.concatenate(branches), []
        elif layer.kind is Kind.CLASSIFIER and not network.classifier.spiking:
            sums = residual.sum((0, 2, 3))[None, :, None, None]
            width = model.residual.width + (network.tokens * network.timesteps - 1).bit_length()
            source = np.concatenate([sums >> i & 1 for i in range(width)])
        else:
            source = spikes
        yield result, source.astype(np.int64)
        residual = result.residual if result.residual is not None else residual
        if layer.name.rpartition(".")[2] in ("q", "k", "v"):
            branches.append(result.spikes)
        elif result.spikes is not None:
            spikes = reference.pool(result.spikes) if layer.pool else result.spikes


@pytest.mark.parametrize("name", NETWORKS)
def test_densities_rates_and_dense_counts(name):
    model = random_model(NETWORKS[name], seed=3)
    image = random_samples(model, 1, seed=5).inputs
    for result, bits in source_bits(model, image[0], GoldenModel(model).run(image)[0]):
        layer = result.layer
        if layer.kind is Kind.ATTENTION:
            q, k, v = np.split(bits, 3)
            read, rates = np.concatenate((q, k)), (q.mean(), k.mean(), v.mean())
            dense = 2 * q.size * model.network.head_dim
        else:
            read, rates = bits, (bits.mean(),)
            dense = sum(reference.additions(layer, np.ones_like(frame)) for frame in bits)
            if layer.kind is Kind.ENCODER or (layer.kind is Kind.CLASSIFIER
                                              and not model.network.classifier.spiking):
                rates = ()
        assert result.dense == dense, result.name
        assert result.input_density == pytest.approx(read.mean()), result.name
        assert result.rates == pytest.approx(rates), result.name


def common_taps(layer, frame):
    """Taps set at an even position and at its neighbour to the right, over a map [C, H, W]."""
    around = layer.kernel // 2
    padded = np.pad(frame, ((0, 0), (around, around), (around, around)))
    return sum(int((padded[:, y:y + layer.kernel, x:x + layer.kernel]
                    & padded[:, y:y + layer.kernel, x + 1:x + 1 + layer.kernel]).sum())
               for y in range(layer.height) for x in range(0, layer.width, 2))


@pytest.mark.parametrize("name", ["base", "odd rows", "tau 1.5, events", "signed", "one pixel"])
def test_what_neighbours_share(name):
    """Counted once for each output; none where the width is odd, or where planes are read."""
    network = NetworkConfig(16, 1, 2, 2, 1, 5, 8, 4, pool_stages=(False, True, False, False)) \
        if name == "odd rows" else NETWORKS[name]
    model = random_model(network, seed=3)
    image, seen = random_samples(model, 1, seed=5).inputs, 0
    for result, bits in source_bits(model, image[0], GoldenModel(model).run(image)[0]):
        layer = result.layer
        expected = 0
        if layer.kind is Kind.CONV and layer.width % 2 == 0:
            expected = layer.out_channels * sum(common_taps(layer, frame) for frame in bits)
        assert result.shared == expected, result.name
        assert 2 * result.shared <= result.acs
        seen += result.shared > 0
    assert seen >= {"base": 3, "odd rows": 9}.get(name, 0)


@pytest.mark.parametrize(("value", "stream", "saturations"), [
    (511, 511, 0), (512, 511, 1), (-512, -512, 0), (-513, -512, 1), (10**6, 511, 1)])
def test_residual_saturates_and_counts_at_both_ends(value, stream, saturations):
    model = random_model(NETWORKS["base"], residual=ResidualFormat(10, 2))
    tensors = model.tensors["patch_embed.block4"]
    tensors.weight[:], tensors.shift[:], tensors.bias[:] = 0, 0, value
    image = random_samples(model, 1).inputs
    for result in (GoldenModel(model).run(image)[0][4],
                   reference.run(model, image[0])[4]):
        assert (result.residual == stream).all()
        assert result.saturations == saturations * result.residual.size


def test_sums_beyond_float32_are_exact():
    """16-bit inputs of an encoder: sums need 28 bits, more than a float32 holds."""
    network = replace(NETWORKS["signed"], name="wide")
    fmt = InputFormat(16, False, 1.0, (0.0,) * 3, (1.0,) * 3)
    model = random_model(network, input_format=fmt)
    model.tensors["patch_embed.block0"].weight[:] = 127
    inputs = random_samples(model, 2).inputs | 1
    for image, results in zip(inputs, GoldenModel(model).run(inputs)):
        assert (reference.run(model, image)[0].spikes == results[0].spikes).all()
    step = next(GoldenModel(model).steps(inputs))
    tensors = model.tensors["patch_embed.block0"]
    exact = reference.conv(tensors.weight, inputs[0])
    assert exact.max() > 1 << 24
    exact = (exact << tensors.bias_shift) + tensors.bias[:, None, None]
    assert (step.current[0, 0].numpy() == exact).all()


@pytest.mark.parametrize("images", [1, 16])   # libraries choose their routine by the batch
def test_float32_sums_just_below_the_bound_are_exact(images):
    network = NetworkConfig(8, 1, 1, 2, 57, 4, 3, 2, pool_stages=(False,) * 4)
    fmt = InputFormat(8, False, 1.0, (0.0,) * 57, (1.0,) * 57)
    model = random_model(network, input_format=fmt)
    weight = model.tensors["patch_embed.block0"].weight
    weight[:] = 127 - (weight & 1)
    golden = GoldenModel(model)
    assert golden._kernels["patch_embed.block0"].dtype == torch.float32
    inputs = 255 - (random_samples(model, images).inputs & 1)
    current = next(golden.steps(inputs)).current[0].numpy()
    tensors = model.tensors["patch_embed.block0"]
    for image in range(0, images, 5):
        exact = reference.conv(weight, inputs[image])
        assert 0.97 < exact.max() / (1 << 24) < 1 and (exact & 1).any()
        exact = (exact << tensors.bias_shift) + tensors.bias[:, None, None]
        assert (current[image] == exact).all()


def test_sums_that_no_float_holds_are_refused():
    network = NetworkConfig(8, 1, 1, 4, 1, 512, 512, 2, pool_stages=(False,) * 4)
    tensors = {layer.name: LayerTensors(
        np.full((layer.out_channels, layer.in_channels, layer.kernel, layer.kernel), 127, np.int8),
        np.zeros(layer.out_channels, int),
        shift=np.zeros(layer.out_channels, int) if layer.output is Output.RESIDUAL else None,
        threshold=np.ones(layer.out_channels, int) if layer.lif else None)
        for layer in network.layers() if layer.has_weights}
    model = FixedPointModel(network, 8, InputFormat(5, False, 1.0, (0.0,), (1.0,)),
                            ResidualFormat(24, 4), tensors)
    with pytest.raises(ValueError, match=r"^sums of head must be below 2\*\*53, not \d+$"):
        GoldenModel(model)


def test_batches_equal_single_runs():
    model = random_model(NETWORKS["base"])
    inputs = random_samples(model, 5).inputs
    golden = GoldenModel(model)
    together = golden.logits(inputs, batch=2)
    assert (together == np.concatenate([golden.logits(inputs[i:i + 1]) for i in range(5)])).all()


@pytest.mark.parametrize("name", ["base", "tau 1.5, events"])
def test_layer_by_layer_and_batches_of_any_size_equal_a_run(name, monkeypatch):
    model = random_model(NETWORKS[name])
    inputs = random_samples(model, 3).inputs
    golden = GoldenModel(model)
    assert golden.batch == 64
    together = golden.run(inputs)
    monkeypatch.setattr(golden_module, "BATCH_VALUES", 1)
    assert golden.batch == 1
    for image, *runs in zip(inputs, together, golden.run(inputs), strict=True):
        runs.append(list(golden.results(image)))
        for one, other, third in zip(*runs, strict=True):
            for got in (other, third):
                for part in ("spikes", "residual", "logits"):
                    assert np.array_equal(getattr(one, part), getattr(got, part)), one.name
                assert one.without_maps().acs == got.without_maps().acs
            assert one.without_maps().spikes is None and one.without_maps().residual is None


@pytest.mark.parametrize("name", NETWORKS)
def test_whole_inferences_in_both_orders_of_attention(name):
    model = random_model(NETWORKS[name], seed=3)
    network, inputs = model.network, random_samples(model, 3, seed=5).inputs
    runs = (GoldenModel(model, order).run(inputs) for order in AttentionOrder)
    for first, second in zip(*runs, strict=True):
        for one, other in zip(first, second, strict=True):
            for part in ("spikes", "residual", "logits"):
                assert np.array_equal(getattr(one, part), getattr(other, part)), one.name
            if one.layer.kind is Kind.ATTENTION:
                q, k, v = one.rates
                assert other.rates == one.rates
                assert one.input_density == pytest.approx((q + k) / 2)
                assert other.input_density == pytest.approx((q + v) / 2)
                for got, row in ((one, network.head_dim), (other, network.tokens)):
                    assert got.dense == 2 * row * one.spikes.size
                    assert got.acs == pytest.approx(got.dense * got.input_density)
            else:
                assert (one.acs, one.dense) == (other.acs, other.dense), one.name


def test_scores_of_all_tokens_bound_the_batch_too(monkeypatch):
    model = random_model(replace(NETWORKS["base"], pool_stages=(False,) * 4, mlp_ratio=1.0))
    monkeypatch.setattr(golden_module, "BATCH_VALUES", 2 * 2 * 36 * 36 * 5)   # T, heads, N, N
    assert GoldenModel(model).batch > 5
    assert GoldenModel(model, AttentionOrder.QK_FIRST).batch == 5


def test_command_prints_seconds_of_every_layer(tmp_path, capsys):
    model = random_model(NETWORKS["base"])
    model.save(tmp_path / "random")   # no samples: random inputs
    model.save(tmp_path / "samples", random_samples(model, 3))
    for directory in ("random", "samples"):
        assert main([str(tmp_path / directory), "--samples", "2"]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.split()[0] for line in lines[1:-1]] == [
            layer.name for layer in model.network.layers()]
        assert " s per image, " in lines[-1] and "images: 2, " in lines[-1]
    assert main([str(tmp_path / "samples"), "--attention-order", "qk_first"]) == 0
    attention = [line.split() for line in capsys.readouterr().out.splitlines() if "ssa" in line]
    result = GoldenModel(model, AttentionOrder.QK_FIRST).run(random_samples(model, 1).inputs)[0][8]
    assert [(line[0], line[2]) for line in attention] == [(result.name, f"{result.acs:,}")]
    assert main([str(tmp_path / "samples"), "--samples", "0"]) == 2
    assert capsys.readouterr().err == "error: --samples must be at least 1, not 0\n"
    assert main([str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("error: model directory must hold manifest.json, ")


def test_wrong_inputs_are_one_sentence():
    golden = GoldenModel(random_model(NETWORKS["base"]))
    shape = r"^inputs must have shape \(n, 1, 6, 6\), not \(1, 6, 6\)$"
    with pytest.raises(ValueError, match=shape):
        golden.run(np.zeros((1, 6, 6), int))
    for value, sentence in ((-1, "-1 to 0"), (32, "0 to 32")):
        with pytest.raises(ValueError, match=f"^inputs must be 0 to 31, not {sentence}$"):
            golden.run(np.array([value] + [0] * 35).reshape(1, 1, 6, 6))
    golden.run(np.array([31] + [0] * 35).reshape(1, 1, 6, 6))
    with pytest.raises(ValueError, match=r"^inputs must be integers, not float64$"):
        golden.run(np.full((1, 1, 6, 6), 0.5))
    events = GoldenModel(random_model(NETWORKS["tau 1.5, events"]))
    with pytest.raises(ValueError, match=r"^inputs must have shape \(n, 3, 2, 7, 5\), not .*$"):
        events.run(np.zeros((1, 2, 7, 5), int))
