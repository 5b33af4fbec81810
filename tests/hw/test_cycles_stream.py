# SPDX-License-Identifier: Apache-2.0
"""Arrival of beats and tiles; that the sums are those of the RTL is shown in test_cycles."""

import pytest

from hw.axi import BURST, READ_AHEAD
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.cycles_stream import BeatStream, WeightStream
from sim.benches.models import SMALL, random_model


def test_first_beat_and_one_a_cycle_after_it():
    stream = BeatStream(10, latency=40)
    # Address, memory, its register, the queue's two.
    assert stream.take(3, 0) == [(10 + 1 + 40 + 1 + 2, 3)]
    assert stream.take(500, 0) == [(57, 500)]


def test_what_waits_in_the_queue_comes_at_once():
    stream = BeatStream(0, latency=40)
    assert stream.take(READ_AHEAD, 1000) == [(1000, READ_AHEAD)]
    # All beats under way were taken, as fast as the bursts after them arrive.
    assert stream.take(READ_AHEAD, 0) == [(1000 + READ_AHEAD, READ_AHEAD)]


def test_a_memory_that_is_too_slow_pauses_at_bursts():
    latency = 300
    stream = BeatStream(0, latency)
    runs = stream.take(3 * READ_AHEAD, 0)
    assert sum(beats for _, beats in runs) == 3 * READ_AHEAD
    assert len(runs) == 3
    # A burst is asked for when the fourth one before it has left.
    assert runs[1][0] - runs[0][0] == BURST - 1 + latency + 1 + 1 + 2 + 0
    assert all(beats % BURST == 0 for _, beats in runs)


@pytest.mark.parametrize("port_bits", [64, 128])
def test_tiles_come_when_released_and_rows_take_turns(port_bits):
    model = random_model(SMALL)
    roomy = HardwareConfig.for_model(model, lanes=8, banks=2, port_bits=port_bits)
    program = compile_model(model, roomy)
    stream = WeightStream(program, 40)
    loaded, cycle, rows = 0, stream.program_ready, [0, 0]
    released: list[int] = []
    for tile in program.tiles:
        ready = stream.ready()
        # Not before its rows have come, and not before the tiles that it replaces are done.
        assert ready >= loaded + tile.rows * 2
        if tile.wait:
            assert ready > released[tile.wait - 1]
        loaded = ready
        rows = [each + tile.rows for each in rows]
        assert all(len(writes) >= count for writes, count in zip(stream.writes, rows))
        cycle = max(cycle, ready) + 50
        released.append(cycle)
        stream.release(cycle)
    assert [len(writes) for writes in stream.writes] == rows
    for writes in stream.writes:
        assert all(a < b for a, b in zip(writes, writes[1:]))
    assert not set(stream.writes[0]) & set(stream.writes[1])
