# SPDX-License-Identifier: Apache-2.0
"""What the cycles were spent on, as the testbench counts them (`hw.activity`)."""

from dataclasses import astuple, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Spent:
    """Cycles by `hw.activity.Activity`: each cycle is one of the four."""

    idle: int = 0
    compute: int = 0
    weight_wait: int = 0
    fill_drain: int = 0

    @property
    def total(self) -> int:
        return sum(astuple(self))

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(*(one + two for one, two in zip(astuple(self), astuple(other))))


@dataclass(frozen=True)
class Span:
    """An inference from its first sample to its last output word.

    cycles: both included
    spent:  the same, counted one by one
    """

    cycles: int
    spent: Spent


NOTHING = Spent()
NO_SPAN = Span(0, NOTHING)


def read_spans(path: Path) -> list[Span]:
    """The span of each inference from the testbench's file.

    An inference that began in the middle of the network took no sample, and has none of its own:
    its cycles are 0.
    """
    rows = [[int(part) for part in line.split()] for line in path.read_text().splitlines()]
    return [Span(last - first + 1 if any(counts) else 0, Spent(*counts))
            for first, last, *counts in rows]
