# SPDX-License-Identifier: Apache-2.0
"""`load` as Python calls it; tests/quantize/test_options.py has the words of the command line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

import quantize
from quantize.load import load

SHIPPED = Path(quantize.__file__).parent / "checkpoints" / "digits.safetensors"
FACTS = {"heads": 4, "tau": 2.0, "timesteps": 4, "image_size": (8, 8),
         "pool_stages": (False, False, False, True)}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """The shipped tensors without any metadata."""
    path = tmp_path_factory.mktemp("foreign") / "net.safetensors"
    save_file({name: torch.from_numpy(value) for name, value in load_file(SHIPPED).items()}, path)
    return path


def test_what_is_known_need_not_be_given():
    checkpoint = load(str(SHIPPED))
    assert (checkpoint.dataset, checkpoint.config.num_heads) == ("digits", 4)


def test_the_encoders_integers_are_a_choice():
    own, coarse = load(SHIPPED).input_format, load(SHIPPED, input_bits=4).input_format
    assert (own.bits, coarse.bits) == (5, 4)
    assert (coarse.mean, coarse.std) == (own.mean, own.std)
    # From nothing to all of a pixel, as before.
    assert coarse.quantize(np.ones((1, 1, 1, 1))).max() == 15
    assert load(SHIPPED, input_scale=0.25).input_format.scale == 0.25


def test_facts_of_a_foreign_checkpoint(foreign):
    checkpoint = load(foreign, **FACTS, mean=[0.5], std=[0.25], input_bits=6)
    own = load(SHIPPED).config
    assert (checkpoint.config.num_heads, checkpoint.config.image_height,
            checkpoint.config.embed_dim) == (4, 8, own.embed_dim)
    fmt = checkpoint.input_format
    assert (fmt.bits, fmt.signed, fmt.mean, fmt.std) == (6, True, (0.5,), (0.25,))
    assert fmt.quantize(np.ones((1, 1, 8, 8))).max() == 31


@pytest.mark.parametrize(("facts", "sentence"), [
    ({}, "does not tell num_heads, tau"),
    (FACTS | {"mean": [0.5]}, "^--mean and --std must be given together$"),
    (FACTS | {"inputs": "events", "mean": [0.0], "std": [1.0]}, "belong to images"),
    ({"network": "resnet"}, "^model must be one of ")])
def test_what_is_missing_is_said(foreign, facts, sentence):
    with pytest.raises(ValueError, match=sentence):
        load(foreign, **facts)
