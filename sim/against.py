# SPDX-License-Identifier: Apache-2.0
"""A benchmark beside an earlier one: the ratio of every figure, and which became worse."""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hw.command import first_line
from sim.metrics import BY_KEY, METRICS, Metric

Figures = Mapping[str, Mapping[str, float]]   # by case and metric


@dataclass(frozen=True)
class Limit:
    """A metric that must not become worse by more than `tolerance` (0.02: 2 %)."""

    key: str
    tolerance: float = 0.0


@dataclass(frozen=True)
class Change:
    """A figure of a case, then and now."""

    case: str
    metric: Metric
    before: float
    now: float

    @property
    def ratio(self) -> float | None:
        """Now / before; None where that is no number."""
        return self.now / self.before if self.before else None

    @property
    def worse(self) -> float:
        """By how much, relative; negative where it is better, 0 where neither is better.

        From nothing to something is infinitely more.
        """
        if self.metric.better is None or self.now == self.before:
            return 0.0
        sign = 1 if self.metric.better == "less" else -1
        change = self.now - self.before
        return sign * (change / abs(self.before) if self.before else change * float("inf"))


def limit(text: str) -> Limit:
    """METRIC or METRIC=PERCENT, for argparse."""
    key, _, percent = text.partition("=")
    if key not in BY_KEY or BY_KEY[key].better is None:
        names = ", ".join(metric.key for metric in METRICS if metric.better)
        raise argparse.ArgumentTypeError(f"METRIC must be one of {names}, not {key!r}")
    try:
        tolerance = float(percent or 0)
    except ValueError:
        tolerance = -1.0
    if not 0 <= tolerance < float("inf"):
        raise argparse.ArgumentTypeError(
            f"PERCENT must be a number of at least 0, not {percent!r}")
    return Limit(key, tolerance / 100)


def read_figures(path: Path) -> dict[str, dict[str, float]]:
    """The figures that `sim.bench` has written, by case; ValueError for any other file."""
    try:
        return {result["row"]["case"]: result["metrics"]
                for result in json.loads(path.read_text())["results"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--against must name a result of python -m sim.bench, "
                         f"not {str(path)!r}: {first_line(error)}") from None


def compare(before: Figures, now: Figures) -> list[Change]:
    """The figures that both have, by case and in the order of `METRICS`."""
    return [Change(case, metric, before[case][metric.key], figures[metric.key])
            for case, figures in now.items() if case in before
            for metric in METRICS if metric.key in before[case] and metric.key in figures]


def broken(changes: Iterable[Change], limits: Sequence[Limit]) -> list[str]:
    """One sentence for each figure that is worse than its limit allows."""
    tolerances = {limit.key: limit.tolerance for limit in limits}
    return [f"{change.case}: {change.metric.title} must not become worse by more than "
            f"{tolerances[change.metric.key]:.1%} of {change.metric.show(change.before)}, "
            f"but is {change.metric.show(change.now)}"
            for change in changes if change.metric.key in tolerances
            and change.worse > tolerances[change.metric.key] + 1e-12]


def change_rows(changes: Iterable[Change]) -> list[tuple[str, ...]]:
    """Cells of a table: case, figure, before, now, ratio, better or worse."""
    rows = []
    for change in changes:
        ratio = "" if change.ratio is None else f"{change.ratio:.3f}"
        word = "" if not change.worse else "worse" if change.worse > 0 else "better"
        rows.append((change.case, change.metric.title, change.metric.show(change.before),
                     change.metric.show(change.now), ratio, word))
    return rows
