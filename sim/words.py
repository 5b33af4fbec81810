# SPDX-License-Identifier: Apache-2.0
"""Trace words of the testbench as packed arrays."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Characters of the fields before the data: layer, position, timestep, word.
FIELDS = (2, 4, 2, 2)
FIELD_TYPES = (np.uint8, np.uint16, np.uint8, np.uint8)

# Lines that are read together: their temporary arrays stay in the processor's cache.
CHUNK = 1 << 13

_DIGITS = np.full(256, 255, np.uint8)
for _i, _digit in enumerate("0123456789abcdef"):
    _DIGITS[ord(_digit)] = _i


@dataclass(frozen=True)
class Words:
    """Trace words: one row for each, in the order of the simulation.

    layer, position, timestep, word: unsigned [n], of `FIELD_TYPES` from a file
    data:  uint8 [n, bytes], least significant byte first, as it is least significant bit first
    width: bits of a word

    A network of paper size makes millions of words for each image, so they stay packed.
    """

    layer: np.ndarray
    position: np.ndarray
    timestep: np.ndarray
    word: np.ndarray
    data: np.ndarray
    width: int

    @property
    def bits(self) -> np.ndarray:
        """The data as uint8 [n, width] of zeros and ones, least significant first."""
        return np.unpackbits(self.data, axis=1, count=self.width, bitorder="little")

    def select(self, rows: np.ndarray | slice) -> "Words":
        """The words of a mask, of indices or of a slice."""
        return Words(self.layer[rows], self.position[rows], self.timestep[rows], self.word[rows],
                     self.data[rows], self.width)


def read_words(path: Path, width: int, first: int = 0, last: int | None = None) -> Words:
    """Read lines `first` to `last` (excluded; None: to the end) of a trace file of `width` bits.

    Raises ValueError if the file is not what the testbench writes.
    """
    widths = (*FIELDS, digits := -(-width // 4))
    columns = sum(widths) + len(widths)
    if last is None:
        last = line_count(path, width)
        if path.stat().st_size != last * columns:
            raise ValueError(f"trace {path.name} must hold lines of {columns} characters, "
                             f"not {path.stat().st_size!r} characters in all")
    elif line_count(path, width) < last:
        raise ValueError(f"trace {path.name} must hold {last} lines of {columns} characters, "
                         f"not {line_count(path, width)!r}")
    count = last - first
    numbers = [np.empty(count, dtype) for dtype in FIELD_TYPES]
    data = np.empty((count, -(-digits // 2)), np.uint8)
    with path.open("rb") as file:
        file.seek(first * columns)
        for start in range(0, count, CHUNK):
            rows = slice(start, min(start + CHUNK, count))
            lines = np.fromfile(file, np.uint8, (rows.stop - start) * columns)
            nibbles, column = _DIGITS[lines.reshape(-1, columns)], 0
            for number, length in zip((*numbers, None), widths, strict=True):
                field = nibbles[:, column:column + length]
                if (field > 15).any():
                    raise ValueError(f"trace {path.name} must hold hexadecimal digits in columns "
                                     f"{column} to {column + length - 1}")
                if number is None:
                    data[rows] = _packed(field)
                else:
                    number[rows] = _number(field, number.dtype)
                column += length + 1
    return Words(*numbers, data, width)


def line_count(path: Path, width: int) -> int:
    """Whole lines of a trace file of words of `width` bits."""
    return path.stat().st_size // (sum(FIELDS) + -(-width // 4) + len(FIELDS) + 1)


def _number(digits: np.ndarray, dtype: np.dtype) -> np.ndarray:
    number = np.zeros(len(digits), dtype)
    for digit in digits.T:
        number = number << np.uint8(4) | digit
    return number


def _packed(digits: np.ndarray) -> np.ndarray:
    """Digits [n, length], most significant first, to bytes, least significant first."""
    low, high = digits[:, ::-2], digits[:, -2::-2]
    packed = low.copy()
    packed[:, :high.shape[1]] |= high << np.uint8(4)
    return packed


def signed_fields(bits: np.ndarray, width: int) -> np.ndarray:
    """Two's complement numbers of `width` bits packed in words: [n, F * width] to int64 [n, F]."""
    # Up to 24 bits: float32 holds every partial sum, and multiplies matrices faster than integers.
    powers = 2.0 ** np.arange(width, dtype=np.float32)
    powers[-1] = -powers[-1]
    return (bits.reshape(len(bits), -1, width).astype(np.float32) @ powers).astype(np.int64)
