# SPDX-License-Identifier: Apache-2.0
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

import quantize
from hw.model import SHIPPED_MODEL, FixedPointModel, Samples
from hw.network import NetworkConfig
from quantize import datasets
from quantize.__main__ import main
from quantize.activity import measure
from quantize.pipeline import stored
from quantize.random_model import random_model
from quantize.spikingformer import Spikingformer

SHIPPED = Path(quantize.__file__).parent / "checkpoints" / "digits.safetensors"
FOREIGN = ["--heads", "4", "--tau", "2", "--timesteps", "2", "--image-size", "8", "--pool-stages",
           "FFFT", "--mean", "0", "--std", "1"]


def call(capsys, *arguments):
    """Exit status, stdout, stderr of the command."""
    try:
        status = main([str(argument) for argument in arguments])
    except SystemExit as error:   # argparse
        status = error.code
    return (status, *capsys.readouterr())


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """The shipped tensors without any metadata."""
    path = tmp_path_factory.mktemp("foreign") / "net.safetensors"
    save_file({name: torch.from_numpy(value) for name, value in load_file(SHIPPED).items()}, path)
    return path


def test_the_shipped_model_comes_from_the_shipped_checkpoint(tmp_path, capsys):
    status, out, _ = call(capsys, SHIPPED, "--out", tmp_path / "out")
    assert status == 0
    assert "same label on" in out and "the directory holds" not in out   # it holds all
    made, shipped = (FixedPointModel.load(path) for path in (tmp_path / "out", SHIPPED_MODEL))
    assert (made.network, made.input, made.residual) == (
        shipped.network, shipped.input, shipped.residual)
    assert made.activity == shipped.activity
    for name, tensors in shipped.tensors.items():
        for part in ("weight", "bias", "shift", "threshold"):
            assert np.array_equal(getattr(made.tensors[name], part), getattr(tensors, part)), name
    assert np.array_equal(Samples.load(tmp_path / "out").inputs,
                          Samples.load(SHIPPED_MODEL).inputs)
    accuracy = made.accuracy
    assert accuracy["images"] == 360
    assert accuracy["float"] >= 0.97
    assert accuracy["integer"] >= accuracy["float"] - 0.005
    assert accuracy["saturations"] == 0


def test_fewer_images_are_measured_and_stored(tmp_path, capsys):
    status, out, _ = call(capsys, SHIPPED, "--out", tmp_path / "out", "--samples", 100,
                          "--stored", 7)
    assert status == 0
    assert "digits, 100 held-out images: " in out
    assert "the directory holds the first 7 of these images\n" in out
    samples, shipped = Samples.load(tmp_path / "out"), Samples.load(SHIPPED_MODEL)
    assert np.array_equal(samples.inputs, shipped.inputs[:7])
    assert np.array_equal(samples.labels, shipped.labels[:7])
    assert FixedPointModel.load(tmp_path / "out").accuracy["images"] == 100


def test_a_network_of_a_million_weights_stays_below_3_megabytes(tmp_path):
    """Weights and the images that are stored by default, of the Fashion-MNIST network."""
    network = NetworkConfig(192, 2, 6, 4, 1, 28, 28, 10, pool_stages=(True, True, True, False))
    model = random_model(network, input_format=datasets.input_format("fashion"))
    assert sum(tensors.weight.size for tensors in model.tensors.values()) == 1_436_376
    images = np.random.default_rng(0).integers(0, 256, (1000, 1, 28, 28), np.int32)
    samples = stored(Samples(images, np.zeros(1000, int)), None)
    assert 300 < len(samples.labels) == len(samples.inputs) < 1000
    model.save(tmp_path / "out", samples)
    size = sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert size < 3e6
    assert len(Samples.load(tmp_path / "out").inputs) == len(samples.inputs)


@pytest.mark.parametrize(("bits", "loss"), [(6, 0.01), (4, 0.02)])
def test_coarse_weights(tmp_path, capsys, bits, loss):
    assert call(capsys, SHIPPED, "--out", tmp_path / "out", "--bits", bits)[0] == 0
    accuracy = FixedPointModel.load(tmp_path / "out").accuracy
    assert accuracy["integer"] >= accuracy["float"] - loss


