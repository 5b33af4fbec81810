# SPDX-License-Identifier: Apache-2.0
import json
import re
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest

from hw.model import FixedPointModel, Samples
from hw.network import Classifier, NetworkConfig
from quantize import models, rates, synthesize
from quantize.activity import measure
from quantize.checkpoint import load_checkpoint
from quantize.golden import GoldenModel
from quantize.synthesize import main

STATIC = NetworkConfig(64, 1, 2, 4, 3, 16, 16, 10, pool_stages=(False, False, False, True),
                       name="tiny")
EVENTS = NetworkConfig(32, 1, 1, 3, 2, 16, 16, 4, tau=1.5, pool_stages=(True, False, False, False),
                       static_input=False, name="tiny-events")


@pytest.fixture(scope="module", autouse=True)
def small_models():
    """Two small networks instead of the paper's; everything else is as users run it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "MODELS", MappingProxyType({
            network.name: models.PaperModel(network.name, network, None, "", "", "")
            for network in (STATIC, EVENTS)}))
        yield


def make(capsys, *arguments):
    """Exit status, stdout and stderr of the command."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as error:   # argparse
        status = error.code
    return (status, *capsys.readouterr())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "tiny"
    assert main(["tiny", "--out", str(out), "--images", "3"]) == 0
    return out


def contents(out):
    paths = [out.with_name(f"{out.name}.safetensors"), *sorted(out.iterdir())]
    return {path.name: path.read_bytes() for path in paths}


def test_the_seed_makes_every_byte(tmp_path, capsys, made):
    first = contents(made)
    assert list(first) == ["tiny.safetensors", "manifest.json", "samples.safetensors",
                           "weights.safetensors"]
    for parent, seed in (("same", 0), ("other", 1)):
        out = tmp_path / parent / "tiny"
        assert make(capsys, "tiny", "--out", out, "--images", 3, "--seed", seed)[0] == 0
        found = contents(out)
        assert list(found) == list(first)
        for name, content in found.items():
            assert (content == first[name]) == (seed == 0), name


def test_rates_on_the_stored_images_are_those_of_the_trained_network(made):
    model, samples = FixedPointModel.load(made), Samples.load(made)
    targets, found = rates.target_rates(STATIC), {}
    for image in samples.inputs:
        for result in GoldenModel(model).results(image):
            if result.layer.lif:
                found.setdefault(result.layer.lif, []).append(result.spikes.mean())
    synthetic = model.provenance["synthetic"]
    assert synthetic["integer_rates"] == pytest.approx(
        {lif: np.mean(values) for lif, values in found.items()})
    floats = {rate["lif"]: rate["reached"] for rate in synthetic["rates"]}
    assert {rate["lif"]: rate["target"] for rate in synthetic["rates"]} == targets
    assert floats == pytest.approx(targets, rel=synthesize.TOLERANCE)
    # 8-bit weights and pixels move single spikes; attention multiplies three rates.
    for lif, values in found.items():
        assert np.mean(values) == pytest.approx(targets[lif], rel=0.15), lif


def test_everything_says_that_it_is_synthetic(made):
    checkpoint = load_checkpoint(made.with_name("tiny.safetensors"))
    model, samples = FixedPointModel.load(made), Samples.load(made)
    for provenance in (checkpoint.provenance, model.provenance):
        synthetic = provenance["synthetic"]
        assert synthetic["weights"] == "random"
        assert "3 parts of scikit-learn's sample photographs" in synthetic["images"]
        assert provenance["command"] == ("python -m quantize.synthesize tiny --seed 0 "
                                         "--timesteps 4 --classifier avgpool_fc --images 3")
    assert model.accuracy == {}
    assert model.activity == measure(model, samples.inputs)
    assert model.provenance["sample_labels"] == "answers of the float network"
    assert samples.inputs.shape == (3, 3, 16, 16)
    assert samples.labels.shape == (3,)
    assert "synthetic" in json.loads((made / "manifest.json").read_text())["provenance"]
    assert model.network == checkpoint.config == STATIC
    assert sum(result.saturations for results in GoldenModel(model).run(samples.inputs)
               for result in results) == 0


def test_options_and_the_table(tmp_path, capsys):
    out = tmp_path / "new" / "net"
    status, text, _ = make(capsys, "tiny-events", "--out", out, "--timesteps", 5, "--images", 2,
                           "--classifier", "sn_fc_avgpool", "--bits", 4)
    assert status == 0
    model = FixedPointModel.load(out)
    network = replace(EVENTS, timesteps=5, classifier=Classifier.SN_FC_AVGPOOL)
    assert (model.network, model.weight_bits) == (network, 4)
    assert Samples.load(out).inputs.shape == (2, 5, 2, 16, 16)
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("firing rate in %"))
    names = [re.split(r"  +", line)[0] for line in lines[start + 1:-2]]
    names.remove("patch_embed.block1_lif, pooled")
    assert names == list(rates.target_rates(network))
    assert re.fullmatch(r"farthest from its target: .+, by \d+\.\d% of it", lines[-2])
    assert lines[-1] == (f"wrote {out}.safetensors and {out}: synthetic, no accuracy")


def test_rates_that_are_not_reached_are_marked():
    def rate(lif, reached):
        return synthesize.tuning.Rate(lif, 0.1, reached)
    near, far = rate("near", 0.1019), rate("far", 0.0979)
    table = synthesize.rate_table([near, far], {"near": 0.11, "far": 0.12})
    assert table[1].split() == ["near", "10.000", "10.190", "11.000"]
    assert table[2].split() == ["far", "10.000", "9.790", "12.000", "not", "reached"]
    assert table[3] == "farthest from its target: far, by 2.1% of it"


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["nothing"], "model must be one of tiny, tiny-events, not 'nothing'"),
    (["tiny", "--timesteps", "0"], "timesteps must be a positive integer, not 0"),
    (["tiny", "--images", "0"], "--images must be at least 1, not 0"),
    (["tiny", "--seed", "-1"], "--seed must be at least 0, not -1"),
])
def test_bad_arguments_are_one_sentence(tmp_path, capsys, arguments, sentence):
    status, out, err = make(capsys, *arguments, "--out", tmp_path / "new" / "net")
    assert (status, out, err) == (2, "", f"error: {sentence}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_directory_is_not_replaced(tmp_path, capsys):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "thesis.tex").touch()
    status, _, err = make(capsys, "tiny", "--out", tmp_path / "net")
    assert status == 2
    assert re.fullmatch(r"error: output directory must be new, empty or an earlier output, "
                        r"not '.*'\n", err)
    assert [path.name for path in tmp_path.rglob("*")] == ["net", "thesis.tex"]


def test_what_fails_halfway_leaves_what_was_there(tmp_path, capsys, monkeypatch):
    out = tmp_path / "tiny"
    assert make(capsys, "tiny", "--out", out, "--images", 1)[0] == 0
    before = contents(out)

    def fail(*_):
        raise ValueError("no space is left")

    monkeypatch.setattr(synthesize.fixed, "quantize", fail)
    status, _, err = make(capsys, "tiny", "--out", out, "--images", 1, "--seed", 1)
    assert (status, err.splitlines()[-1]) == (2, "error: no space is left")
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny", "tiny.safetensors"]
