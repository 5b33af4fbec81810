# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import numpy as np
import pytest

from hw import model as module
from hw.model import Activity, FixedPointModel, InputFormat, ResidualFormat, Samples
from hw.network import NetworkConfig
from quantize.random_model import random_model, random_samples

NETWORK = NetworkConfig(8, 1, 1, 2, 2, 4, 4, 3, pool_stages=(False, False, False, True))


@pytest.fixture(scope="module")
def made():
    return random_model(NETWORK, seed=1)


@pytest.fixture
def saved(made, tmp_path):
    made.save(tmp_path / "model", random_samples(made, 2))
    return tmp_path / "model"


def test_round_trip(made, saved):
    loaded = FixedPointModel.load(saved)
    for field in ("network", "weight_bits", "input", "residual", "logit_scale"):
        assert getattr(loaded, field) == getattr(made, field)
    for name, tensors in made.tensors.items():
        for part in ("weight", "bias", "shift", "threshold"):
            assert np.array_equal(getattr(tensors, part), getattr(loaded.tensors[name], part))
        assert tensors.bias_shift == loaded.tensors[name].bias_shift
    samples, again = random_samples(made, 2), Samples.load(saved)
    assert np.array_equal(samples.inputs, again.inputs)
    assert np.array_equal(samples.labels, again.labels)


def test_activity_travels_along(made, tmp_path):
    """As measured, which may be for some layers only; older directories have none."""
    activity = {"patch_embed.block1": Activity(0.25, 0.125), "block.0.mlp.mlp1": Activity(1, 0)}
    measured = replace(made, activity=activity)
    measured.save(tmp_path / "model")
    assert FixedPointModel.load(tmp_path / "model").activity == activity
    edit(tmp_path / "model", activity={})
    assert FixedPointModel.load(tmp_path / "model").activity == made.activity == {}
    path = tmp_path / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["activity"]
    path.write_text(json.dumps(manifest))
    assert FixedPointModel.load(tmp_path / "model").activity == {}


@pytest.mark.parametrize("values", [(0.5, 0.6), (1.1, 0.2), (0.3, -0.1), (float("nan"), 0.0)])
def test_activity_is_a_share(values):
    sentence = (r"^activity must have 0 <= shared <= density <= 1, "
                rf"not \({values[1]}, {values[0]}\)$")
    with pytest.raises(ValueError, match=sentence):
        Activity(*values)


def shifts(saved):
    return json.loads((saved / "manifest.json").read_text())["bias_shift"]


def edit(saved, **changes):
    path = saved / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(("damage", "sentence"), [
    (lambda d: edit(d, format=99), r".*manifest\.json must have format 1, not 99"),
    (lambda d: (d / "manifest.json").write_text("{"), r".* must be a JSON manifest: .*"),
    (lambda d: (d / "manifest.json").unlink(), r"model directory must hold manifest\.json, not .*"),
    (lambda d: (d / "weights.safetensors").unlink(), r".* must hold weights\.safetensors, .*"),
    (lambda d: (d / "weights.safetensors").write_bytes(b"12"), r".* must have the SHA-256 .*"),
    (lambda d: edit(d, network={"depth": 1}), r"network configuration is incomplete: .*"),
    (lambda d: edit(d, weight_bits=5), r"weight_bits must be 8, 6 or 4, not 5"),
    (lambda d: edit(d, residual={"width": 99, "fraction": 1}),
     r"residual width must be 4 to 24, not 99"),
    (lambda d: edit(d, residual={}), r"model directory .* has a wrong manifest: .*"),
    (lambda d: edit(d, residual={"width": 8, "fraction": 1, "\n": 1}),
     r"model directory .* has a wrong manifest: .*"),
    (lambda d: edit(d, bias_shift={}), r"model directory .* has no entry .*"),
    (lambda d: edit(d, bias_shift=dict.fromkeys(shifts(d), -1)),
     r"bias_shift of \S+ must be an integer of at least 0, not -1"),
    (lambda d: edit(d, bias_shift=dict.fromkeys(shifts(d), "2")),
     r"bias_shift of \S+ must be an integer of at least 0, not '2'"),
    (lambda d: edit(d, activity={"head": {"density": 0.1, "shared": 0.2}}),
     r"activity must have 0 <= shared <= density <= 1, not \(0\.2, 0\.1\)"),
    (lambda d: edit(d, activity={"head": {"density": 0.1}}),
     r"model directory .* has a wrong manifest: .*'shared'"),
    (lambda d: edit(d, activity={"head": [0.1, 0.1]}), r"model directory .* has a wrong .*"),
    (lambda d: edit(d, activity=[1]), r"model directory .* has a wrong manifest: .*"),
    (lambda d: edit(d, activity={"head": {"density": "much", "shared": 0}}),
     r"model directory .* has a wrong manifest: .*"),
    (lambda d: edit(d, sha256=None), r".* must have the SHA-256 of each file, not None"),
    (lambda d: edit(d, sha256=[1]), r".* must have the SHA-256 of each file, not \[1\]"),
    (lambda d: edit(d, sha256={}), r".* must have the SHA-256 of its manifest, .*"),
    (lambda d: edit(d, network=[1]), r"model directory .* has a wrong manifest: .*"),
    (lambda d: edit(d, network=None), r"model directory .* has a wrong manifest: .*"),
    (lambda d: edit(d, input=[]), r"model directory .* has no entry 'mean'"),
    (lambda d: edit(d, residual={"width": 16.0, "fraction": 1}),
     r"residual width must be 4 to 24, not 16\.0"),
    (lambda d: (d / "manifest.json").write_text("[]"), r".* must have format 1, not None"),
    (lambda d: (d / "manifest.json").write_bytes(b"\xff"), r".* must be a JSON manifest: .*"),
])
def test_damaged_directory_is_one_sentence(saved, damage, sentence):
    damage(saved)
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        FixedPointModel.load(saved)


