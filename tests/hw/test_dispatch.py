# SPDX-License-Identifier: Apache-2.0
"""Dispatch: every event once, in its own group; the throughput that the docstring promises."""

import numpy as np
import pytest

from hw.dispatch import TAG_BITS, Dispatch, find_first
from tests.hw.harness import Bench, every_gap, small_hardware


def hardware_of(banks, spike_word, **changes):
    return small_hardware(lanes=spike_word, banks=banks, spike_word=spike_word, neurons=1,
                          **changes)


def words_of(groups, slice_bits):
    """Stream words of groups, each a list of spike words; rows count up from 1 inside a group."""
    return [{"spikes": spikes, "row": 1 + i * slice_bits, "last": i == len(group) - 1}
            for group in groups for i, spikes in enumerate(group)]


def rows_of(group, banks, slice_bits):
    """Weight rows of a group's spikes in each bank: channel c is in bank c % banks."""
    rows = [[] for _ in range(banks)]
    for i, spikes in enumerate(group):
        for c in range(banks * slice_bits):
            if spikes >> c & 1:
                rows[c % banks].append(1 + i * slice_bits + c // banks)
    return rows


def dispatch(groups, banks=2, spike_word=8, gap=0, planes=1, interval=1, last_interval=1,
             **changes):
    """Run; [rows of each bank] of each closed group, cycles of the closes, of the events, words."""
    hardware = hardware_of(banks, spike_word, **changes)
    bench = Bench(dut := Dispatch(hardware))
    bench.instruction(planes=planes, interval=interval, last_interval=last_interval)
    bench.source(dut.i, words_of(groups, hardware.geometry.slice_bits), gap)
    words = bench.record(dut.i.valid & dut.i.ready)
    every = bench.record(1, dut.o.payload)
    drained = 80 + max(interval, last_interval) * (1 << TAG_BITS)
    bench.run(extra=drained + spike_word * hardware.queue_depth)
    got, open_rows, closes, events = [], [[] for _ in range(banks)], [], []
    for cycle, payload in every:
        if payload["close"]:
            got.append(open_rows)
            open_rows = [[] for _ in range(banks)]
            closes.append(cycle)
        for bank, row in enumerate(payload["rows"]):
            if row:
                open_rows[bank].append(row)
        count = sum(row != 0 for row in payload["rows"])
        assert payload["count"] == count
        events += [cycle] * count
    assert open_rows == [[] for _ in range(banks)], "events of no group"
    return got, closes, events, [cycle for cycle, in words]


def check(groups, banks=2, spike_word=8, **kwargs):
    got, closes, events, words = dispatch(groups, banks, spike_word, **kwargs)
    expected = [rows_of(group, banks, spike_word // banks) for group in groups]
    assert [[sorted(bank) for bank in group] for group in got] == expected
    return closes, events, words


FULL = 0xff
EDGES = {
    "one-event": [[1]],
    "one-empty-group": [[0]],
    "empty-groups-only": [[0], [0, 0], [0], [0]] * 3,
    "empty-between-full": [[FULL], [0], [FULL], [0], [0], [FULL]],
    "one-bank-only": [[0x55, 0x55], [0x55], [0x55, 0x11]],
    "other-bank-only": [[0xaa, 0xaa], [0xaa], [0xaa, 0x80]],
    "banks-take-turns": [[0x55], [0xaa]] * 6,
    "all-full": [[FULL] * 4, [FULL], [FULL] * 2],
    "more-groups-than-tags": [[1]] * (3 << TAG_BITS),
    "empty-words-inside": [[0, 0, 4, 0], [0, 8, 0, 0], [0, 0, 0, 128]],
    "unbalanced": [[0x55] * 6, [0xaa], [0x01], [0x02] * 3],
}
every_edge = pytest.mark.parametrize("groups", EDGES.values(), ids=EDGES.keys())


@every_gap
@every_edge
def test_edges(groups, gaps):
    check(groups, gap=gaps[0])


@every_edge
@pytest.mark.parametrize("interval", [4, 20])
def test_groups_wait_for_the_interval(groups, interval):
    closes, _, _ = check(groups, interval=interval, last_interval=interval)
    assert all(later - earlier >= interval
               for earlier, later in zip(closes, closes[1:], strict=False))


def test_the_interval_is_the_only_wait_between_short_groups():
    closes, _, _ = check([[1]] * 20, interval=6, last_interval=6)
    assert np.diff(closes).tolist() == [6] * 19


def test_the_last_plane_is_followed_by_its_own_interval():
    closes, _, _ = check([[1]] * 12, planes=3, interval=4, last_interval=11)
    assert np.diff(closes).tolist() == [4, 4, 11] * 3 + [4, 4]


@pytest.mark.parametrize(("banks", "spike_word"), [(1, 4), (1, 8), (2, 8), (4, 8), (8, 8), (4, 16)])
def test_dense_words_take_one_event_per_bank_and_cycle(banks, spike_word):
    """banks events per cycle, across words and groups: not one cycle is lost."""
    full = (1 << spike_word) - 1
    groups = [[full] * 3, [full], [full] * 5, [full] * 2]
    _, events, words = check(groups, banks, spike_word)
    per_word = spike_word // banks
    cycles = events[-1] - events[0] + 1
    assert len(events) == 11 * spike_word
    # Slices of one bit cannot come faster than words, of which a group's change takes none.
    assert cycles == 11 * per_word
    assert events[0] - words[0] == 3


def test_empty_words_pass_at_one_per_cycle():
    _, _, words = check([[0] * 20, [0] * 20])
    assert words[-1] - words[0] == 39


def test_an_empty_group_costs_one_cycle():
    closes, events, _ = check([[FULL], [0], [FULL]])
    assert events[-1] - events[0] + 1 == 4 + 1 + 4
    assert closes[1] - closes[0] == 1


def test_waiting_groups_fill_the_tags_and_the_queues():
    """With a long interval everything behind backs up: nothing may be lost or mixed."""
    groups = [[FULL, 0x0f], [0], [0x55] * 3, [1]] * 8
    check(groups, interval=40, last_interval=40, queue_depth=2)


@pytest.mark.parametrize("queue_depth", [2, 3, 16])
@pytest.mark.parametrize(("banks", "spike_word"), [(1, 4), (2, 8), (4, 4), (4, 8)])
def test_random_groups(banks, spike_word, queue_depth):
    rng = np.random.default_rng(banks * 100 + queue_depth)
    groups = []
    for _ in range(40):
        density = rng.choice([0.0, 0.1, 0.4, 0.9])
        spikes = rng.random((rng.integers(1, 6), spike_word)) < density
        groups.append([int(sum(1 << c for c in np.flatnonzero(word))) for word in spikes])
    check(groups, banks, spike_word, gap=int(rng.integers(0, 3)), queue_depth=queue_depth,
          interval=5, last_interval=5)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
def test_find_first(width):
    from amaranth import Module, Signal
    from amaranth.sim import Simulator
    bits, index, got = Signal(width), Signal(4), {}
    m = Module()
    m.d.comb += index.eq(find_first(bits))
    sim = Simulator(m)

    async def drive(ctx):
        for value in range(1, 1 << width):
            ctx.set(bits, value)
            got[value] = ctx.get(index)
    sim.add_testbench(drive)
    sim.run()
    assert got == {value: (value & -value).bit_length() - 1 for value in range(1, 1 << width)}
