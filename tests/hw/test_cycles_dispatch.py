# SPDX-License-Identifier: Apache-2.0
"""The timing of Dispatch, line by line, against a model that goes cycle by cycle."""

from dataclasses import replace

import numpy as np
import pytest

from hw.config import HardwareConfig
from hw.cycles_dispatch import FREE, Dispatcher
from hw.scan import TAG_BITS
from sim.benches.models import hardware_for

AHEAD = (1 << TAG_BITS) - 1


class Bank:
    """The registers of a Scan: [group, events] of the slice at hand, the next one and those in the
    queue, [group, events] that issue together where they were found, in front and at the back."""

    def __init__(self):
        self.queue, self.next, self.current = [], None, None
        self.found = self.front = self.back = None

    def oldest(self):
        """Group of the oldest event, None if there is none."""
        for each in (self.front, self.found, self.current, self.next, *self.queue[:1]):
            if each is not None:
                return each[0]
        return None

    def cycle(self, now, ports, blocked):
        """One cycle in which group `now` is at work; how many events issue."""
        following, current, found, front, back = (self.next, self.current, self.found,
                                                  self.front, self.back)
        issued = taken = 0
        if front is not None and front[0] == now:
            issued, taken = front[1], True
            if front[1] == 2 and blocked:
                issued, taken = 1, False
                self.front = [now, 1]
        push = found is not None and back is None
        if front is None or taken:
            self.front, self.back = back or (found if push else None), None
        elif push:
            self.back = found
        go = current is not None and (found is None or back is None)
        if go or back is None:
            self.found = None
        ahead = 0
        if go:
            events = min(ports, current[1])
            if ports == 2 and events == 1 and following and following[0] == current[0]:
                ahead = 1
            self.found = [current[0], events + ahead]
            self.current = [current[0], current[1] - events]
        if current is None or (go and self.current[1] == 0):
            self.current = self.next = None
            if following and following[1] > ahead:
                self.current = [following[0], following[1] - ahead]
        if self.next is None and self.queue:
            self.next = self.queue.pop(0)
        return issued


def by_cycles(groups, intervals, offers, depth, ports, writes):
    """Cycles in which each line is accepted and each group closes, and those with events.

    groups: lists of lines, a count for each bank; offers: cycles between a line and the next
    """
    lines = [(group, counts) for group, each in enumerate(groups) for counts in each]
    banks = [Bank() for _ in lines[0][1]]
    accepted, closed, busy = [], [], []
    tag = backlog = cycle = index = before = 0
    offered = FREE
    room = True   # in all queues and, for the numbers of groups, `before`: as of the cycle before
    while len(closed) < len(groups):
        cycle += 1
        assert cycle < 20_000
        done = index == len(lines) or lines[index][0] > tag
        pending = any(bank.oldest() == tag for bank in banks)
        interval = intervals[tag % len(intervals)]
        close = done and not pending and (not interval or backlog <= max(intervals))
        levels = [len(bank.queue) for bank in banks]
        if sum([bank.cycle(tag + close, ports, cycle in taken)
                for bank, taken in zip(banks, writes)]):
            busy.append(cycle)
        if index < len(lines) and cycle >= offered:
            group, counts = lines[index]
            if room and group - before < AHEAD:
                for number, count in enumerate(counts):
                    if count:
                        banks[number].queue.append([group, count])
                        levels[number] += 1
                accepted.append(cycle)
                offered = cycle + offers[index]
                index += 1
        room, before = max(levels) < depth, tag
        backlog = max(0, backlog - 1)
        if close:
            backlog += interval
            closed.append(cycle)
            tag += 1
    return accepted, closed, busy


@pytest.mark.parametrize("seed", range(40))
def test_as_cycle_by_cycle(seed):
    rng = np.random.default_rng(seed)
    banks, ports = int(rng.choice([1, 2, 4])), int(rng.choice([1, 2]))
    depth = int(rng.choice([2, 3, 16]))
    hardware: HardwareConfig = replace(hardware_for(8, banks, ports=ports), queue_depth=depth)
    density = rng.choice([0.05, 0.3, 1.0])
    groups = [[(rng.integers(0, 5, banks) * (rng.random(banks) < density)).tolist()
               for _ in range(rng.integers(1, 7))] for _ in range(60)]
    intervals = [(0, 0, 7), (4,), (0, 3, 3), (1,)][rng.integers(4)]
    offers = [int(n) for n in rng.choice([1, 1, 1, 3, 20], 400)]
    writes = [sorted(rng.choice(600, 80, replace=False).tolist()) for _ in range(banks)]
    wanted = by_cycles(groups, intervals, offers, depth, ports, list(map(set, writes)))
    dispatch = Dispatcher(hardware, writes, 0)
    accepted, closed, offered = [], [], FREE
    for number, group in enumerate(groups):
        for counts in group:
            accepted.append(dispatch.line(offered, counts))
            offered = accepted[-1] + offers[len(accepted) - 1]
        dispatch.close(accepted[-1], intervals[number % len(intervals)])
        closed.append(dispatch.opened)
    assert (accepted, closed) == wanted[:2]
    busy = {cycle for start, end in zip(dispatch.starts, dispatch.ends)
            for cycle in range(start, end)}
    assert busy == set(wanted[2])
    assert dispatch.events == sum(sum(counts) for group in groups for counts in group)