def test_truncated_tensors_with_a_matching_hash(saved):
    path = saved / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    edit(saved, sha256={"weights.safetensors": module.sha256(path)})
    with pytest.raises(ValueError, match=r"^.* must be a safetensors file: .*$"):
        FixedPointModel.load(saved)


def test_samples_are_optional(made, tmp_path):
    made.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"^.* must hold samples\.safetensors, .*$"):
        Samples.load(tmp_path / "model")


@pytest.mark.parametrize(("part", "value", "sentence"), [
    ("weight", np.zeros((1, 2, 3, 3), np.int8), r"weight of \S+ must have shape .*"),
    ("weight", np.full((1, 2, 3, 3), 127, np.int8), r"weights of \S+ must fit 4 bits"),
    ("shift", np.zeros(1, int), r"shift of \S+ must be absent, not .*"),
    ("threshold", None, r"threshold of \S+ must be given, not None"),
    ("bias", np.zeros(5, int), r"bias of \S+ must have 1 entries, not \(5,\)"),
    ("bias", np.zeros(1), r"bias of \S+ must be integers, not float64"),
    ("weight", np.zeros((1, 2, 3, 3)), r"weight of \S+ must be integers, not float64"),
    ("bias_shift", -1, r"bias_shift of \S+ must be an integer of at least 0, not -1"),
])
def test_wrong_tensor_names_its_layer(part, value, sentence):
    made = random_model(NETWORK, weight_bits=4)
    name = "patch_embed.block0"
    if part == "weight" and value.dtype == np.int8 and value.any() == 0:
        value = value[:, :1]
    wrong = made.tensors | {name: replace(made.tensors[name], **{part: value})}
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        replace(made, tensors=wrong)


def test_tensors_are_those_of_the_network(made):
    without = {name: tensors for name, tensors in made.tensors.items() if name != "head"}
    extra = made.tensors | {"tail": made.tensors["head"]}
    for tensors, odd in ((without, "head"), (extra, "tail")):
        with pytest.raises(ValueError, match=f"^tensors must be those of .*, not '{odd}'$"):
            replace(made, tensors=tensors)


@pytest.mark.parametrize("part", ["mean", "std"])
def test_input_format_has_an_entry_for_each_channel(made, part):
    with pytest.raises(ValueError, match=f"^input {part} must have 2 entries, not 3$"):
        replace(made, input=replace(made.input, **{part: (1.0,) * 3}))


def test_input_format():
    fmt = InputFormat(4, True, 0.5, (0.25,), (0.5,))
    assert (fmt.minimum, fmt.maximum) == (-8, 7)
    x = np.array([0.25, 0.5, 100, -100]).reshape(1, 2, 2)
    assert fmt.quantize(x).ravel().tolist() == [0, 1, 7, -8]
    assert (replace(fmt, signed=False).minimum, replace(fmt, signed=False).maximum) == (0, 15)
    with pytest.raises(ValueError, match=r"^input bits must be 1 to 16, not 0$"):
        replace(fmt, bits=0)
    with pytest.raises(ValueError, match=r"^input bits must be 1 to 16, not 17$"):
        replace(fmt, bits=17)
    with pytest.raises(ValueError, match=r"^input bits must be 1 to 16, not 4\.0$"):
        replace(fmt, bits=4.0)
    with pytest.raises(ValueError, match=r"^input scale must be positive and finite, not 0$"):
        replace(fmt, scale=0)
    with pytest.raises(ValueError, match=r"^input scale must be positive and finite, not nan$"):
        replace(fmt, scale=float("nan"))
    with pytest.raises(ValueError, match=r"^residual fraction must be 0 to 15, not 16$"):
        ResidualFormat(16, 16)
    with pytest.raises(ValueError, match=r"^residual fraction must be 0 to 15, not 1\.0$"):
        ResidualFormat(16, 1.0)
    with pytest.raises(ValueError, match=r"^input std must be finite and positive, not 0\.0$"):
        InputFormat(8, False, 1.0, (0.0,), (0.0,))
    with pytest.raises(ValueError, match=r"^input mean must be finite, not nan$"):
        InputFormat(8, False, 1.0, (float("nan"),), (1.0,))
    with pytest.raises(ValueError, match=r"^input signed must be true or false, not None$"):
        InputFormat(8, None, 1.0, (0.0,), (1.0,))


def test_a_failing_save_leaves_the_old_directory(made, saved, monkeypatch):
    before = (saved / "manifest.json").read_bytes()

    def fail(*_):
        raise OSError("disk full")
    monkeypatch.setattr(module, "save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        made.save(saved)
    assert (saved / "manifest.json").read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["model"]


def test_saving_replaces_only_its_own_output(made, saved):
    made.save(saved)
    assert not (saved / "samples.safetensors").exists()
    (saved.parent / "mine").mkdir()
    (saved.parent / "mine" / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"^output directory must be new, empty or an earlier .*$"):
        made.save(saved.parent / "mine")
    assert (saved.parent / "mine" / "thesis.tex").exists()
