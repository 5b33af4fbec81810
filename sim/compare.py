# SPDX-License-Identifier: Apache-2.0
"""Every value of every layer and timestep against the integer golden model, mismatches by name."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sim.trace import Inference, LayerRun


@dataclass(frozen=True)
class Mismatch:
    """One value that is not what the golden model says.

    layer: its name, or "port NAME" for bytes moved
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

    values:     how many values were compared: bits of spikes, residual words, logits, counters,
                bytes moved by each port
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

    def to_dict(self, most: int = 10) -> dict[str, Any]:
        """The same as `lines`, for programs."""
        return {"values": self.values, "mismatches": self.total, "faults": self.faults[:most],
                "first_mismatches": [str(each) for each in self.mismatches[:most]]}

    def lines(self, most: int = 10) -> list[str]:
        """The result in words: the sum, then at most `most` faults and `most` mismatches."""
        lines = [f"{self.total} mismatch{'' if self.total == 1 else 'es'} in {self.values} values"]
        if self.faults:
            lines.append(f"{len(self.faults)} fault{'' if len(self.faults) == 1 else 's'}")
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
    comparison, came, logits = Comparison(), [], None
    for result in golden:
        came.append(result.name)
        if came != names[:len(came)]:
            break
        comparison.add(compare_layer(inference.layers[len(came) - 1], result, most))
        logits = result.logits
    if came != names:
        raise ValueError(f"golden results must be of layers {names!r}, not {came!r}")
    comparison.add(compare_outputs(inference, logits, most))
    return comparison


def compare_layer(run: LayerRun, result: Any, most: int = 4) -> Comparison:
    """Compare a layer's maps and counters with its golden `LayerResult`.

    Raises ValueError if the shapes differ.
    """
    comparison = Comparison(faults=list(run.faults))
    name, width = run.layer.name, run.layer.width
    _check_words(comparison, run, run.spike_seen, "spike")
    _check_words(comparison, run, run.residual_seen, "residual")
    for what, expected, got in (("spike", result.spikes, run.spikes),
                                ("residual", result.residual, run.residual),
                                ("AC counter", result.acs, run.acs),
                                ("saturation counter", result.saturations, run.saturations)):
        _array(comparison, name, width, what, expected, got, most)
    return comparison


def compare_outputs(inference: Inference, logits: np.ndarray, most: int = 4) -> Comparison:
    """Compare the logits with the golden ones, and the bytes moved with the program's."""
    comparison = Comparison(faults=list(inference.faults))
    head = inference.layers[-1].layer
    _array(comparison, head.name, head.width, "logit", logits, inference.logits, most)
    moved, predicted = inference.traffic, inference.predicted
    if [each.port for each in moved] != [each.port for each in predicted]:
        comparison.faults.append(f"memory ports must be {[each.port for each in predicted]}, "
                                 f"not {[each.port for each in moved]}")
    for expected, got in zip(predicted, moved):
        for what in ("read", "written"):
            _array(comparison, f"port {got.port}", 1, f"bytes {what}", getattr(expected, what),
                   getattr(got, what), most)
    return comparison


def _array(comparison: Comparison, name: str, width: int, what: str,
           expected: np.ndarray | int | None, got: np.ndarray | int | None, most: int) -> None:
    if (expected is None) != (got is None):
        comparison.faults.append(f"{name}: {what} values must come from RTL and "
                                 "golden model or from neither")
        return
    if expected is None or got is None:
        return
    expected, got = np.asarray(expected), np.asarray(got)
    if expected.shape != got.shape:
        raise ValueError(f"golden {what} values of {name} must have shape {got.shape}, "
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
        comparison.mismatches.append(Mismatch(name, what, index, int(expected[index]),
                                              int(got[index]), width))


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
