# SPDX-License-Identifier: Apache-2.0
"""Data sets, their fixed splits, and pictures of users."""

import gzip
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


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes(), 1))


@pytest.fixture
def fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with four files of a few images each, as if Fashion-MNIST had no more."""
    monkeypatch.setattr(datasets, "FASHION_PARTS", {"train": 5, "t10k": 3})
    source = replace(datasets._SOURCES["fashion"], held_out=3)
    monkeypatch.setitem(datasets._SOURCES, "fashion", source)
    monkeypatch.setenv(datasets.FASHION_VARIABLE, str(tmp_path))
    for first, count, part in ((0, 5, "train"), (100, 3, "t10k")):
        pixels = np.repeat(np.arange(first, first + count, dtype=np.uint8), 784)
        pixels[-1] = 255
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", pixels.reshape(count, 28, 28))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8))
    return tmp_path


def test_fashion_holds_out_the_publishers_test_images(fashion: Path) -> None:
    data = datasets.load("fashion")
    assert (data.split["train"], data.split["test"], data.num_classes) == (5, 3, 5)
    assert data.train_images.shape == (5, 1, 28, 28)
    assert data.train_images.dtype == np.float32
    assert (data.train_images[:, 0, 0, 0] * 255).round().tolist() == [0, 1, 2, 3, 4]
    assert (data.test_images[:, 0, 0, 0] * 255).round().tolist() == [100, 101, 102]
    assert data.test_images[2, 0, 27, 27] == data.train_images.max() == 1
    assert data.train_labels.tolist() == [0, 1, 2, 3, 4]
    assert data.test_labels.tolist() == [0, 1, 2]
    again = datasets.load("fashion", seed=1)   # nothing is left to chance
    np.testing.assert_array_equal(again.test_images, data.test_images)
    raw = datasets.input_format("fashion").quantize(data.test_images)
    assert raw[:, 0, 0, 0].tolist() == [100, 101, 102]


def test_fashion_folder_is_looked_for(fashion: Path, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    absent = tmp_path / "absent"
    monkeypatch.setenv(datasets.FASHION_VARIABLE, str(absent))
    with pytest.raises(ValueError, match=r"^FASHION_MNIST must name the folder of the four files "
                                         r"of Fashion-MNIST, not '\S+absent'$"):
        datasets.load("fashion")
    monkeypatch.delenv(datasets.FASHION_VARIABLE)
    monkeypatch.setattr(datasets, "FASHION_FOLDERS", (absent, fashion))
    assert len(datasets.load("fashion").train_images) == 5
    monkeypatch.setattr(datasets, "FASHION_FOLDERS", (absent, absent))
    with pytest.raises(ValueError, match=r"^Fashion-MNIST must be in \S+absent or \S+absent: `make "
                                         r"fashion-mnist` puts it there, or FASHION_MNIST names "
                                         r"its folder$"):
        datasets.load("fashion")


@pytest.mark.parametrize(("damage", "message"), [
    ("missing", r"must be a gzipped idx file: .*No such file or directory.*"),
    ("plain", r"must be a gzipped idx file: Not a gzipped file .*"),
    ("truncated", r"must be a gzipped idx file: .*end-of-stream.*"),
    ("corrupt", r"must be a gzipped idx file: Error -3 while decompressing .*"),
    ("short", r"must be an idx file of 3 x 28 x 28 bytes"),
    ("header", r"must be an idx file of 3 x 28 x 28 bytes"),
    ("labels", r"must be an idx file of 3 x 28 x 28 bytes"),
    ("count", r"must be an idx file of 3 x 28 x 28 bytes"),
])
def test_bad_fashion_files_are_one_sentence(fashion: Path, damage: str, message: str) -> None:
    path = fashion / "t10k-images-idx3-ubyte.gz"
    whole = path.read_bytes()
    content = gzip.decompress(whole)
    if damage == "missing":
        path.unlink()
    elif damage == "labels":
        path.write_bytes((fashion / "t10k-labels-idx1-ubyte.gz").read_bytes())
    elif damage == "count":
        write_idx(path, np.zeros((4, 28, 28), np.uint8))
    else:
        path.write_bytes({
            "plain": content, "truncated": whole[:-20], "corrupt": whole[:10] + b"\xff" * 40,
            "short": gzip.compress(content[:-1]), "header": gzip.compress(content[:7])}[damage])
    with pytest.raises(ValueError, match=rf"^\S+t10k-images-idx3-ubyte\.gz {message}$"):
        datasets.load("fashion")


def test_unknown_dataset() -> None:
    message = r"^dataset must be one of digits, mnist5k, fashion, not 'cifar'$"
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


def test_npy_that_claims_more_than_it_has(tmp_path: Path) -> None:
    """Nothing is set aside for it: a terabyte would not be there."""
    np.save(tmp_path / "bad.npy", np.zeros(8))
    content = (tmp_path / "bad.npy").read_bytes()
    (tmp_path / "bad.npy").write_bytes(content.replace(b"(8,), }          ",
                                                       b"(1000000000000,)}"))
    with pytest.raises(ValueError, match=r"must be a \.npy array of numbers: "):
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


def test_large_pictures(tmp_path: Path) -> None:
    """A small file may stand for many pixels; those of a JPEG need not all be decoded."""
    side = int(datasets.MAX_PIXELS ** 0.5)
    large = Image.new("L", (side, side + 1), 51)
    large.save(tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size < 1 << 15
    with pytest.raises(ValueError, match=rf"large\.png must be .*: it must have at most "
                                         rf"16,777,216 pixels, not {side} x {side + 1}$"):
        datasets.load_image(tmp_path / "large.png", GREY)
    large.save(tmp_path / "large.jpg")
    np.testing.assert_allclose(datasets.load_image(tmp_path / "large.jpg", COLOUR),
                               np.full((3, 4, 6), 0.2))


def test_postscript_is_not_executed(tmp_path: Path) -> None:
    Image.new("L", (6, 4)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(ValueError, match="cannot identify image file"):
        datasets.load_image(tmp_path / "a.png", GREY)


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
