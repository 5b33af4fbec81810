# SPDX-License-Identifier: Apache-2.0
"""HDF5 files: what is in them, and what they must not make of a reader."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantize import hdf5

h5py = pytest.importorskip("h5py")


def test_everything_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    arrays = {"floats": np.linspace(0, 1, 6).reshape(2, 3), "int": np.int16(-3),
              "flag": np.bool_(True), "none": np.zeros((0, 4), np.float32)}
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[f"outer/inner/{name}"] = array
        file.create_dataset("outer/packed", data=np.ones(1000, "f4"), compression="gzip")
        file["text"] = "h\u00e4?"
        file["outer/pairs"] = [["a", "bcd"], ["", "e"]]
        file.create_group("empty")
    found = hdf5.read(path)
    assert sorted(found) == ["empty", "outer", "text"]
    assert found["empty"] == {} and found["text"] == "h\u00e4?"
    for name, array in arrays.items():
        got = found["outer"]["inner"][name]
        assert got.dtype == array.dtype and np.shape(got) == np.shape(array)
        np.testing.assert_array_equal(got, array)
    assert found["outer"]["packed"].sum() == 1000
    assert found["outer"]["pairs"].tolist() == [[b"a", b"bcd"], [b"", b"e"]]


def vast(file: Any) -> None:
    """Nothing of it is stored."""
    file.create_dataset("x", (1 << 20, 1 << 20), "f4")


def in_a_vast_chunk(file: Any) -> None:
    file.create_dataset("x", data=[1.0], maxshape=(None,), chunks=(1 << 26,), compression="gzip")


def again_and_again(file: Any) -> None:
    """2^16 ways to the same group."""
    group = file.create_group("x")
    for _ in range(16):
        inner = group.create_group("a")
        group["b"] = inner
        group = inner


def in_itself(file: Any) -> None:
    file["a"] = file["/"]


def linked(file: Any) -> None:
    file["a"] = h5py.SoftLink("/x")


def outside(file: Any) -> None:
    file["a"] = h5py.ExternalLink("x.nir", "/")


def of_records(file: Any) -> None:
    file["a"] = np.zeros(2, [("x", "i4")])


@pytest.mark.parametrize(("change", "rule"), [
    (in_a_vast_chunk, r"stand for at most \d\d,\S+ bytes, not more"),
    (vast, r"stand for at most 1[67],\S+ bytes, not more"),
    (again_and_again, r"stand for at most 1[67],\S+ bytes, not more"),
    (in_itself, "have at most 20 groups in each other, not more"),
    (linked, "not link elsewhere, as 'a' does"), (outside, "not link elsewhere, as 'a' does"),
    (of_records, r"hold numbers and texts, not \[.*\] as 'a' is")])
def test_small_files_of_much(tmp_path: Path, change: Callable[[Any], None], rule: str) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        change(file)
    with pytest.raises(ValueError, match=rf"^it must {rule}$"):
        hdf5.read(path)


@pytest.mark.parametrize(("program", "sentence"), [
    ("import os; os.abort()", "^it makes the HDF5 library crash$"),
    ("while True: pass", "^it was not read within 1 s$"),
    ("import sys; print('a\\nit is bad', file=sys.stderr); sys.exit(3)", "^it is bad$")])
def test_what_becomes_of_the_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str,
                                   sentence: str) -> None:
    (tmp_path / "child.py").write_text(program)
    monkeypatch.setattr(hdf5, "__file__", str(tmp_path / "child.py"))
    monkeypatch.setattr(hdf5, "SECONDS", 1)
    with pytest.raises(ValueError, match=sentence):
        hdf5.read(tmp_path / "child.py")
