# SPDX-License-Identifier: Apache-2.0
"""Activity of a model's layers, against a plain count over the windows of each position."""

from dataclasses import replace

import numpy as np
import pytest

from hw.model import Activity, FixedPointModel, Samples
from hw.network import Kind, NetworkConfig
from quantize.activity import IMAGES, main, measure
from quantize.golden import GoldenModel
from quantize.random_model import random_model, random_samples
from tests.hw import reference

NETWORKS = {
    "even": NetworkConfig(16, 1, 2, 2, 1, 4, 6, 5, pool_stages=(False,) * 4, mlp_ratio=1.0),
    "odd-tokens": NetworkConfig(32, 1, 2, 2, 1, 5, 6, 5, pool_stages=(False, True, False, False),
                                mlp_ratio=1.0),
    "events": NetworkConfig(8, 1, 1, 3, 2, 3, 4, 3, tau=1.5, static_input=False,
                            pool_stages=(False,) * 4, mlp_ratio=1.0)}


def windows(layer, spikes):
    """The taps of every position, [H, W, T * C * k * k], zero outside of the map."""
    around = layer.kernel // 2
    padded = np.pad(spikes, ((0, 0), (0, 0), (around, around), (around, around)))
    return np.array([[padded[:, :, y:y + layer.kernel, x:x + layer.kernel].ravel()
                      for x in range(layer.width)] for y in range(layer.height)], bool)


def counted(model, inputs):
    """Density and share of common taps of every convolution, by walking its windows."""
    found = {}
    for image in inputs:
        spikes, branches = None, []
        for result in GoldenModel(model).results(image):
            layer = result.layer
            if layer.kind is Kind.CONV:
                taps = windows(layer, spikes)
                even, odd = taps[:, :-1:2], taps[:, 1::2]
                found.setdefault(layer.name, []).append(
                    (taps.mean(), (even & odd).mean() if layer.width % 2 == 0 else 0.0))
            if layer.name.endswith((".q", ".k", ".v")):
                branches.append(result.spikes)
            elif result.spikes is not None:
                spikes = reference.pool(result.spikes) if layer.pool else result.spikes
    return {name: tuple(np.mean(each, axis=0)) for name, each in found.items()}


@pytest.mark.parametrize("name", NETWORKS)
def test_activity_is_a_plain_count(name):
    model = random_model(NETWORKS[name], seed=3)
    inputs = random_samples(model, 2, seed=4).inputs
    activity, expected = measure(model, inputs), counted(model, inputs)
    assert list(activity) == list(expected)
    for layer, each in activity.items():
        # Stored with four digits.
        assert (each.density, each.shared) == pytest.approx(expected[layer], abs=6e-5), layer
        assert 0 < each.density < 1
    assert sum(each.shared > 0 for each in activity.values()) >= (1 if name == "odd-tokens" else 9)


def test_few_images_are_enough():
    model = random_model(NETWORKS["even"])
    inputs = random_samples(model, IMAGES + 3).inputs
    assert measure(model, inputs) == measure(model, inputs[:IMAGES])
    assert measure(model, inputs) != measure(model, inputs[1:])


def test_the_command_stores_it(tmp_path, capsys):
    """And nothing else changes."""
    model = random_model(NETWORKS["even"])
    samples = random_samples(model, 2)
    model.save(tmp_path / "model", samples)
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert main([str(tmp_path / "model")]) == 0
    lines = capsys.readouterr().out.splitlines()
    stored = FixedPointModel.load(tmp_path / "model").activity
    assert stored == measure(model, samples.inputs)
    for line, (name, each) in zip(lines[1:], stored.items(), strict=True):
        assert line.split() == [name, f"{each.density:.2%}", f"{each.shared:.2%}",
                                f"{each.shared / each.density / 2:.1%}"]
    after = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"manifest.json"}
    assert np.array_equal(Samples.load(tmp_path / "model").inputs, samples.inputs)


def test_a_dead_layer_is_no_division_by_zero(tmp_path, capsys):
    model = random_model(NETWORKS["even"])
    tensors = model.tensors["patch_embed.block1"]
    silent = replace(tensors, threshold=tensors.threshold * 0 + (1 << 30))
    model = replace(model, tensors=model.tensors | {"patch_embed.block1": silent})
    model.save(tmp_path / "model", random_samples(model, 1))
    assert main([str(tmp_path / "model")]) == 0
    assert "patch_embed.block2        0.00%    0.00%            0.0%" in capsys.readouterr().out
    assert FixedPointModel.load(tmp_path / "model").activity["patch_embed.block2"] == Activity(0, 0)


@pytest.mark.parametrize("samples", [False, True])
def test_bad_input_is_one_sentence(tmp_path, capsys, samples):
    """No directory, or one that has no samples."""
    if samples:
        random_model(NETWORKS["even"]).save(tmp_path / "model")
    assert main([str(tmp_path / "model")]) == 2
    assert capsys.readouterr().err == (
        f"error: model directory {tmp_path / 'model'} must hold samples.safetensors, which it does "
        "not: python -m quantize --data FILE.npz stores some\n" if samples else
        f"error: model directory must hold manifest.json, not {str(tmp_path / 'model')!r}\n")
