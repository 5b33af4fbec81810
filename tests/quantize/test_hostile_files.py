# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and model directories that somebody damaged or made up, as `tests.hostile` says."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.model import FixedPointModel, InputFormat, Samples, sha256
from hw.network import NetworkConfig
from quantize.checkpoint import load_checkpoint
from quantize.spikingformer import Spikingformer
from sim.benches.models import SMALL, random_inputs, random_model
from tests.hostile import changes, damages, frugal, fuzz

NETWORK = NetworkConfig(embed_dim=8, depth=1, num_heads=1, timesteps=1, in_channels=1,
                        image_height=4, image_width=4, num_classes=2, mlp_ratio=1.0)
METADATA = {"network": NETWORK.to_dict(), "dataset": "digits", "seed": 1,
            "input": {"bits": 8, "signed": False, "scale": 0.1, "mean": [0.0], "std": [1.0]}}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """Whole files of one network, by suffix."""
    from quantize import tensor_file

    folder = tmp_path_factory.mktemp("checkpoints")
    torch.manual_seed(0)
    state = {name: tensor for name, tensor in Spikingformer(NETWORK).state_dict().items()
             if not name.endswith("num_batches_tracked")}
    tensor_file.write(folder / "a.safetensors", state, METADATA)
    torch.save({"state_dict": state}, folder / "a.pth")
    torch.save(state, folder / "a.pt", _use_new_zipfile_serialization=False)
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def model_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "m"
    model = random_model(SMALL)
    model.save(folder, Samples(random_inputs(model, 2), np.array([0, 1])))
    return folder


@fuzz
@given(data=st.data(), damage=damages())
def test_damaged_checkpoints(checkpoints, tmp_path, data, damage):
    suffix = data.draw(st.sampled_from(sorted(checkpoints)))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(damage(checkpoints[suffix]))
    with frugal(path.stat().st_size):
        load_checkpoint(path, NETWORK, input_format=InputFormat(8, False, 0.1, (0.0,), (1.0,)))


@fuzz
@given(metadata=changes(METADATA))
def test_checkpoints_with_other_metadata(checkpoints, tmp_path, metadata):
    from quantize import tensor_file

    path = tmp_path / "a.safetensors"
    path.write_bytes(checkpoints[".safetensors"])
    tensors = tensor_file.read(path).tensors
    tensor_file.write(path, tensors, metadata)
    with frugal(path.stat().st_size):
        load_checkpoint(path)


@fuzz
@given(data=st.data())
def test_checkpoints_with_other_tensors(checkpoints, tmp_path, data):
    from quantize import tensor_file

    path = tmp_path / "a.safetensors"
    path.write_bytes(checkpoints[".safetensors"])
    tensors = tensor_file.read(path).tensors
    name = data.draw(st.sampled_from(sorted(tensors)))
    shape = data.draw(st.lists(st.integers(0, 9), max_size=5))
    dtype = data.draw(st.sampled_from([torch.float32, torch.int8, torch.bool, torch.float64]))
    other = data.draw(st.sampled_from(["", "block.7.x", f"{name}x",
                                       "patch_embed.proj_conv.weight"]))
    tensors[other or name] = torch.zeros(shape, dtype=dtype)
    tensor_file.write(path, tensors, METADATA)
    with frugal(path.stat().st_size):
        load_checkpoint(path)


def copy(source, target):
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target


def use(folder):
    """What the commands do with a model directory before anything is built."""
    model = FixedPointModel.load(folder)
    Samples.load(folder)
    compile_model(model, HardwareConfig.for_model(model, lanes=8, banks=2))


@fuzz
@given(data=st.data())
def test_model_directories_with_another_manifest(model_files, tmp_path, data):
    folder = copy(model_files, tmp_path / "m")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(data.draw(changes(manifest))))
    with frugal(sum(path.stat().st_size for path in folder.iterdir())):
        use(folder)


@fuzz
@given(damage=damages(), name=st.sampled_from(["weights.safetensors", "samples.safetensors",
                                               "manifest.json"]),
       known=st.booleans())
def test_damaged_model_directories(model_files, tmp_path, damage, name, known):
    """Known: the manifest has the checksum of the damaged file."""
    folder = copy(model_files, tmp_path / "m")
    (folder / name).write_bytes(damage((folder / name).read_bytes()))
    if known and name != "manifest.json":
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["sha256"][name] = sha256(folder / name)
        (folder / "manifest.json").write_text(json.dumps(manifest))
    with frugal(sum(path.stat().st_size for path in folder.iterdir())):
        use(folder)


@fuzz
@given(data=st.data())
def test_model_directories_with_other_tensors(model_files, tmp_path, data):
    folder = copy(model_files, tmp_path / "m")
    tensors = load_file(folder / "weights.safetensors")
    name = data.draw(st.sampled_from(sorted(tensors)))
    old = tensors[name]
    shape = data.draw(st.one_of(st.just(old.shape), st.lists(st.integers(0, 9), max_size=5)))
    dtype = data.draw(st.sampled_from([old.dtype, np.int8, np.int64, np.float32, np.bool_]))
    fill = data.draw(st.sampled_from([0, 1, -1, 127, -(2**63), 2**63 - 1]))
    tensors[name] = np.full(tuple(shape), fill).astype(dtype)
    save_file(tensors, folder / "weights.safetensors")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"]["weights.safetensors"] = sha256(folder / "weights.safetensors")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with frugal(sum(path.stat().st_size for path in folder.iterdir())):
        use(folder)
