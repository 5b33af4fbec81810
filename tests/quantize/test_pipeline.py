# SPDX-License-Identifier: Apache-2.0
"""`quantize` as Python calls it; tests/quantize/test_main.py has the command."""

from dataclasses import replace

import numpy as np
import pytest

from hw.model import FixedPointModel, Samples
from quantize.datasets import load as load_data
from quantize.load import load
from quantize.pipeline import HeldOut, quantize, read_calibration, read_held_out
from tests.quantize.test_load import SHIPPED

CHECKPOINT = load(SHIPPED)


def test_what_is_returned_is_what_was_written(tmp_path):
    made = quantize(CHECKPOINT, tmp_path / "out", bits=6, samples=12, stored_samples=3)
    written = FixedPointModel.load(made.directory)
    assert (written.network, written.weight_bits) == (made.model.network, 6)
    assert np.array_equal(Samples.load(made.directory).inputs, made.samples.inputs)
    assert (made.accuracy.images, len(made.samples.labels)) == (12, 3)
    lines = made.lines()
    assert lines[-1] == "the directory holds the first 3 of these images"
    assert lines[-2].startswith("digits, 12 held-out images: float ")
    assert made.to_dict()["accuracy"]["images"] == 12
    assert f"largest value in calibration {made.largest:.2f}" in lines[-3]


def test_without_a_data_set(tmp_path):
    images = load_data("digits").train_images[:4]
    foreign = replace(CHECKPOINT, dataset=None)
    made = quantize(foreign, tmp_path / "out", calibration=images)
    assert (made.samples, made.accuracy) == (None, None)
    for wrong, sentence in ((None, "needs --data FILE"), (images[:, :, :4], "must have shape"),
                            (images * np.nan, "must be finite")):
        with pytest.raises(ValueError, match=sentence):
            quantize(foreign, tmp_path / "other", calibration=wrong)
    assert not (tmp_path / "other").exists()


def test_calibration_file(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(3))
    assert read_calibration(tmp_path / "a.npy").tolist() == [1, 1, 1]
    np.save(tmp_path / "b.npy", np.array(["text"]))
    (tmp_path / "c.npy").write_text("no array")
    for name, sentence in (("b", "of real numbers"), ("c", "must be a .npy array")):
        with pytest.raises(ValueError, match=sentence):
            read_calibration(tmp_path / f"{name}.npy")


@pytest.fixture
def data_file(tmp_path):
    """Writes a file for --data; the shipped data set's unless told otherwise."""
    def write(**arrays):
        digits = load_data("digits")
        good = {"inputs": digits.test_images[:20], "labels": digits.test_labels[:20]}
        np.savez(tmp_path / "data.npz", **{name: value for name, value in (good | arrays).items()
                                           if value is not None})
        return tmp_path / "data.npz"
    return write


def test_own_data(data_file, tmp_path):
    """As with the data set that the checkpoint names, apart from the calibration."""
    foreign = replace(CHECKPOINT, dataset=None)
    held_out = read_held_out(data_file(), foreign)
    made = quantize(foreign, tmp_path / "out", held_out=held_out,
                    calibration=load_data("digits").train_images)
    named = quantize(CHECKPOINT, tmp_path / "named", samples=20)
    assert made.accuracy == named.accuracy and made.largest == named.largest
    assert made.model.accuracy["dataset"] == "data.npz"
    assert made.samples.labels.tolist() == held_out.labels.tolist()
    assert made.accuracy.float_correct >= 19   # of 20: it is a trained network
    assert np.array_equal(Samples.load(tmp_path / "out").inputs,
                          Samples.load(tmp_path / "named").inputs)
    again = quantize(foreign, tmp_path / "again", held_out=held_out)   # calibrates with them
    assert 0 < again.largest != made.largest


@pytest.mark.parametrize(("arrays", "sentence"), [
    ({"labels": None}, r"must be a \.npz file with inputs and labels"),
    ({"labels": np.full(20, 10)}, "must be 20 integers from 0 to 9, one for each input"),
    ({"labels": np.zeros(19, int)}, "must be 20 integers from 0 to 9, one for each input"),
    ({"labels": np.zeros(20)}, "must be 20 integers from 0 to 9"),
    ({"inputs": np.full(20, "x")}, "inputs of --data must be real numbers, not <U1")])
def test_data_that_is_wrong(data_file, arrays, sentence):
    with pytest.raises(ValueError, match=sentence):
        read_held_out(data_file(**arrays), CHECKPOINT)


def test_data_of_another_shape(tmp_path):
    with pytest.raises(ValueError, match=r"^held-out inputs must have shape"):
        quantize(CHECKPOINT, tmp_path / "out", calibration=load_data("digits").train_images,
                 held_out=HeldOut(np.zeros((2, 1, 9, 8)), np.zeros(2, int), "x"))
    (tmp_path / "x.npz").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"must be a \.npz file"):
        read_held_out(tmp_path / "x.npz", CHECKPOINT)
