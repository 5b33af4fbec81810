# SPDX-License-Identifier: Apache-2.0
"""Pairs of networks of equal shape, and the command."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from hw.model import InputFormat
from hw.network import Kind, NetworkConfig, Output
from quantize import models, tensor_file
from quantize.baseline import (
    PUBLISHED_MJ,
    calibrate,
    copy_weights,
    main,
    matched_pair,
    named_case,
    published_branch_rate,
    random_pair,
)
from quantize.comparison import observe, spikingformer_convolution
from quantize.energy import Operations, branch_rates, dense_operations, logged_operations, total
from quantize.rates import measured
from quantize.spikformer import convolution_name, spiking_name
from quantize.spikingformer import Spikingformer

SMALL = NetworkConfig(32, 2, 2, 3, 3, 8, 8, 5, name="small")


def images(count=8):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


def test_published_branch_rate_gives_the_published_energy():
    """Calculation 1 of 8-512 with that rate in all branches, added up layer by layer."""
    rate, network = published_branch_rate(), models.find("imagenet-8-512").network
    assert 0.14 < rate < 0.16
    groups = logged_operations(measured(), branch_rates(), network)
    parts = [each for name, each in groups.items() if name not in ("q, k, v", "mlp1")]
    stream = measured()["patch_embed.rpe_conv"].rate + rate
    for block in range(8):
        layers = {layer.name: layer for layer in network.layers()}
        for branch in "qkv":
            dense = dense_operations(layers[f"block.{block}.attn.{branch}"], 4)
            parts.append(Operations(dense * stream))
        stream += rate
        parts.append(Operations(dense_operations(layers[f"block.{block}.mlp.mlp1"], 4) * stream))
        stream += rate
    assert total(parts).energy_mj == pytest.approx(PUBLISHED_MJ["imagenet-8-512"], rel=1e-9)


def test_weights_are_the_same():
    ours, theirs = random_pair(SMALL, 3, images())
    for layer in SMALL.layers():
        if layer.has_weights:
            left = ours.get_submodule(spikingformer_convolution(layer))
            right = theirs.get_submodule(convolution_name(layer))
            assert torch.equal(left.weight, right.weight)
            assert (left.bias is None) == (right.bias is None)
    again, _ = random_pair(SMALL, 3, images())
    assert torch.equal(again.head.weight, ours.head.weight)


def test_calibration_takes_the_statistics_of_these_images():
    model, x = Spikingformer(SMALL), images()
    calibrate(model, x)
    raw = model.patch_embed.block0_conv(x)
    assert not model.training and model.patch_embed.block0_bn.momentum == 0.1
    assert torch.allclose(model.patch_embed.block0_bn.running_mean, raw.mean((0, 2, 3)), atol=1e-6)


def test_matched_firing_rates():
    x = images(16)
    ours, _ = random_pair(SMALL, 0, x)
    with torch.no_grad():
        for block in ours.block:   # attention fires only if these fire more than usual
            for branch in "qkv":
                block.attn.get_submodule(f"{branch}_bn").bias += 1
    theirs, missed = matched_pair(ours, x, 0.2)
    assert all("attn_lif" in sentence for sentence in missed)
    layers = [layer for layer in SMALL.layers() if spiking_name(layer)
              and layer.kind is not Kind.ATTENTION]
    reached = observe(theirs, x, True, (), [spiking_name(layer) for layer in layers])
    wanted = observe(ours, x, True, (), [layer.lif for layer in layers if layer.lif])
    for layer in layers:
        name = spiking_name(layer)
        target = 0.2 if layer.output is Output.RESIDUAL else wanted[layer.lif].mean
        assert reached[name].mean == pytest.approx(target, rel=0.1), name


def test_dead_attention_is_told():
    x = images()
    ours, _ = random_pair(SMALL, 0, x)
    with torch.no_grad():
        ours.block[0].attn.v_bn.bias -= 100   # no value ever fires: the branch has nothing to add
    _, missed = matched_pair(ours, x, 0.2)
    assert any(sentence.startswith("block.0.attn.proj_lif fires") for sentence in missed)


def test_copy_leaves_the_source_alone():
    ours, _ = random_pair(SMALL, 0, images())
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    calibrate(copy_weights(ours), images(), {"block.0.attn.q_lif": 0.3})
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, before[name])


def small_checkpoint(path, **metadata):
    ours, _ = random_pair(SMALL, 0, images())
    fmt = InputFormat(8, True, 1 / 64, (0.5,) * 3, (0.25,) * 3)
    tensor_file.write(path, ours.state_dict(), {
        "network": SMALL.to_dict(), "input": asdict(fmt)} | metadata)
    return path


def test_command_with_a_checkpoint(tmp_path, capsys):
    path = small_checkpoint(tmp_path / "small.safetensors", synthetic={"weights": "random"})
    out = tmp_path / "rows.csv"
    assert main([str(path), "--images", "4", "--branch-rate", "0.25", "--csv", str(out)]) == 0
    text = capsys.readouterr().out
    assert "small.safetensors, a synthetic network" in text and "25.00% in the LIFs" in text
    assert "block.1.mlp.mlp2" in text and text.count("Spikingformer saves") == 3
    assert len(out.read_text().splitlines()) == 1 + len(SMALL.layers())


def test_command_with_a_name(monkeypatch, capsys):
    model = models.find("cifar10-4-256")
    monkeypatch.setattr("quantize.models.find", lambda _: type(model)(
        "small", SMALL, None, "", "", "CIFAR10"))
    case = named_case("small", 0, 3, None)
    assert case.x.shape == (3, 3, 8, 8) and case.notes[0].startswith("synthetic: random weights")
    assert np.isfinite(case.x.numpy()).all()
    assert main(["small", "--images", "3"]) == 0
    assert "firing rates: as they come" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, message", [
    (["nothing"], "nothing"),
    (["nothing.safetensors"], "nothing.safetensors"),
    (["cifar10-4-256", "--images", "1"], "--images must be at least 2, not 1"),
    (["cifar10-4-256", "--seed", "-1"], "--seed must be at least 0, not -1"),
    (["cifar10-4-256", "--branch-rate", "1.5"], "--branch-rate must be between 0 and 1, not 1.5"),
])
def test_bad_arguments(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
