# SPDX-License-Identifier: Apache-2.0
"""Reading and writing tensor files: containers, damage, and files that want to run code."""

import argparse
import pickle
import re
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from quantize import tensor_file

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([1.5])}


class Attack:
    """Pickles into a call that creates a file: stands for any code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def same(file: tensor_file.TensorFile, factor: float = 1) -> bool:
    return set(file.tensors) == set(TENSORS) and all(
        torch.equal(file.tensors[name], tensor * factor) for name, tensor in TENSORS.items())


def test_write_and_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.safetensors"
    tensor_file.write(path, TENSORS, {"seed": 3})
    file = tensor_file.read(path)
    assert same(file)
    assert file.metadata == {"seed": 3}
    assert file.container == ""
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]
    assert path.stat().st_mode & 0o600 == 0o600


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensor_file.write(path, TENSORS, {})
    with pytest.raises(TypeError):
        tensor_file.write(path, TENSORS, {"not JSON": object()})
    assert same(tensor_file.read(path))
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".pth.tar", ".bin", ".ckpt"])
@pytest.mark.parametrize(("content", "container"), [
    pytest.param(TENSORS, "", id="bare"),
    pytest.param({"state_dict": TENSORS, "epoch": 3, "arch": "spikformer", "metric": 74.8,
                  "optimizer": {"state": {}}, "args": argparse.Namespace(lr=0.1, opt="adamw")},
                 "state_dict", id="timm"),
    pytest.param({"model": OrderedDict(TENSORS), "epoch": 3, "max_test_acc1": 80.1}, "model",
                 id="dvs"),
])
def test_containers(tmp_path: Path, suffix: str, content: object, container: str) -> None:
    path = tmp_path / f"model{suffix}"
    torch.save(content, path)
    file = tensor_file.read(path)
    assert same(file)
    assert file.container == container
    assert file.metadata is None


def test_averaged_weights_by_choice(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    averaged = {name: tensor * 2 for name, tensor in TENSORS.items()}
    torch.save({"state_dict": TENSORS, "state_dict_ema": averaged}, path)
    assert same(tensor_file.read(path))
    assert same(tensor_file.read(path, "state_dict_ema"), 2)
    torch.save({"state_dict": TENSORS}, path)
    with pytest.raises(ValueError, match=r"^\S+ must hold 'state_dict_ema', not state_dict$"):
        tensor_file.read(path, "state_dict_ema")
    torch.save({"state_dict_ema": averaged}, path)
    with pytest.raises(ValueError, match=r"^\S+ must hold 'state_dict', not state_dict_ema$"):
        tensor_file.read(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("hidden", [False, True])
def test_nothing_in_a_pickle_is_executed(tmp_path: Path, legacy: bool, hidden: bool) -> None:
    mark = tmp_path / "executed"
    attack = Attack(mark)
    content = {"state_dict": TENSORS, "args": argparse.Namespace(lr=attack)} if hidden else attack
    torch.save(content, tmp_path / "bad.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"^\S+bad\.pth must hold nothing but tensors and plain "
                                         r"values, not '\S+'$"):
        tensor_file.read(tmp_path / "bad.pth")
    assert not mark.exists()


def test_plain_pickle_is_not_executed(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    (tmp_path / "bad.pt").write_bytes(pickle.dumps(Attack(mark), protocol=2))
    with pytest.raises(ValueError, match=r"^\S+bad\.pt ") as caught:
        tensor_file.read(tmp_path / "bad.pt")
    assert "\n" not in str(caught.value)
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("keep", [0, 1, 9, 100, 0.5, 0.99])
def test_truncated(tmp_path: Path, suffix: str, keep: float) -> None:
    path = tmp_path / f"cut{suffix}"
    save_file(TENSORS, path) if suffix == ".safetensors" else torch.save(TENSORS, path)
    data = path.read_bytes()
    path.write_bytes(data[:keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} is not a whole ") as caught:
        tensor_file.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "message"), [
    ([1, 2], r"^\S+ must hold a dictionary of tensors, not list$"),
    ({"a": 1.0}, r"^entry 'a' of \S+ must be a tensor, not float$"),
    ({"state_dict": {"a": None}}, r"^entry 'a' of \S+ must be a tensor, not NoneType$"),
])
def test_not_tensors(tmp_path: Path, content: object, message: str) -> None:
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(ValueError, match=message):
        tensor_file.read(tmp_path / "model.pth")


def test_not_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^checkpoint must be a file, not '\S+none\.pth'$"):
        tensor_file.read(tmp_path / "none.pth")
    (tmp_path / "model.onnx").touch()
    with pytest.raises(ValueError, match=r"^checkpoint must end in \.safetensors, .*, "
                                         r"not 'model\.onnx'$"):
        tensor_file.read(tmp_path / "model.onnx")
    for text, message in (("{", r"^metadata of \S+ must be JSON: "),
                          ("[]", r"^metadata of \S+ must be a JSON object, not \[\]$")):
        save_file(TENSORS, tmp_path / "model.safetensors", metadata={tensor_file.METADATA: text})
        with pytest.raises(ValueError, match=message):
            tensor_file.read(tmp_path / "model.safetensors")
