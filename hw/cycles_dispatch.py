# SPDX-License-Identifier: Apache-2.0
"""When Dispatch accepts lines, issues events and closes groups: its timing without its data.

Cycles are absolute.  A line is accepted, its slices wait in the queues of their banks, a slice
leaves the queue to be the next one, is popped when it has its turn, its events are found and wait
in turn, three cycles' worth of them at most, until their group is open; a group opens in the cycle
in which the one before it closes.
"""

from collections import deque
from typing import Protocol

from hw.config import HardwareConfig
from hw.lanes import tree_levels
from hw.scan import TAG_BITS

# From a group's close in Dispatch to its turn in LaneArray, besides the adder tree: one register in
# Dispatch, two around the tree.
TO_TURN = 3
# From the cycle in which a slice is popped to the first one in which its events can issue.
FOUND = 3
# From the cycle in which a slice leaves its queue, or a group closes, until its place is free.
FREE = 2
# Cycles' worth of events that a bank finds ahead of those that issue.
AHEAD = 3


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
        # By bank: cycle in which the last events of the slice at hand are found, and the next one
        # is popped; whether that is a single event, so that one of the next slice can be found
        # with it; cycles in which the last events issued, AHEAD of them.
        self._free, self._single = [start] * banks, [False] * banks
        self._popped = [start] * banks   # cycle in which the last slice was popped
        self._issued = [[start - AHEAD + n for n in range(AHEAD)] for _ in range(banks)]
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
        free, single = self._free, self._single
        cycle = max(cycle, self._tags[0] + FREE, *[room[0] for room in self._room])
        for bank, count in enumerate(counts):
            if not count:
                continue
            self.events += count
            # The queue shows a slice one cycle after it came.
            leaves = max(cycle + 1, self._popped[bank])
            pop = free[bank]
            if pop <= leaves:
                pop = leaves + 1
            elif single[bank]:
                count -= 1
                self._join(bank)
            self._room[bank].append(leaves + FREE)
            self._popped[bank] = pop
            if count:
                self._take(bank, pop, count)
            else:
                free[bank], single[bank] = pop + 1, False
        return cycle

    def _take(self, bank: int, pop: int, count: int) -> None:
        """Events of a slice that was popped in cycle `pop`, those that issue together at once."""
        issued = self._issued[bank]
        begin = max(pop + FOUND, self.opened, issued[-1] + 1)
        number = count + 1 >> 1 if self._two else count
        last = begin + number - 1
        if self._two and self._written(bank, begin, last):
            cycles = self._wait(bank, begin, count)
            last = cycles[-1]
        else:
            cycles = range(max(begin, last - AHEAD), last + 1)
        # The last events are found when those of AHEAD cycles before have issued.
        before = cycles[-1 - AHEAD] if number > AHEAD else issued[number - 1]
        self._free[bank] = max(pop + number, before + 1)
        self._single[bank] = self._two and count & 1 == 1
        self._issued[bank] = [*issued, *cycles[-AHEAD:]][-AHEAD:]
        self._busy(begin, last)

    def _wait(self, bank: int, begin: int, count: int) -> list[int]:
        """Cycles in which events that issue together are through, where writes take the port.

        The second of two events then issues alone in the next cycle.
        """
        cycles = []
        for left in range(count, 0, -2):
            begin += 1 + (left > 1 and self._written(bank, begin, begin))
            cycles.append(begin - 1)
        return cycles

    def _join(self, bank: int) -> None:
        """The single event that is left of a slice gets one of the next slice to its side."""
        last = self._issued[bank][-1]
        if self._written(bank, last, last):
            self._issued[bank][-1] = last + 1
            self._busy(last + 1, last + 1)

    def _written(self, bank: int, first: int, last: int) -> bool:
        """Whether the second port is taken in one of the cycles `first` to `last`."""
        writes, index = self._writes[bank], self._next_write[bank]
        while index < len(writes) and writes[index] < first:
            index += 1
        self._next_write[bank] = index
        return index < len(writes) and writes[index] <= last

    def _busy(self, first: int, last: int) -> None:
        self.starts.append(first)
        self.ends.append(last + 1)
        if last > self._finished:
            self._finished = last

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
