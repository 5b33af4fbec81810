# SPDX-License-Identifier: Apache-2.0
"""What the watch of external memory calls a fault, and what it does not."""

import pytest

from hw.faults import MemoryWatch
from tests.hw.harness import Bench

BITS = 4


def watched(cycles, bits=BITS):
    """(response, silence) of each cycle; `cycles` are (owed, moved, refused)."""
    bench = Bench(dut := MemoryWatch(bits))
    bench.feed(dut.i, [dict(zip(("owed", "moved", "refused"), each)) for each in cycles], first=1)
    seen = bench.record(1, dut.response, dut.silence)
    bench.run(extra=5)
    return [each[1:] for each in seen]


def test_a_refusal_stays():
    seen = watched([(1, 0, 0)] * 3 + [(1, 1, 1)] + [(0, 0, 0)] * 10)
    assert seen[0] == (0, 0) and seen[-1] == (1, 0)
    assert [response for response, _ in seen] == sorted(response for response, _ in seen)


@pytest.mark.parametrize("waits, silent", [((1 << BITS) - 1, 0), (1 << BITS, 1)])
def test_silence_begins_with_the_last_cycle_allowed(waits, silent):
    """And an answer that comes later does not end it."""
    seen = watched([(1, 0, 0)] * waits + [(1, 1, 0)] * 20)
    assert seen[-1] == (0, silent)


def test_a_memory_that_moves_now_and_then_is_slow_but_no_fault():
    assert watched(([(1, 0, 0)] * ((1 << BITS) - 1) + [(1, 1, 0)]) * 4)[-1] == (0, 0)


def test_nothing_is_owed_for_long():
    assert watched([(0, 0, 0)] * 100)[-1] == (0, 0)


def test_without_a_time_out_memory_may_take_for_ever():
    assert watched([(1, 0, 0)] * 100, bits=0)[-1] == (0, 0)
