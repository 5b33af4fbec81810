# SPDX-License-Identifier: Apache-2.0
"""What Gather walks through, from a layer's source map: the spikes of every line in every bank.

`walk` gives the groups of one tile, in the order of `hw.gather`; all tiles of a layer have the same
ones.  A new way of reading a map is one more function beside `_grid` and `_token`.
"""

from dataclasses import dataclass

import numpy as np

from hw.compiler import Program
from hw.layout import LINE_WORDS, Arrangement, Geometry, LayerPlan, SpikeMap
from hw.network import Kind


@dataclass(frozen=True)
class Walk:
    """The groups of one tile.

    rows:      by map row, int [groups, lines of each, banks]: spikes of a line that a bank gets
    intervals: of group n of a position, modulo their number: cycles that the finish pipeline takes
               for it; 0 if it does not close (what follows joins it in the lanes)
    """

    rows: tuple[np.ndarray, ...]
    intervals: tuple[int, ...]


def walk(program: Program, plan: LayerPlan, instruction: dict[str, int],
         source: np.ndarray) -> Walk:
    """The groups of the layer of `plan` and `instruction` on `source`, its input as `predict` takes
    it.

    Raises ValueError if the source has another shape than the layer's.
    """
    layer, placed, geometry = plan.layer, plan.sources[0], program.hardware.geometry
    planes, interval = instruction["planes"], instruction["last_interval"]
    taps = _beside if plan.beside else _taps
    if layer.kind is Kind.CLASSIFIER and not program.model.network.classifier.spiking:
        check_shape(layer.name, source, (layer.in_channels,))
        bits = _planes(source, planes)[:, :, None, None]
        return Walk(_token(bank_counts(bits, placed, geometry), LINE_WORDS), (interval,))
    shape = (layer.in_channels, placed.height, placed.width)
    if layer.kind is Kind.ENCODER:
        stepped = source[None] if program.model.network.static_input else source
        check_shape(layer.name, stepped, (placed.steps, *shape))
        bits = _planes(stepped, planes)   # by plane, then step
        counts = np.stack([bank_counts(each, placed, geometry) for each in bits], axis=3)
        counts = counts.reshape(*counts.shape[:2], -1, *counts.shape[4:])
        return Walk(_grid(taps(counts)), (0,) * (planes - 1) + (interval,))
    check_shape(layer.name, source, (placed.steps, *shape))
    grid = placed.arrangement is Arrangement.GRID
    if plan.pairs:   # C joins in the lanes, A and B close
        return Walk((_pair_grid if grid else _pair)(source, placed, geometry),
                    (0, interval, interval))
    counts = bank_counts(source, placed, geometry)
    return Walk(_grid(taps(counts)) if grid else _token(counts, LINE_WORDS), (interval,))


def check_shape(name: str, source: np.ndarray, shape: tuple[int, ...]) -> None:
    """ValueError unless `source` has that shape."""
    if source.shape != shape:
        raise ValueError(f"source of {name} must have shape {shape!r}, not {source.shape!r}")


def stored(source: np.ndarray, placed: SpikeMap, spike_word: int) -> np.ndarray:
    """A map [steps, C, H, W] with its channels as they lie in memory, whole words of them."""
    channels = np.array(placed.channels)
    padded = np.zeros((len(source), placed.words * spike_word, *source.shape[2:]), bool)
    padded[:, np.flatnonzero(channels >= 0)] = source[:, channels[channels >= 0]]
    return padded


def bank_counts(source: np.ndarray, placed: SpikeMap, geometry: Geometry) -> np.ndarray:
    """Spikes of each word that each bank of weights gets: int [H, W, steps, words, banks]."""
    padded = stored(source, placed, geometry.spike_word)
    words = padded.reshape(len(padded), placed.words, geometry.spike_word, *padded.shape[2:])
    # Channels of a word are dealt to the banks in turn.
    counts = [words[:, :, bank::geometry.banks].sum(2, dtype=np.uint16)
              for bank in range(geometry.banks)]
    return np.stack(counts, axis=-1).transpose(2, 3, 0, 1, 4)


def _planes(values: np.ndarray, width: int) -> np.ndarray:
    """Bits of two's complement integers, most significant first in a new leading dimension."""
    return np.stack([values >> bit & 1 for bit in reversed(range(width))])


def _taps(counts: np.ndarray) -> np.ndarray:
    """Of each position, what the three taps of its row have together; shapes as `bank_counts`."""
    padded = np.pad(counts, ((0, 0), (1, 1)) + ((0, 0),) * (counts.ndim - 2))
    return sum(_turned(padded[:, column:column + counts.shape[1]], column)
               for column in range(3))


def _turned(counts: np.ndarray, places: int) -> np.ndarray:
    """Taps move on by so many banks."""
    return np.roll(counts, places, axis=-1)


def _beside(counts: np.ndarray) -> np.ndarray:
    """Likewise of two positions that are taken at once: four columns."""
    padded = np.pad(counts, ((0, 0), (1, 1)) + ((0, 0),) * (counts.ndim - 2))
    return sum(_turned(padded[:, column:column + counts.shape[1]:2], column)
               for column in range(4))


def _grid(taps: np.ndarray) -> tuple[np.ndarray, ...]:
    """3x3: a line has the taps of a kernel row and word."""
    rows = []
    for y in range(len(taps)):
        # [kernel rows, W, steps, words, banks]
        inside = np.stack([_turned(taps[y + row - 1], row) for row in range(3)
                           if 0 <= y + row - 1 < len(taps)])
        lines = inside.transpose(1, 2, 0, 3, 4)
        rows.append(lines.reshape(-1, len(inside) * taps.shape[3], taps.shape[4]))
    return tuple(rows)


def _token(counts: np.ndarray, together: int) -> tuple[np.ndarray, ...]:
    """1x1: a line has `together` words of the position."""
    height, width, steps, words, banks = counts.shape
    lines = -(-words // together)
    padded = np.pad(counts, ((0, 0), (0, 0), (0, 0), (0, lines * together - words), (0, 0)))
    summed = padded.reshape(height, width * steps, lines, together, banks).sum(3, dtype=np.uint16)
    return tuple(summed)


def _thirds(here: np.ndarray, there: np.ndarray, placed: SpikeMap,
            geometry: Geometry) -> np.ndarray:
    """Counts of what both have (C), only `here` (A) and only `there` (B): [H, W, steps, 3, ...]."""
    parts = (here & there, here & ~there, there & ~here)
    return np.stack([bank_counts(part, placed, geometry) for part in parts], axis=3)


def _pair_grid(source: np.ndarray, placed: SpikeMap, geometry: Geometry) -> tuple[np.ndarray, ...]:
    """3x3, positions x and x + 1 together: a tap of x and the same one of x + 1 are neighbours."""
    padded = np.pad(source, ((0, 0), (0, 0), (0, 0), (1, 1)))
    columns = _thirds(padded[..., :-1], padded[..., 1:], placed, geometry)
    taps = sum(_turned(columns[:, column:column + source.shape[3]:2], column)
               for column in range(3))
    return _grid(taps.reshape(*taps.shape[:2], -1, *taps.shape[4:]))


def _pair(source: np.ndarray, placed: SpikeMap, geometry: Geometry) -> tuple[np.ndarray, ...]:
    """1x1, positions x and x + 1 together: a line has half of its words from each."""
    counts = _thirds(source[..., ::2], source[..., 1::2], placed, geometry)
    return _token(counts.reshape(*counts.shape[:2], -1, *counts.shape[4:]), LINE_WORDS // 2)
