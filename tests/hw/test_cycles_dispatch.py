# SPDX-License-Identifier: Apache-2.0
"""The timing of Dispatch, line by line, against a model that goes cycle by cycle."""

from dataclasses import replace

import numpy as np
import pytest

from hw.config import HardwareConfig
from hw.cycles_dispatch import Dispatcher
from hw.dispatch import TAG_BITS
from sim.benches.models import hardware_for

AHEAD = (1 << TAG_BITS) - 1


def by_cycles(groups, intervals, offers, depth, ports, writes):
    """Cycles in which each line is accepted and each group closes, and those with events.

    groups: lists of lines, a count for each bank; offers: cycles between a line and the next
    """
    lines = [(group, counts) for group, each in enumerate(groups) for counts in each]
    banks = len(lines[0][1])
    queues = [[] for _ in range(banks)]
    current = [None] * banks   # [group, events left]
    accepted, closed, busy = [], [], []
    tag, backlog = 0, 0
    cycle, offered, index = 0, 0, 0
    while len(closed) < len(groups):
        cycle += 1
        # Registers as they are at the beginning of the cycle.
        visible = [list(queue) for queue in queues]
        done = index == len(lines) or lines[index][0] > tag
        pending = any((held or (queue[0] if queue else [None]))[0] == tag
                      for held, queue in zip(current, visible))
        interval = intervals[tag % len(intervals)]
        close = done and not pending and (not interval or backlog <= max(intervals))
        now = tag + close
        events = 0
        for bank in range(banks):
            head = visible[bank][0] if visible[bank] else None
            held, taken, pop = current[bank], 0, False
            if held is None:
                pop = True
            elif held[0] == now:
                held[1] -= 1
                events += 1
                second = ports == 2 and cycle not in writes[bank]
                if second and held[1]:
                    held[1] -= 1
                    events += 1
                elif second and head is not None and head[0] == now:
                    taken = 1
                    events += 1
                pop = held[1] == 0
            if pop:
                current[bank] = None
                if head is not None:
                    queues[bank].pop(0)
                    if head[1] - taken:
                        current[bank] = [head[0], head[1] - taken]
        if events:
            busy.append(cycle)
        if index < len(lines) and cycle >= offered:
            group, counts = lines[index]
            if all(len(queue) < depth for queue in visible) and group - tag < AHEAD:
                for queue, count in zip(queues, counts):
                    if count:
                        queue.append([group, count])
                accepted.append(cycle)
                offered = cycle + offers[index]
                index += 1
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
    accepted, closed, offered = [], [], 1
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
