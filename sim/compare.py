# SPDX-License-Identifier: Apache-2.0
"""Every value of every layer and timestep against the integer golden model, mismatches by name."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hw.network import Layer
from sim.trace import Inference, LayerRun


@dataclass(frozen=True)
class Mismatch:
    """One value that is not what the golden model says.

    what:  "spike", "residual", "logit", or the name of a counter
    place: index in the layer's array: [timestep, channel, y, x] for maps, [class] for logits, ()
           for counters
    """

    layer: str
    what: str
    place: tuple[int, ...]
    expected: int
    got: int
    width: int = 1

    def __str__(self) -> str:
        where = ""
        if len(self.place) == 4:
            timestep, channel, y, x = self.place
            where = (f" at timestep {timestep}, token {y * self.width + x} (y {y}, x {x}), "
                     f"channel {channel}")
        elif self.place:
            where = f" of class {self.place[0]}"
        return f"{self.layer}: {self.what}{where} must be {self.expected}, not {self.got}"


@dataclass
class Comparison:
    """Result of `compare`.

    values:     how many values were compared: bits of spikes, residual words, logits, counters
    mismatches: the first ones of each layer and kind, in order of execution
    total:      how many values differ in all
    faults:     words that are missing, came twice or belong nowhere, one sentence each
    """

    values: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    total: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not self.total and not self.faults

    def add(self, other: "Comparison") -> None:
        """Take over the result of another inference."""
        self.values += other.values
        self.total += other.total
        self.mismatches += other.mismatches
        self.faults += other.faults

    def lines(self, most: int = 10) -> list[str]:
        """The result in words: the sum, then at most `most` faults and `most` mismatches."""
        lines = [f"{self.total} mismatch{'' if self.total == 1 else 'es'} in {self.values} values"]
        if self.faults:
            lines.append(f"{len(self.faults)} fault{'' if len(self.faults) == 1 else 's'} of words")
        shown = [*self.faults[:most], *map(str, self.mismatches[:most])]
        return lines + [f"  {line}" for line in shown]


def compare(inference: Inference, golden: Iterable[Any], most: int = 4) -> Comparison:
    """Compare one inference with the golden model's `LayerResult` of each layer.

    golden: a list, or `GoldenModel.results`, of which only one layer is then in memory

    A word that did not come counts its values as compared and is named as a fault; so is one that
    came twice.  `most` mismatches are kept for each array.

    Raises ValueError if the two are not of the same network.
    """
    names = [run.layer.name for run in inference.layers]
    comparison, came = Comparison(faults=list(inference.faults)), []
    for result in golden:
        came.append(result.name)
        if came != names[:len(came)]:
            break
        run = inference.layers[len(came) - 1]
        _check_words(comparison, run, run.spike_seen, "spike")
        _check_words(comparison, run, run.residual_seen, "residual")
        _array(comparison, run.layer, "spike", result.spikes, run.spikes, most)
        _array(comparison, run.layer, "residual", result.residual, run.residual, most)
        if result.logits is not None:
            _array(comparison, run.layer, "logit", result.logits, inference.logits, most)
        for what, expected, got in (("AC counter", result.acs, run.acs),
                                    ("saturation counter", result.saturations, run.saturations)):
            _array(comparison, run.layer, what, np.array(expected), np.array(got), most)
    if came != names:
        raise ValueError(f"golden results must be of layers {names!r}, not {came!r}")
    return comparison


def _array(comparison: Comparison, layer: Layer, what: str, expected: np.ndarray | None,
           got: np.ndarray | None, most: int) -> None:
    if (expected is None) != (got is None):
        comparison.faults.append(f"{layer.name}: {what} values must come from RTL and "
                                 "golden model or from neither")
        return
    if expected is None or got is None:
        return
    expected, got = np.asarray(expected), np.asarray(got)
    if expected.shape != got.shape:
        raise ValueError(f"golden {what} values of {layer.name} must have shape {got.shape}, "
                         f"not {expected.shape!r}")
    comparison.values += expected.size
    wrong = expected != got
    differences = int(np.count_nonzero(wrong))
    if not differences:
        return
    comparison.total += differences
    # Maps go by channel; the RTL by timestep, position and channel.  The first is the earliest.
    axes = [0, 2, 3, 1] if expected.ndim == 4 else list(range(expected.ndim))
    ordered = wrong.transpose(axes)
    for flat in np.flatnonzero(ordered)[:most]:
        place = np.unravel_index(flat, ordered.shape)
        index = tuple(int(place[axes.index(axis)]) for axis in range(expected.ndim))
        comparison.mismatches.append(Mismatch(layer.name, what, index, int(expected[index]),
                                              int(got[index]), layer.width))


def _check_words(comparison: Comparison, run: LayerRun, seen: np.ndarray | None, what: str) -> None:
    if seen is None:
        return
    size = len(run.channels) // seen.shape[2]
    for timestep, token, word in np.argwhere(seen != 1)[:3]:
        channels = run.channels[word * size:(word + 1) * size]
        real = channels[channels >= 0]
        of = f"channels {real.min()} to {real.max()}" if len(real) else "padding channels"
        times = int(seen[timestep, token, word])
        comparison.faults.append(
            f"{run.layer.name}: {what} word at timestep {timestep}, token {token} (y "
            f"{token // run.layer.width}, x {token % run.layer.width}), {of} must come once, not "
            f"{'at all' if not times else f'{times} times'}")
    more = int((seen != 1).sum()) - 3
    if more > 0:
        comparison.faults.append(f"{run.layer.name}: {more} more {what} words came not at all or "
                                 "more than once")
