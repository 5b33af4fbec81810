# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

import numpy as np
import pytest

from hw.network import NetworkConfig
from quantize import photos

STATIC = NetworkConfig(8, 1, 1, 2, 3, 12, 16, 4)
EVENTS = replace(STATIC, in_channels=2, timesteps=5, static_input=False)


@pytest.mark.parametrize(("network", "shape", "dtype"), [
    (STATIC, (3, 3, 12, 16), np.float32), (EVENTS, (3, 5, 2, 12, 16), np.int64)])
def test_inputs_depend_on_the_seed_alone(network, shape, dtype):
    first, same, other = (photos.inputs(network, 3, seed) for seed in (7, 7, 8))
    assert first.shape == shape and first.dtype == dtype
    assert first.tobytes() == same.tobytes()
    assert all((one != two).any() for one, two in zip(first, other))
    # More of them begin with the same ones, and no two are alike.
    if network.static_input:
        assert photos.inputs(network, 2, 7).tobytes() == first[:2].tobytes()
    assert (first[0] != first[2]).any()


def test_crops_are_parts_of_both_photographs():
    images = photos.crops(8, 32, 32, 0)
    assert 0 <= images.min() < 0.1 and 0.9 < images.max() <= 1
    whole = photos.crops(2, 427, 640, 0)   # a part as large as that is all of it
    for photograph, image in zip(photos._pictures(), whole, strict=True):
        expected = photograph.transpose(2, 0, 1) / 255
        assert any(np.allclose(expected, part) for part in (image, image[:, :, ::-1]))


def test_crops_larger_than_the_photographs_are_possible():
    assert photos.crops(2, 500, 500, 0).shape == (2, 3, 500, 500)


def test_events_are_changes_of_a_moving_picture():
    counts = photos.events(2, 6, 20, 24, 0)
    assert counts.shape == (2, 6, 2, 20, 24)
    assert counts.min() == 0 and 1 <= counts.max() < 16
    assert (counts.sum((0, 2, 3, 4)) > 0).all()       # in every timestep
    assert 0 < (counts > 0).mean() < 0.7              # but not everywhere
    # The path is closed: what became brighter became darker again, but for the noise.
    balance = counts[:, :, 0].sum(1) - counts[:, :, 1].sum(1)
    assert abs(balance).max() <= 3
    assert counts[:, :, 0].sum((1, 2, 3)) == pytest.approx(counts[:, :, 1].sum((1, 2, 3)), rel=0.1)


@pytest.mark.parametrize(("network", "sentence"), [
    (replace(STATIC, in_channels=1), "a network of pictures must be 3, not 1"),
    (replace(EVENTS, in_channels=3), "an event network must be 2, not 3")])
def test_other_channels_are_refused(network, sentence):
    with pytest.raises(ValueError, match=f"^in_channels of {sentence}$"):
        photos.inputs(network, 1, 0)
