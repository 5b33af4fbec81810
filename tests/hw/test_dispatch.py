# SPDX-License-Identifier: Apache-2.0
"""Dispatch: every event once, in its own group; the throughput that the docstring promises."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from hw.dispatch import Dispatch
from hw.scan import TAG_BITS
from sim.benches.maps import LINE
from tests.hw.harness import Bench, every_idle, plain, small_hardware

STRIDE = 40   # weight rows from a word of a line to the next


def hardware_of(banks, spike_word, ports=2, **changes):
    return small_hardware(lanes=spike_word, banks=banks, spike_word=spike_word, neurons=1,
                          ports=ports, **changes)


def lines_of(groups, slice_bits):
    """Stream of groups, each a list of lines of four words; rows count up from 1 in a group.

    The first word turns around from line to line.  Odd groups are in the last tile.
    """
    return [{"words": list(words), "row": 1 + i * slice_bits, "first": i % LINE,
             "last": i == len(group) - 1, "last_tile": number % 2}
            for number, group in enumerate(groups) for i, words in enumerate(group)]


def rows_of(group, banks, slice_bits):
    """Weight rows of a group's spikes in each bank: channel c is in bank c % banks."""
    rows = [[] for _ in range(banks)]
    for i, words in enumerate(group):
        for n, spikes in enumerate(words):
            base = 1 + i * slice_bits + (n - i) % LINE * STRIDE
            for c in range(spikes.bit_length()):
                if spikes >> c & 1:
                    rows[c % banks].append(base + c // banks)
    return [sorted(bank) for bank in rows]


@dataclass
class Result:
    """What came out; `groups`: rows of each bank, and how the sum went on: "close" or "shift".

    closes, events: cycles; lines: cycles in which they were taken; rows: of all slots by cycle
    """

    groups: list = field(default_factory=list)
    ends: list = field(default_factory=list)
    closes: list = field(default_factory=list)
    events: list = field(default_factory=list)
    lines: list = field(default_factory=list)
    rows: list = field(default_factory=list)


def record_events(bench, dut, groups):
    """Every cycle's output; the run lasts until so many groups have ended."""
    async def end(ctx):
        left = groups
        while left:
            ends = dut.o.payload.close | dut.o.payload.shift
            if hasattr(dut.o.payload, "fork"):
                ends = ends | dut.o.payload.fork
            await ctx.tick().until(ends)
            left -= 1
    bench.sim.add_testbench(end)
    return bench.record(1, dut.o.payload)


def dispatch(groups, banks=2, spike_word=8, ports=2, gap=0, loading=0.0, last_interval=1, planes=1,
             samples=0, signed_input=0, pairs=0, **changes):
    """Run the groups; loading: share of cycles in which a bank's second port is needed."""
    hardware = hardware_of(banks, spike_word, ports, pairs=bool(pairs), **changes)
    bench = Bench(dut := Dispatch(hardware), max_cycles=20_000)
    bench.instruction(planes=planes, samples=samples, signed_input=signed_input,
                      last_interval=last_interval, word_stride=STRIDE,
                      **({"pairs": 1} if pairs else {}))
    bench.source(dut.i, lines_of(groups, hardware.geometry.slice_bits), gap)
    lines = bench.record(dut.i.valid & dut.i.ready)
    every = record_events(bench, dut, len(groups))
    wanted = []
    if loading:
        async def load(ctx):
            while True:
                busy = (bench.rng.random(banks) < loading).tolist()
                wanted.append(busy)
                ctx.set(dut.loading, sum(bit << bank for bank, bit in enumerate(busy)))
                await ctx.tick()
        bench.sim.add_testbench(load, background=True)
    bench.run(extra=30)
    result = Result(lines=[cycle for cycle, in lines])
    open_rows = [[] for _ in range(banks)]
    for cycle, payload in every:
        fork = payload.get("fork", 0)
        assert payload["close"] + payload["shift"] + fork <= 1
        if payload["close"] or payload["shift"] or fork:
            result.groups.append([sorted(bank) for bank in open_rows])
            open_rows = [[] for _ in range(banks)]
            resumes = payload["close"] and payload.get("resume", 0)
            result.ends.append("close and resume" if resumes else "fork" if fork else
                               "close" if payload["close"] else
                               "negated shift" if payload["negate"] else "shift")
            if payload["close"]:
                result.closes.append(cycle)
        for slot, row in enumerate(payload["rows"]):
            if row:
                open_rows[slot // ports].append(row)
                # The second port writes what was announced a cycle before.
                assert not (loading and slot % ports and wanted[cycle - 1][slot // ports])
        count = sum(row != 0 for row in payload["rows"])
        assert payload["count"] == count
        result.events += [cycle] * count
        result.rows.append(payload["rows"])
    assert open_rows == [[] for _ in range(banks)], "events of no group"
    return result


def check(groups, banks=2, spike_word=8, **kwargs):
    result = dispatch(groups, banks, spike_word, **kwargs)
    slice_bits = -(-spike_word // banks)
    assert result.groups == [rows_of(group, banks, slice_bits) for group in groups]
    return result


def spaced(closes, interval):
    """Never more than one group waits for a pipeline that takes one every `interval` cycles."""
    return all(later - earlier >= gap * interval for gap in range(1, len(closes))
               for earlier, later in zip(closes, closes[gap + 1:]))


def line(*words):
    return (*words, *[0] * (LINE - len(words)))


FULL = 0xff
EDGES = {
    "one-event": [[line(1)]],
    "one-empty-group": [[line(0)]],
    "empty-groups-only": [[line()], [line(), line()], [line()], [line()]] * 3,
    "empty-between-full": [[line(FULL)], [line()], [line(FULL)], [line()], [line()],
                           [line(*[FULL] * 4)]],
    "one-bank-only": [[line(0x55, 0, 0x55)], [line(0x55)], [line(0x55), line(0, 0x11)]],
    "other-bank-only": [[line(0xaa), line(0, 0xaa)], [line(0xaa)], [line(0xaa, 0x80, 0, 8)]],
    "banks-take-turns": [[line(0, 0, 0x55)], [line(0xaa)]] * 6,
    "all-full": [[line(*[FULL] * 4)] * 2, [line(*[FULL] * 4)], [line(FULL)] * 2],
    "more-groups-than-tags": [[line(0, 0, 1)]] * (3 << TAG_BITS),
    "single-events-in-a-row": [[line(1), line(0, 4), line(0, 0, 0, 0x40)]] * 3,
    "empty-lines-inside": [[line(), line(), line(4), line()], [line(), line(0, 8), line()],
                           [line(), line(), line(0, 0, 0, 128)]],
    "odd-and-even": [[line(7, 7), line(1), line(0x15), line(0x3f, 0, 1)], [line(0x15, 1)]],
    "unbalanced": [[line(0x55, 0x55, 0x55)] * 2, [line(0xaa)], [line(1)], [line(2)] * 3],
}
ALL_EDGES = [group for groups in EDGES.values() for group in groups]
every_port = pytest.mark.parametrize("ports", [1, 2])


@pytest.mark.parametrize("groups", EDGES.values(), ids=EDGES.keys())
def test_edges_alone(groups):
    check(groups)


@every_idle
@every_port
def test_edges_one_after_another(ports, idle):
    check(ALL_EDGES, ports=ports, gap=idle)


@pytest.mark.parametrize("interval", [4, 20])
def test_groups_wait_for_the_interval(interval):
    assert spaced(check(ALL_EDGES, last_interval=interval).closes, interval)


def test_the_interval_is_the_only_wait_between_short_groups():
    closes = check([[line(1)]] * 20, last_interval=6).closes
    assert np.diff(closes).tolist() == [1] + [6] * 18


def test_short_groups_make_up_for_long_ones():
    """A group of 16 cycles leaves the finish pipeline idle; two short ones may follow at once."""
    long, short = [line(*[FULL] * 4)] * 2, [line(1)]
    closes = check([long, short, short, long], last_interval=10).closes
    assert np.diff(closes).tolist() == [1, 10, 16]


@pytest.mark.parametrize("is_signed", [0, 1])
@pytest.mark.parametrize("planes", [1, 3])
def test_planes_of_samples_shift_the_sum(planes, is_signed):
    """Only the last plane closes, the others shift as soon as they can; the first may be signed."""
    result = check([[line(1, 2)], [line()], [line(3)]] * 4, planes=planes, samples=1,
                   signed_input=is_signed, last_interval=9)
    first = ["negated shift" if is_signed else "shift"] * (planes > 1)
    assert result.ends == (12 // planes) * [*first, *["shift"] * (planes - 2), "close"]
    closes = np.diff(result.closes).tolist()
    assert closes[0] == planes and spaced(result.closes, 9)
    assert closes[2:] == [9] * (12 // planes - 3)


def test_three_groups_of_a_pair():
    """The first is kept and goes on, the second closes and the third starts from what was kept."""
    groups = [[line(1, 2)], [line()], [line(3)], [line()], [line()], [line()]] * 3
    result = check(groups, pairs=1, last_interval=5)
    assert result.ends == ["fork", "close and resume", "close"] * 6
    assert spaced(result.closes, 5)


@pytest.mark.parametrize(("banks", "spike_word", "ports"), [
    (1, 4, 2), (1, 8, 1), (2, 8, 2), (4, 8, 1), (4, 8, 2), (8, 8, 2), (4, 16, 2)])
def test_dense_lines_take_an_event_for_each_port_and_cycle(banks, spike_word, ports):
    """Across words, lines and groups not one cycle is lost."""
    full = line(*[(1 << spike_word) - 1] * 4)
    groups = [[full] * 3, [full], [full] * 5, [full] * 2]
    result = check(groups, banks, spike_word, ports=ports)
    cycles = result.events[-1] - result.events[0] + 1
    assert len(result.events) == 11 * LINE * spike_word
    assert cycles == 11 * LINE * spike_word // (banks * ports)
    assert result.events[0] - result.lines[0] == 7


def test_slices_of_three_events_share_a_cycle_with_the_next():
    """The second port takes the first event of the slice that waits."""
    result = check([[line(0x15), line(0, 0x15)] * 4], 2, 8)
    assert result.events[-1] - result.events[0] + 1 == 8 * 3 // 2


def test_empty_lines_pass_at_one_per_cycle():
    lines = check([[line()] * 20, [line()] * 20]).lines
    assert lines[-1] - lines[0] == 39


@every_port
def test_an_empty_group_costs_one_cycle(ports):
    result = check([[line(FULL)], [line()], [line(FULL)]], ports=ports)
    assert result.events[-1] - result.events[0] + 1 == 4 // ports + 1 + 4 // ports
    assert result.closes[1] - result.closes[0] == 1


def test_waiting_groups_fill_the_tags_and_the_queues():
    """With a long interval everything behind backs up: nothing may be lost or mixed."""
    groups = [[line(FULL, 1), line(0, 0x0f)], [line()], [line(0x55)] * 3, [line(0, 0, 1)]] * 8
    check(groups, last_interval=40, queue_depth=2)


def random_groups(rng, spike_word, count):
    groups = []
    for _ in range(count):
        density = rng.choice([0.0, 0.1, 0.4, 0.9])
        spikes = rng.random((rng.integers(1, 6), LINE, spike_word)) < density
        groups.append([tuple(int(sum(1 << c for c in np.flatnonzero(word))) for word in words)
                       for words in spikes])
    return groups


@every_port
@pytest.mark.parametrize(("banks", "spike_word", "queue_depth"), [
    (1, 4, 2), (2, 8, 3), (3, 8, 4), (4, 4, 16), (4, 8, 2), (5, 16, 3)])
def test_random_groups(banks, spike_word, queue_depth, ports):
    rng = np.random.default_rng(banks * 100 + queue_depth)
    groups = random_groups(rng, spike_word, 30)
    check(groups, banks, spike_word, ports=ports, gap=int(rng.integers(0, 3)),
          queue_depth=queue_depth, last_interval=5)


@pytest.mark.parametrize("loading", [0.3, 1.0])
def test_a_second_port_that_writes_takes_no_event(loading):
    groups = random_groups(np.random.default_rng(1), 8, 20)
    result = check(groups, 2, 8, loading=loading, port_bits=64)
    seconds = sum(row != 0 for rows in result.rows for row in rows[1::2])
    assert (seconds == 0) == (loading == 1.0)


def test_groups_are_taken_with_permission_only():
    """`closed` tells that a group was taken, `last_tile` which one; its sum closes a cycle later.

    Bit planes need no permission, as they leave nothing behind.
    """
    groups = random_groups(np.random.default_rng(2), 8, 24)
    hardware = hardware_of(2, 8, port_bits=64, residual_words=0)
    bench = Bench(dut := Dispatch(hardware), max_cycles=20_000)
    bench.instruction(planes=2, samples=1, last_interval=4, word_stride=STRIDE)
    bench.source(dut.i, lines_of(groups, 4), 2)

    async def permit(ctx):
        for _ in range(12):
            ctx.set(dut.permit, 0)
            await ctx.tick().repeat(int(bench.rng.integers(1, 60)))
            ctx.set(dut.permit, 1)
            await ctx.tick().until(dut.closed)
    bench.sim.add_testbench(permit)
    taken = bench.record(dut.closed, dut.permit, dut.last_tile)
    every = bench.record(1, dut.o.payload)
    bench.run(extra=30)
    assert [(permitted, last) for _, permitted, last in taken] == [(1, 1)] * 12
    assert [cycle + 1 for cycle, *_ in taken] == [
        cycle for cycle, payload in every if payload["close"]]
    got, rows = [], [[], []]
    for _, payload in every:
        if payload["close"] or payload["shift"]:
            got.append([sorted(bank) for bank in rows])
            rows = [[], []]
        for slot, row in enumerate(plain(payload["rows"])):
            if row:
                rows[slot // 2].append(row)
    assert got == [rows_of(group, 2, 4) for group in groups]


def test_the_tile_of_each_group_is_known():
    """Groups of both kinds, several of which wait."""
    groups = [[line(1)]] * 20
    bench = Bench(dut := Dispatch(hardware_of(2, 8, port_bits=64, residual_words=0)))
    bench.instruction(planes=1, last_interval=9, word_stride=STRIDE)
    marks = [int(mark) for mark in np.random.default_rng(3).integers(2, size=20)]
    bench.source(dut.i, [{**each, "last_tile": mark}
                         for each, mark in zip(lines_of(groups, 4), marks)])
    bench.hold(dut.permit, 1)
    taken = bench.record(dut.closed, dut.last_tile)
    record_events(bench, dut, len(groups))
    bench.run()
    assert [mark for _, mark in taken] == marks
