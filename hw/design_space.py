# SPDX-License-Identifier: Apache-2.0
"""Hardware configurations that differ in their parallel slots, and the search for the best of them.

A configuration costs LUTs and takes cycles; the front holds those that no other one beats in both.
All of them cannot be evaluated (a large network takes seconds each), so the search goes from the
front to its neighbours until none of them is new to it, and leaves out what a lower bound of its
cycles shows to be beaten already.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from hw.area import Area
from hw.config import HardwareConfig
from hw.layout import DEFAULT_BANKS, DEFAULT_LANES
from hw.model import FixedPointModel

# Depth of a block RAM that is read through both of its ports: fewer weight rows save nothing.
ROWS = 1024
AXES: dict[str, tuple[int, ...]] = {
    "lanes": (8, 16, 24, 32, 48, 64, 96, 128, 192, 256),
    "banks": (1, 2, 3, 4, 6, 8, 12, 16),
    "spike_word": (8, 16, 32, 64, 128),
    "neurons": (2, 4, 8, 16, 32, 64),
    "attention_engines": (1, 2, 4, 8),
    "ring": (0, 1, 2),
    "pairs": (False, True),
    "beside": (False, True),
}


@dataclass(frozen=True)
class Choice:
    """The arguments of `HardwareConfig.for_model` that the search varies; 0 or None: as it chooses.

    ring: streamed weights: rows of a bank, of which each is filled up to whole block RAMs: 0 for
          the largest tile, 1 for the largest two neighbours, 2 for twice that
    spill_residual: streamed: the residual stream is in external memory
    """

    lanes: int = DEFAULT_LANES
    banks: int = DEFAULT_BANKS
    spike_word: int = 0
    neurons: int = 0
    attention_engines: int = 0
    port_bits: int = 0
    ring: int = 1
    spill_residual: bool = False
    pairs: bool | None = None
    beside: bool | None = None

    def hardware(self, model: FixedPointModel) -> HardwareConfig:
        """ValueError, one sentence, where it cannot be built for `model`."""
        def config(rows: int | None = None) -> HardwareConfig:
            return HardwareConfig.for_model(
                model, self.lanes, self.banks, self.spike_word or None, self.neurons or None,
                self.port_bits, weight_rows=rows, spill_residual=self.spill_residual,
                attention_engines=self.attention_engines or None, pairs=self.pairs,
                beside=self.beside)

        first = config()
        if not first.streamed:
            return first
        rows = first.weight_rows * max(1, self.ring)
        if not self.ring:
            rows = 1 + max(layer.tile_rows for layer in first.plan(model).layers
                           if layer.layer.has_weights)
        return config(-(-rows // ROWS) * ROWS)

    def resolved(self, hardware: HardwareConfig) -> "Choice":
        """The same with every value that `hardware`, made from it, has chosen."""
        geometry = hardware.geometry
        return replace(self, spike_word=geometry.spike_word, neurons=geometry.neurons,
                       attention_engines=hardware.attention_engines,
                       ring=self.ring if hardware.streamed else 1, pairs=hardware.pairs,
                       beside=hardware.beside)

    def neighbours(self) -> Iterator["Choice"]:
        """One step along each axis; more or fewer slots also with the words and neurons chosen
        anew.
        """
        for name, values in AXES.items():
            if name == "ring" and not self.port_bits:
                continue
            at = getattr(self, name)
            below = [value for value in values if value < at]
            above = [value for value in values if value > at]
            for value in (*below[-1:], *above[:1]):
                step = replace(self, **{name: value})
                yield step
                if name in ("lanes", "banks"):
                    yield replace(step, spike_word=0, neurons=0, attention_engines=0, pairs=None,
                                  beside=None)


@dataclass(frozen=True)
class Point:
    """A configuration, what it takes and what it needs.

    cycles: of an inference, mean of the samples
    busy:   share of the adders' time that adds a weight
    bound:  what most of the cycles are spent on
    """

    choice: Choice
    hardware: HardwareConfig
    area: Area
    cycles: float
    busy: float = 0.0
    bound: str = ""

    def beats(self, lut: float, cycles: float) -> bool:
        """It needs no more of either."""
        return self.area.lut <= lut and self.cycles <= cycles


def front(points: Iterable[Point]) -> list[Point]:
    """Those that no other one beats, by LUTs."""
    best: list[Point] = []
    for point in sorted(points, key=lambda each: (each.area.lut, each.cycles)):
        if not best or point.cycles < best[-1].cycles:
            best.append(point)
    return best


@dataclass
class Search:
    """State of a search; `run` fills it.

    build:  makes the hardware of a choice, or raises ValueError
    area:   of a hardware
    fits:   whether the device has room for an area
    bound:  cycles that a hardware needs at least
    evaluate: the point of a choice, or ValueError
    points: evaluated
    smallest: the area of least LUTs that was looked at, and that of least block RAM
    refused: why the last choice could not be built
    """

    build: Callable[[Choice], HardwareConfig]
    area: Callable[[HardwareConfig], Area]
    fits: Callable[[Area], bool]
    bound: Callable[[HardwareConfig], float]
    evaluate: Callable[[Choice, HardwareConfig, Area], Point]

    def __post_init__(self) -> None:
        self.points: list[Point] = []
        self.smallest: tuple[Area, Area] | None = None
        self.refused = ""
        self._seen: set[Choice] = set()

    def run(self, seeds: Sequence[Choice], progress: Callable[[int, int], None]) -> list[Point]:
        """The front.  `progress` hears of points evaluated and choices waiting."""
        waiting = list(seeds)
        while waiting:
            choice = waiting.pop(0)
            point = self._try(choice)
            if point is not None:
                self.points.append(point)
                if point in front(self.points):
                    waiting += point.choice.neighbours()
            progress(len(self.points), len(waiting))
        return front(self.points)

    def _try(self, choice: Choice) -> Point | None:
        """The point of a choice; None if it is known, impossible, too large or beaten."""
        if choice in self._seen:
            return None
        self._seen.add(choice)
        try:
            hardware = self.build(choice)
        except ValueError as error:
            self.refused = str(error)
            return None
        resolved = choice.resolved(hardware)
        if resolved != choice:
            if resolved in self._seen:
                return None
            self._seen.add(resolved)
        area = self.area(hardware)
        least = self.smallest or (area, area)
        self.smallest = (min(least[0], area, key=lambda each: each.lut),
                         min(least[1], area, key=lambda each: each.ramb36))
        if not self.fits(area):
            return None
        bound = self.bound(hardware)
        if any(point.beats(area.lut, bound) for point in self.points):
            return None
        try:
            return self.evaluate(resolved, hardware, area)
        except ValueError as error:
            self.refused = str(error)
            return None
