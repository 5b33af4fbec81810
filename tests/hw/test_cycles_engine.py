# SPDX-License-Identifier: Apache-2.0
"""A layer waits for its tiles; that the cycles are those of the RTL is shown in test_cycles."""

import numpy as np

from hw.cycles_dispatch import FOUND
from hw.cycles_engine import FLUSH, Memories, OnChip, Results, run
from hw.cycles_lines import Walk
from sim.benches.models import hardware_for


class Tiles(OnChip):
    """Each tile comes 100 cycles after the one before is done."""

    def __init__(self, banks):
        super().__init__(banks)
        self.next, self.released = 50, []

    def ready(self):
        return self.next

    def release(self, cycle):
        self.released.append(cycle)
        self.next = cycle + 100


def test_a_layer_waits_for_its_tiles():
    hardware = hardware_for(8, 2)
    walk = Walk((np.ones((3, 2, 2), np.uint16),), (4,))
    tiles = Tiles(2)
    ran = run(hardware, walk, Results([5, 3]), Memories(tiles), 10)
    # Row, Position, Walk; read, words, taps, slices; in the queue, next, popped and found.
    opened = 50 + 3 + 4 + 2 + FOUND
    assert len(tiles.released) == 2 and tiles.released[1] == ran.end - FLUSH + 1
    assert ran.events == 2 * 12
    first, second = ran.waits
    assert first == (11, 50) and second[1] == tiles.released[0] + 100
    assert np.flatnonzero(ran.busy)[0] + 10 == opened
    assert ran.end > second[1] + FLUSH


def test_a_sum_that_is_drained_several_times_takes_that_longer():
    hardware = hardware_for(8, 2)
    walk = Walk((np.ones((3, 2, 2), np.uint16),), (0, 0, 40))
    once, often = (run(hardware, walk, Results([2], repeats), Memories(OnChip(2)), 0)
                   for repeats in (0, 30))
    assert often.end == once.end + 30 and once.events == often.events
