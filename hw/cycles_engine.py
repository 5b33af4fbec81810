# SPDX-License-Identifier: Apache-2.0
"""When Gather, Dispatch and Drain do what, row by row of a layer's map.

Cycles are absolute.  The rules are those of `hw.gather`, `hw.dispatch` (`hw.cycles_dispatch`),
`hw.drain` and `hw.pool`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hw.config import HardwareConfig
from hw.current import Current
from hw.cycles_dispatch import Dispatcher
from hw.cycles_external import ResidualPort, RowSource, RowTarget
from hw.cycles_lines import Walk
from hw.drain import Drain
from hw.lif import LIF
from hw.logits import Logits
from hw.pool import Pack
from hw.residual import Residual

# From a beat in Drain to its spikes in Pool's queue, or to the end of a layer that fires none.
FLUSH = sum(unit.LATENCY for unit in (Drain, Current, Residual, LIF, Pack)) + 1
POOL = 2   # from there to the end: written, idle


class Tiles(Protocol):
    """Where the weights of a layer come from.

    writes: by bank, the cycles in which its second port is taken, as far as they are known
    """

    writes: list[list[int]]

    def ready(self) -> int:
        """Cycle from which the next tile is there; each call takes one."""
        ...

    def release(self, cycle: int) -> None:
        """The oldest tile is done from `cycle` on."""
        ...


class OnChip:
    """Weights that are always there."""

    def __init__(self, banks: int) -> None:
        self.writes: list[list[int]] = [[] for _ in range(banks)]

    def ready(self) -> int:
        return 0

    def release(self, cycle: int) -> None:
        pass


@dataclass(frozen=True)
class Results:
    """What becomes of a layer's sums.

    beats:    of a group in Drain, by tile
    repeats:  cycles from the first to the last beat 0 of a sum that is drained several times
    fire:     a LIF fires
    pool:     its spikes are pooled
    per_word: beats of a word of spikes
    classes:  of a beat, which the classifier takes one by one; 0 for other layers
    """

    beats: Sequence[int]
    repeats: int = 0
    fire: bool = False
    pool: bool = False
    per_word: int = 1
    classes: int = 0

    @property
    def flush(self) -> int:
        """Cycles from the last beat in Drain to the end of a layer, but for Pool's."""
        return Drain.LATENCY + Logits.LATENCY + self.classes + 1 if self.classes else FLUSH

    def drained(self, drains: int, tile: int) -> int:
        """Last beat in Drain of a group whose first one is there in cycle `drains`."""
        return drains + self.repeats + (self.beats[tile] - 1) * max(1, self.classes)

    def row_done(self, drains: int, tile: int, twice: bool) -> int:
        """Cycle of Pool's pulse after the last group of a row, whose words it may take `twice`."""
        first = self.drained(drains, tile) - self.beats[tile] + FLUSH
        free = 0
        for word in range(self.beats[tile] // self.per_word):
            free = max(free, first + (word + 1) * self.per_word) + 1 + twice
        return free


@dataclass(frozen=True)
class Memories:
    """What a layer has in external memory: its weights, rows of its maps, the residual stream."""

    tiles: Tiles
    source: RowSource | None = None
    target: RowTarget | None = None
    residual: ResidualPort | None = None

    @property
    def idle(self) -> int:
        """Cycle from which all results are in memory."""
        return max((each.idle for each in (self.target, self.residual) if each is not None),
                   default=0)


@dataclass(frozen=True)
class EngineRun:
    """One layer.

    end:    cycle in which the layer is done
    events: rows of weights that were added
    busy:   bool, by cycle from `start` on: Dispatch issues events
    waits:  first and last + 1 cycle of each wait for weights
    """

    end: int
    events: int
    busy: np.ndarray
    waits: tuple[tuple[int, int], ...]


class Way:
    """The way of a layer's lines: Gather's loops, memory, words and taps, Dispatch's slices.

    walked: cycle in which the last line left the loops
    """

    def __init__(self, dispatch: Dispatcher, start: int) -> None:
        self._dispatch = dispatch
        self.walked = self._read = self._kept = self._sent = self._entered = start

    def row(self, row: np.ndarray, intervals: tuple[int, ...], first: int) -> int:
        """Walk a row of the map, at the earliest from cycle `first` on; cycle as `walked`."""
        dispatch, walked = self._dispatch, first - 1
        read, kept, sent, entered = self._read, self._kept, self._sent, self._entered
        for number, group in enumerate(row.tolist()):
            for counts in group:
                # Each stage takes a line when the one before it goes on.
                walked = max(walked + 1, read)
                read = max(walked + 1, kept)
                kept = max(read + 1, sent)
                sent = max(kept + 1, entered)
                entered = dispatch.line(sent + 1, counts)
            dispatch.close(entered, intervals[number % len(intervals)])
        self.walked, self._read, self._kept = walked, read, kept
        self._sent, self._entered = sent, entered
        return walked


def run(hardware: HardwareConfig, walk: Walk, results: Results, memories: Memories,
        start: int) -> EngineRun:
    """A layer that starts in cycle `start`."""
    tiles, source, target = memories.tiles, memories.source, memories.target
    dispatch = Dispatcher(hardware, tiles.writes, start, memories.residual)
    waits, way = [], Way(dispatch, start)
    drained = start
    for tile, beats in enumerate(results.beats):
        dispatch.beats = beats
        here = max(way.walked + 1, source.here() if source else 0)
        ready = max(here, tiles.ready())
        if ready > here:
            waits.append((here, ready))
        if source:
            source.take(ready)
        walked = ready
        for y, row in enumerate(walk.rows):
            bottom, odd = y == len(walk.rows) - 1, y % 2 == 1
            entered = walked + 1
            if source and not bottom:
                entered = max(entered, source.here())
            if target and (not results.pool or y == 0 or (odd and not bottom)):
                entered = target.begin(entered)
            if source and not bottom:
                source.take(entered)
            # States Row and Position come before the first line.
            walked = way.row(row, walk.intervals, entered + 2)
            if target and (not results.pool or odd or bottom):
                target.done(results.row_done(dispatch.drains, tile,
                                             results.pool and odd and not bottom))
        drained = results.drained(dispatch.drains, tile)
        tiles.release(drained + 1)
    end = max(drained + results.flush + (POOL if results.fire else 0), memories.idle)
    return EngineRun(end, dispatch.events, _busy(dispatch, start, end), tuple(waits))


def _busy(dispatch: Dispatcher, start: int, end: int) -> np.ndarray:
    """Cycles from `start` to `end` in which any bank issues an event."""
    change = np.zeros(end - start + 2, np.int64)
    np.add.at(change, np.array(dispatch.starts, np.int64) - start, 1)
    np.add.at(change, np.array(dispatch.ends, np.int64) - start, -1)
    return change.cumsum() > 0
