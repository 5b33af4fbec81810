# SPDX-License-Identifier: Apache-2.0
"""Data sets, their fixed splits, and pictures of users."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hw.model import InputFormat
from hw.network import NetworkConfig
from quantize import datasets

GREY = NetworkConfig(embed_dim=8, depth=1, num_heads=1, timesteps=2, in_channels=1,
                     image_height=4, image_width=6, num_classes=10)
COLOUR = replace(GREY, in_channels=3)
EVENTS = replace(GREY, in_channels=2, static_input=False)


@pytest.mark.parametrize(("name", "train", "test", "size"), [
    ("digits", 1437, 360, 8), ("mnist5k", 4000, 1000, 28)])
def test_load(name: str, train: int, test: int, size: int) -> None:
    data = datasets.load(name)
    assert data.name == name
    assert data.num_classes == 10
    assert data.split["seed"] == 0
    assert (data.split["train"], data.split["test"]) == (train, test)
    for images, labels, count in ((data.train_images, data.train_labels, train),
                                  (data.test_images, data.test_labels, test)):
        assert images.shape == (count, 1, size, size)
        assert images.dtype == np.float32
        assert labels.shape == (count,)
        assert labels.dtype == np.int64
        assert images.min() == 0
        assert images.max() == 1
        assert set(labels) == set(range(10))
    # The pixels are exactly the integers of the encoder: quantizing the input rounds nothing.
    fmt = datasets.input_format(name)
    raw = fmt.quantize(data.test_images)
    np.testing.assert_array_equal((raw * fmt.scale).astype(np.float32),
                                  datasets.normalize(data.test_images, fmt))
    assert raw.max() == (16 if name == "digits" else 255)


def test_split_is_fixed_disjoint_and_complete() -> None:
    from sklearn.datasets import load_digits
    bunch = load_digits()
    data = datasets.load("digits")
    # Written down here: the published accuracies refer to these images.
    assert data.test_labels[:12].tolist() == [0, 6, 9, 8, 4, 4, 4, 8, 6, 5, 3, 1]
    both = np.concatenate([data.train_images, data.test_images])[:, 0] * 16
    assert sorted(map(bytes, both.astype(np.uint8))) == \
        sorted(map(bytes, bunch.images.astype(np.uint8)))
    again, other = datasets.load("digits"), datasets.load("digits", seed=1)
    np.testing.assert_array_equal(again.test_images, data.test_images)
    assert not np.array_equal(other.test_images, data.test_images)


def test_unknown_dataset() -> None:
    message = r"^dataset must be one of digits, mnist5k, not 'cifar'$"
    with pytest.raises(ValueError, match=message):
        datasets.load("cifar")
    with pytest.raises(ValueError, match=message):
        datasets.input_format("cifar")


def test_normalize() -> None:
    fmt = InputFormat(bits=8, signed=True, scale=0.1, mean=(0.5, 0.25), std=(0.5, 2.0))
    images = np.ones((3, 2, 1, 1), np.float32)
    np.testing.assert_allclose(datasets.normalize(images, fmt)[0, :, 0, 0], [1.0, 0.375])


def test_npy_images(tmp_path: Path) -> None:
    path = tmp_path / "image.npy"
    values = np.linspace(0, 1, 24, dtype=np.float32).reshape(4, 6)
    for array in (values, values[None]):
        np.save(path, array)
        np.testing.assert_array_equal(datasets.load_image(path, GREY), values[None])
    np.save(path, np.full((1, 4, 6), 255, np.uint8))
    assert datasets.load_image(path, GREY).tolist() == np.ones((1, 4, 6)).tolist()
    counts = np.arange(2 * 2 * 4 * 6).reshape(2, 2, 4, 6)
    np.save(path, counts.astype(np.uint8))
    np.testing.assert_array_equal(datasets.load_image(path, EVENTS), counts)


@pytest.mark.parametrize(("array", "message"), [
    (np.zeros((3, 4, 6)), r"^\S+ must have shape \(1, 4, 6\), not \(3, 4, 6\)$"),
    (np.zeros((1, 4, 5)), r"^\S+ must have shape \(1, 4, 6\), not \(1, 4, 5\)$"),
    (np.full((1, 4, 6), 16.0),
     r"^\S+ must hold uint8 or floats in \[0, 1\], not values from 16\.0 to 16\.0$"),
    (np.full((1, 4, 6), np.nan),
     r"^\S+ must hold uint8 or floats in \[0, 1\], not values from nan to nan$"),
    (np.full((1, 4, 6), "x"), r"^\S+ must be a \.npy array of numbers$"),
])
def test_bad_npy(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(ValueError, match=message):
        datasets.load_image(tmp_path / "bad.npy", GREY)


def test_npy_is_not_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"must be a \.npy array of numbers"):
        datasets.load_image(tmp_path / "bad.npy", GREY)


def test_pictures(tmp_path: Path) -> None:
    red = Image.new("RGB", (6, 4), (255, 0, 0))
    red.save(tmp_path / "red.png")
    array = datasets.load_image(tmp_path / "red.png", COLOUR)
    assert array.dtype == np.float32
    assert array.shape == (3, 4, 6)
    assert (array[0] == 1).all()
    assert (array[1:] == 0).all()
    grey = datasets.load_image(tmp_path / "red.png", GREY)
    assert grey.shape == (1, 4, 6)
    assert abs(grey.mean() - 0.299) < 0.005  # weight of red in ITU-R 601 luma
    Image.new("L", (60, 40), 51).save(tmp_path / "large.png")
    np.testing.assert_allclose(datasets.load_image(tmp_path / "large.png", COLOUR),
                               np.full((3, 4, 6), 0.2))
    Image.fromarray(np.full((4, 6), 65535 // 2, np.uint16)).save(tmp_path / "deep.png")
    assert abs(datasets.load_image(tmp_path / "deep.png", GREY).mean() - 0.5) < 0.01
    Image.new("RGBA", (6, 4), (255, 255, 255, 0)).save(tmp_path / "clear.png")
    assert datasets.load_image(tmp_path / "clear.png", GREY).max() == 0


def test_picture_keeps_rows_and_columns(tmp_path: Path) -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(pixels).save(tmp_path / "ramp.png")
    np.testing.assert_allclose(datasets.load_image(tmp_path / "ramp.png", GREY)[0] * 255, pixels,
                               atol=1e-5)


def test_bad_pictures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^image must be a file, not '\S+none\.png'$"):
        datasets.load_image(tmp_path / "none.png", GREY)
    Image.new("L", (6, 4)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:40])
    with pytest.raises(ValueError, match=r"cut\.png must be a picture or a \.npy array: "):
        datasets.load_image(tmp_path / "cut.png", GREY)
    with pytest.raises(ValueError, match=r"^a picture gives 1 or 3 channels, so a network of "
                                         r"4 channels needs a \.npy file, not '\S+'$"):
        datasets.load_image(tmp_path / "whole.png", replace(GREY, in_channels=4))
    with pytest.raises(ValueError, match=r"^input of an event network must be a \.npy file"):
        datasets.load_image(tmp_path / "whole.png", EVENTS)
