# SPDX-License-Identifier: Apache-2.0
"""External memory, beat by beat; that the sums are those of the RTL is shown in test_cycles."""

from itertools import pairwise

from hw.axi import BURST, READ_AHEAD
from hw.config import HardwareConfig
from hw.cycles_external import ANSWER, BeatWriter, ResidualPort, RowSource, RowTarget
from hw.window import HELD_ROWS
from sim.benches.models import SMALL, random_model


def hardware(port_bits=64):
    return HardwareConfig.for_model(random_model(SMALL), lanes=8, banks=2, port_bits=port_bits,
                                    spill_residual=True)


def test_a_burst_is_written_when_all_of_it_waits():
    writer = BeatWriter(BURST + 10)
    assert writer.put(100, BURST) == 100 + BURST - 1
    # Address in the cycle after the last beat came, the first beat two cycles later.
    first = 100 + BURST + 2
    assert writer.idle == first + BURST - 1 + ANSWER
    assert writer.put(1000, 10) == 1009
    assert writer.idle == 1010 + 2 + 9 + ANSWER


def test_a_writer_without_room_takes_beats_as_they_leave():
    total = 400 * READ_AHEAD
    writer = BeatWriter(total)
    last = writer.put(0, total)
    # A cycle is lost between two bursts; the queue takes what is lost at first.
    room = READ_AHEAD - BURST
    assert 0 < total // BURST - room - (last - (total - 1)) < BURST // 8
    assert writer.idle > last + READ_AHEAD


def test_groups_wait_for_old_words_and_for_room_of_new_ones():
    config = hardware()
    beats = config.geometry.beats
    word = -(-config.geometry.neurons * config.residual_width // config.port_bits)
    groups = 200
    for reads in (False, True):
        port = ResidualPort(config, 0, 40, groups * beats * word, reads)
        closes = []
        for _ in range(groups):
            # As fast as the finish pipeline could.
            cycle = port.admit(closes[-1] + beats if closes else 20, beats)
            closes.append(cycle)
            port.drain(cycle + 5, beats)
        assert (closes[0] == 20) is not reads
        # No faster than the port moves the words.
        assert closes[-1] - closes[0] >= (groups - 20) * beats * word
        assert port.idle > closes[-1] and min(b - a for a, b in pairwise(closes)) >= beats


def test_rows_come_one_after_another_and_wait_for_the_ring():
    values = {"source_rows": 4, "blocks": 2, "source_beats": 10}
    source = RowSource(values, start=0, latency=40)
    here = [source.take(0) for _ in range(4)]
    # Two chunks, each with its latency, and a row's own states.
    each = 2 * (1 + 1 + 40 + 1 + 2 + 10) + 2
    # The ring has room, so the takes do not matter; the first row begins in cycle 1.
    assert {b - a for a, b in pairwise([1, *here])} == {each}
    # The ring holds the row taken last and two above it, so each row waits for the one before.
    assert HELD_ROWS == 3
    assert source.take(10_000) == 10_000
    assert source.take(10_000) == 10_000 + 1 + each


def test_rows_leave_one_after_another_and_wait_for_the_ring():
    config = hardware()
    target = RowTarget(config, {"target_row": 20, "target_rows": 4})
    begun = []
    for row in range(6):
        begun.append(target.begin(100 * row))
        target.done(100 * row + 90)
    line = -(-config.geometry.line_bits // config.port_bits)
    assert target.idle - (500 + 90) > 20 * line
    quick = RowTarget(config, {"target_row": 2000, "target_rows": 4})
    for row in range(4):
        assert quick.begin(row) == row
        quick.done(row + 1)
    # The fifth row waits until the first one has left.
    assert quick.begin(4) > 2000 * line
    assert begun == [0, 100, 200, 300, 400, 500]