def test_foreign_checkpoint_with_calibration(tmp_path, capsys, foreign):
    np.save(tmp_path / "images.npy", np.random.default_rng(0).random((4, 1, 8, 8), np.float32))
    status, out, err = call(capsys, foreign, "--out", tmp_path / "out", *FOREIGN,
                            "--calibration", tmp_path / "images.npy")
    assert (status, err) == (0, "")
    assert "residual stream" in out
    made = FixedPointModel.load(tmp_path / "out")
    assert made.network.num_heads == 4
    # Measured on the calibration inputs, there are no samples.
    assert made.activity == measure(made, made.input.quantize(np.load(tmp_path / "images.npy")))
    assert "block.0.mlp.mlp2" in made.activity


def spoiled(path, name, value):
    tensors = {key: torch.from_numpy(tensor.copy()) for key, tensor in load_file(SHIPPED).items()}
    tensors[name].view(-1)[0] = value
    save_file(tensors, path)


@pytest.mark.parametrize(("array", "sentence"), [
    (np.zeros((2, 8, 8)), r"calibration inputs must have shape \(n, 1, 8, 8\), not \(2, 8, 8\)"),
    (np.zeros((0, 1, 8, 8)), r"calibration inputs must have shape .*, not \(0, 1, 8, 8\)"),
    (np.full((2, 1, 8, 8), np.nan), r"calibration inputs must be finite, not NaN or infinity"),
    (np.full((2, 1, 8, 8), "0"), r"calibration file must be one \.npy array of real .*, not <U1"),
    (np.zeros((2, 1, 8, 8), complex), r"calibration file must be .* real numbers, not complex128"),
    (np.array([{}]), r"calibration file must be a \.npy array: .*"),
    (b"noise", r"calibration file must be a \.npy array: .*"),
    ("archive", r"calibration file must be one \.npy array of real numbers, not an archive"),
])
def test_bad_calibration_is_one_sentence(tmp_path, capsys, array, sentence):
    path = tmp_path / "images.npy"
    with path.open("wb") as file:
        if isinstance(array, bytes):
            file.write(array)
        elif isinstance(array, str):
            np.savez(file, images=np.zeros((2, 1, 8, 8)))
        else:
            np.save(file, array, allow_pickle=True)
    status, out, err = call(capsys, SHIPPED, "--out", tmp_path / "out", "--calibration", path)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"error: {sentence}\n", err)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("change", "options", "sentence"), [
    ("truncated", [], ".*net.safetensors.*"),
    ("nan", FOREIGN, "tensor 'head.weight' of .* must be finite, but holds NaN"),
    ("", ["--heads", "5"], "num_heads of .* must be 4, .* not 5, .*"),
    ("plain", [], ".* does not tell num_heads, tau, .*: they must be given"),
    ("plain", FOREIGN, "a checkpoint without a data set of its own needs --data FILE.npz, or .*"),
    ("plain", [*FOREIGN, "--calibration", "absent.npy"], "calibration file must be .*"),
    ("plain", [*FOREIGN[2:], "--heads", "7"], "num_heads must divide embed_dim 64, not 7"),
    ("", ["--residual-width", "99"], "residual width must be 4 to 24, not 99"),
    ("", ["--samples", "0"], "--samples must be at least 1, not 0"),
    ("", ["--stored", "0"], "--stored must be at least 1, not 0"),
    ("absent", [], ".*net.safetensors.*"),
])
def test_bad_input_is_one_sentence(tmp_path, capsys, foreign, change, options, sentence):
    path = tmp_path / "net.safetensors"
    if change == "truncated":
        path.write_bytes(SHIPPED.read_bytes()[:100_000])
    elif change == "nan":
        spoiled(path, "head.weight", float("nan"))
    elif change == "plain":
        path.write_bytes(foreign.read_bytes())
    elif not change:
        path.write_bytes(SHIPPED.read_bytes())
    before = sorted(tmp_path.iterdir())
    status, out, err = call(capsys, path, "--out", tmp_path / "out", *options)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"error: {sentence}\n", err)
    assert sorted(tmp_path.iterdir()) == before


def test_a_foreign_directory_is_not_replaced(tmp_path, capsys):
    (tmp_path / "thesis.tex").touch()
    status, _, err = call(capsys, SHIPPED, "--out", tmp_path)
    assert status == 2
    assert err.startswith("error: output directory must be new, empty or an earlier output")
    assert (tmp_path / "thesis.tex").exists()


def test_the_state_dict_has_no_metadata_of_its_own(foreign):
    network = FixedPointModel.load(SHIPPED_MODEL).network
    names = {name for name in Spikingformer(network).state_dict()
             if not name.endswith("num_batches_tracked")}
    assert names <= set(load_file(foreign))
