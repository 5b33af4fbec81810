# SPDX-License-Identifier: Apache-2.0
"""When Dispatch accepts lines, issues events and closes groups: its timing without its data.

Cycles are absolute.  A line is accepted, its slices wait in the queues of their banks, a slice is
popped, its events are found and wait in turn, three cycles' worth of them at most, until their
group is open; a group opens in the cycle in which the one before it closes.
"""

from collections import deque
from typing import Protocol

from hw.config import HardwareConfig
from hw.dispatch import TAG_BITS
from hw.lanes import tree_levels

# From a group's close in Dispatch to its turn in LaneArray, besides the adder tree: one register in
# Dispatch, two around the tree.
TO_TURN = 3
# From the cycle in which events of a slice are found to the first one in which they can issue, and
# how many cycles' worth are found ahead of those that issue.
FOUND, AHEAD = 2, 3


class Admission(Protocol):
    """Who must agree to the close of a group."""

    def admit(self, cycle: int, beats: int) -> int:
        """Cycle of the close of a group of so many beats that could close in `cycle`."""
        ...

    def drain(self, cycle: int, beats: int) -> None:
        """The first beat of the group is in Drain in `cycle`."""
        ...


class Dispatcher:
    """The queues and scans of all banks during one layer.

    Call `line` for each line in order, and `close` after the last line of each group.

    writes: by bank, the cycles in which its second port is taken; the lists may grow, by cycles
            that are later than the group at hand
    start:  a cycle before the first line
    beats:  of a group behind the lanes, for `admission`
    starts, ends: cycles with events of a slice, the end exclusive; events: of all
    opened: cycle in which the group at hand opened
    drains: cycle in which the first beat of the group before it is in Drain
    """

    def __init__(self, hardware: HardwareConfig, writes: list[list[int]], start: int,
                 admission: Admission | None = None) -> None:
        banks = hardware.geometry.banks
        self._two = hardware.geometry.ports == 2
        self._depth = hardware.queue_depth
        self._writes, self._next_write = writes, [0] * banks
        # By bank: first cycle in which it can pop a slice, and whether the second port has nothing
        # then (a single event of the group is left), so that it may take one of that slice; last
        # cycle with events.
        self._free, self._single = [start] * banks, [False] * banks
        self._last = [start] * banks
        # Cycles from which the queue takes a slice more, of its last `depth` slices.
        self._room: list[deque[int]] = [deque([0] * self._depth, self._depth)
                                        for _ in range(banks)]
        self.opened = start
        self._finished = start    # last event of the group at hand
        # Until when the finish pipeline has work, as Dispatch reckons it.
        self._occupied, self.drains = start, start
        self._through = start     # and until when it has, as LaneArray finds
        self._to_turn = TO_TURN + tree_levels(hardware)
        # A line of a group waits until the group (1 << TAG_BITS) - 2 before it is open.
        self._tags: deque[int] = deque([start] * ((1 << TAG_BITS) - 1), (1 << TAG_BITS) - 1)
        self._admission, self.beats = admission, 0
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
                begin = max(pop + 1 + FOUND, opened, self._last[bank] + 1)
                last = self._take(bank, begin, count)
                cycles = count + 1 >> 1 if self._two else count
                free[bank] = max(pop + cycles, last + 1 - AHEAD)
                single[bank] = self._two and bool(count & 1)
                self.starts.append(begin)
                self.ends.append(last + 1)
                if last > self._finished:
                    self._finished = last
            else:
                free[bank], single[bank] = pop + 1, False
        return cycle

    def _take(self, bank: int, begin: int, count: int) -> int:
        """Last cycle of a slice's events from cycle `begin` on: two a cycle.

        Where the second port is taken, two events take two cycles.
        """
        if not self._two:
            self._last[bank] = begin + count - 1
            return self._last[bank]
        last, paired = begin + (count - 1 >> 1), count >> 1
        writes, index = self._writes[bank], self._next_write[bank]
        while index < len(writes) and writes[index] < begin:
            index += 1
        done = 0   # pairs that have issued before cycle `at`
        at = begin
        while paired and index < len(writes) and writes[index] <= last:
            taken = writes[index]
            index += 1
            if taken < at:   # the second event of a pair, alone
                continue
            done += taken - at
            if done >= paired:   # a single event is left
                break
            done += 1
            at = taken + 2
            last += 1
        self._next_write[bank] = index
        self._last[bank] = last
        return last

    def close(self, accepted: int, interval: int) -> None:
        """End the group at hand, whose last line was accepted in cycle `accepted`.

        interval: cycles of the finish pipeline for it; 0 if it does not close
        """
        cycle = max(accepted, self._finished, self.opened) + 1
        if interval:
            # One group may wait, so what is before it must be less than the pipeline's for one.
            cycle = max(cycle, self._occupied - interval + 1)
            if self._admission is not None:
                cycle = self._admission.admit(cycle, self.beats)
            self._occupied = max(self._occupied, cycle) + interval
            self.drains = max(cycle + self._to_turn + 1, self._through)
            self._through = self.drains + interval
            if self._admission is not None:
                self._admission.drain(self.drains, self.beats)
        self.opened = cycle
        self._tags.append(cycle)
        self._single = [False] * len(self._single)
