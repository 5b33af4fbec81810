# SPDX-License-Identifier: Apache-2.0
"""When Gather, Dispatch and Drain do what, line by line: the engine's timing without its data.

Cycles are absolute.  A line is accepted by Dispatch, its slices wait in the queues of their banks,
a slice is popped and gives its events from the next cycle on, once its group is open; a group opens
in the cycle in which the one before it closes.  The rules are those of `hw.gather`, `hw.dispatch`
and `hw.drain`; a comment names the signal where one is not obvious.
"""

from collections import deque
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hw.config import HardwareConfig
from hw.cycles_lines import Walk
from hw.dispatch import TAG_BITS

# From a group's close in Dispatch to its first beat in Drain: one register, and LaneArray's.
CLOSE_TO_DRAIN = 4


class Tiles(Protocol):
    """Where the weights of a layer come from.

    writes: by bank, the cycles in which its second port is taken, as far as they are known
    """

    writes: list[list[int]]

    def ready(self) -> int:
        """Cycle from which the next tile is there."""
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
class EngineRun:
    """One layer.

    drained: cycle of the last beat in Drain
    events:  rows of weights that were added
    busy:    bool, by cycle from `start` on: Dispatch issues events
    waits:   first and last + 1 cycle of each wait for weights
    """

    drained: int
    events: int
    busy: np.ndarray
    waits: tuple[tuple[int, int], ...]


class Dispatcher:
    """The queues and scans of all banks during one layer; `start` is a cycle before its first line.

    Contract: `line` for each line in order, `close` after the last line of each group.
    """

    def __init__(self, hardware: HardwareConfig, writes: list[list[int]], start: int) -> None:
        banks = hardware.geometry.banks
        self._two = hardware.geometry.ports == 2
        self._depth = hardware.queue_depth
        self._writes, self._next_write = writes, [0] * banks
        # By bank: first cycle in which it can pop a slice, and whether the second port is idle then
        # (a single event of the open group is left), so that it may take one of that slice.
        self._free, self._single = [start] * banks, [False] * banks
        # Cycles from which the queue takes a slice more, of its last `depth` slices.
        self._room: list[deque[int]] = [deque([0] * self._depth, self._depth)
                                        for _ in range(banks)]
        self.opened = start       # cycle in which the group at hand opened
        self._finished = start    # last event of the group at hand
        self._closed, self._interval = start, 0
        # A line of a group waits until the group (1 << TAG_BITS) - 2 before it is open.
        self._tags: deque[int] = deque([start] * ((1 << TAG_BITS) - 1), (1 << TAG_BITS) - 1)
        self.starts: list[int] = []
        self.ends: list[int] = []
        self.events = 0

    def line(self, cycle: int, counts: list[int]) -> int:
        """The cycle in which a line is accepted that is offered from `cycle` on."""
        free, single, opened = self._free, self._single, self.opened
        cycle = max(cycle, self._tags[0] + 1, *[room[0] for room in self._room])
        for bank, count in enumerate(counts):
            if not count:
                continue
            self.events += count
            pop = free[bank]
            if pop <= cycle:
                pop = cycle + 1   # the queue shows a slice one cycle after it came
            elif single[bank]:
                count -= 1
            self._room[bank].append(pop + 1)
            if count:
                begin = max(pop + 1, opened)
                self._take(bank, begin, count)
                self.starts.append(begin)
                self.ends.append(free[bank] + 1)
                if free[bank] > self._finished:
                    self._finished = free[bank]
            else:
                free[bank], single[bank] = pop + 1, False
        return cycle

    def _take(self, bank: int, begin: int, count: int) -> None:
        """Events of a slice from cycle `begin` on: two a cycle, one where the port is taken."""
        if not self._two:
            self._free[bank], self._single[bank] = begin + count - 1, False
            return
        writes, index = self._writes[bank], self._next_write[bank]
        while True:
            last = begin + (count - 1 >> 1)
            while index < len(writes) and writes[index] < begin:
                index += 1
            if index == len(writes) or writes[index] > last:
                self._free[bank], self._single[bank] = last, bool(count & 1)
                break
            taken = writes[index]
            count -= 2 * (taken - begin)
            if count == 1:
                self._free[bank], self._single[bank] = taken, False
                break
            count, begin = count - 1, taken + 1
        self._next_write[bank] = index

    def close(self, accepted: int, interval: int) -> None:
        """End the group at hand, whose last line was accepted in cycle `accepted`.

        interval: cycles to the next close; 0 if this is none
        """
        cycle = max(accepted, self._finished, self.opened) + 1
        if interval:
            cycle = max(cycle, self._closed + self._interval)
            self._closed, self._interval = cycle, interval
        self.opened = cycle
        self._tags.append(cycle)
        self._single = [False] * len(self._single)


def run(hardware: HardwareConfig, walk: Walk, tiles: Tiles, beats: list[int], repeats: int,
        start: int) -> EngineRun:
    """A layer that starts in cycle `start`.

    beats: of a group in Drain, by tile
    repeats: cycles from the first to the last beat 0 of a sum that is drained several times
    """
    dispatch = Dispatcher(hardware, tiles.writes, start)
    waits = []
    walked = accepted = start   # of the line before: leaves Gather's loops, leaves Gather
    for tile_beats in beats:
        ready = tiles.ready()
        if ready > walked + 1:
            waits.append((walked + 1, ready))
        walked = max(walked + 1, ready)
        for row in walk.rows:
            # States Row and Position come first.
            walked, accepted = _row(dispatch, row, walk.intervals, max(walked + 3, accepted))
        drained = dispatch.opened + CLOSE_TO_DRAIN + repeats + tile_beats - 1
        tiles.release(drained + 1)
    return EngineRun(drained, dispatch.events, _busy(dispatch, start, drained), tuple(waits))


def _row(dispatch: Dispatcher, row: np.ndarray, intervals: tuple[int, ...],
         walk: int) -> tuple[int, int]:
    """Walk a row of the map from cycle `walk` on; cycles of the last line, as in `run`."""
    walked = accepted = walk
    for number, group in enumerate(row.tolist()):
        for counts in group:
            walked, walk = walk, dispatch.line(walk + 1, counts)
        accepted = walk
        dispatch.close(accepted, intervals[number % len(intervals)])
    return walked, accepted


def _busy(dispatch: Dispatcher, start: int, end: int) -> np.ndarray:
    """Cycles from `start` to `end` in which any bank issues an event."""
    change = np.zeros(end - start + 2, np.int64)
    np.add.at(change, np.array(dispatch.starts, np.int64) - start, 1)
    np.add.at(change, np.array(dispatch.ends, np.int64) - start, -1)
    return change.cumsum() > 0

