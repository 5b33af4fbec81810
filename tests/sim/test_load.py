# SPDX-License-Identifier: Apache-2.0
"""Command-line words become a program and inputs, or one clear sentence."""

import argparse

import numpy as np
import pytest
from PIL import Image

from hw.model import Samples
from sim.benches.models import SMALL, random_inputs, random_model
from sim.load import add_arguments, load_inputs, load_program, surroundings
from sim.run import DEFAULT_LATENCY


@pytest.fixture(scope="module")
def model():
    return random_model(SMALL)


@pytest.fixture
def directory(model, tmp_path):
    model.save(tmp_path / "model", Samples(random_inputs(model, 3), np.array([1, 0, 4])))
    return tmp_path / "model"


def test_samples(directory, model):
    inputs = load_inputs(directory, model, 2)
    assert inputs.labels == (1, 0)
    assert np.array_equal(inputs.values, random_inputs(model, 3)[:2])


def test_too_many_samples(directory, model):
    with pytest.raises(ValueError, match=r"^--samples must be at most 3, the number of samples in "
                                         r"'.*', not 4$"):
        load_inputs(directory, model, 4)


def test_directory_without_samples(model, tmp_path):
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"must hold samples\.safetensors, which it does not: "):
        load_inputs(tmp_path / "model", model, 1)


def test_array_as_image(directory, model, tmp_path):
    array = np.random.default_rng(0).random((2, 6, 5)).astype(np.float32)
    np.save(tmp_path / "image.npy", array)
    inputs = load_inputs(directory, model, 1, tmp_path / "image.npy")
    assert inputs.labels == (None,)
    assert np.array_equal(inputs.values, np.clip(np.rint(array * 8), -8, 7)[None])


def test_unsuitable_image(directory, model, tmp_path):
    Image.new("L", (5, 6)).save(tmp_path / "grey.png")
    # The small network has two channels, which is no picture.
    with pytest.raises(ValueError, match=r"\bnot\b"):
        load_inputs(directory, model, 1, tmp_path / "grey.png")
    with pytest.raises(ValueError, match=r"^image must be a file, not "):
        load_inputs(directory, model, 1, tmp_path / "none.png")


def parse(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_program(directory):
    program = load_program(directory, parse("--lanes", "8", "--banks", "2"))
    assert (program.hardware.geometry.lanes, program.hardware.geometry.banks) == (8, 2)
    assert not program.hardware.streamed


def test_memory_that_is_short_is_named(directory):
    sentence = (r"^weight memory must hold a tile of \S+, \d+ rows in each of 2 banks beside the "
                r"zero row, not 9: it is short by [\d,]+ bits$")
    with pytest.raises(ValueError, match=sentence):
        load_program(directory, parse("--lanes", "8", "--banks", "2", "--port-bits", "64",
                                      "--weight-rows", "10"))


def test_surroundings():
    assert surroundings(parse()) == {"gaps": None, "latency": DEFAULT_LATENCY, "stalls": None}
    assert surroundings(parse("--gaps", "1", "--latency", "2", "--stalls", "3")) == {
        "gaps": 1, "latency": 2, "stalls": 3}
