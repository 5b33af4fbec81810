# SPDX-License-Identifier: Apache-2.0
"""`quantize` as Python calls it; tests/quantize/test_main.py has the command."""

from dataclasses import replace

import numpy as np
import pytest

from hw.model import FixedPointModel, Samples
from quantize.datasets import load as load_data
from quantize.load import load
from quantize.pipeline import quantize, read_calibration
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
    for wrong, sentence in ((None, "needs --calibration"), (images[:, :, :4], "must have shape"),
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
