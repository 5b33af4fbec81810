# SPDX-License-Identifier: Apache-2.0
"""Lanes: each group's sum of weight rows, wherever the groups' boundaries fall."""

import numpy as np
import pytest

from hw.fetch import clear_cycles
from hw.lanes import LaneArray, WeightBanks, tree_levels
from tests.hw.harness import Bench, signed, small_hardware

ROWS = 12
ACC_WIDTH = 9
EXTREMES = {"lowest": -8, "highest": 7}


def weights_of(banks, lanes, seed=0, value=None):
    """Weights [bank, row, lane]; row 0 is zero, as the compiler makes it."""
    weights = np.random.default_rng(seed).integers(-8, 8, (banks, ROWS, lanes))
    if value is not None:
        weights[:] = value
    weights[:, 0] = 0
    return weights


def row_of(weights, bits=4):
    """A row of the memory: lane 0 in the low bits."""
    return sum((int(w) & (1 << bits) - 1) << n * bits for n, w in enumerate(weights))


def image_of(weights):
    return [[row_of(row) for row in bank] for bank in weights]


CONTROLS = {"": {}, "close": {"close": 1}, "shift": {"shift": 1},
            "negate": {"shift": 1, "negate": 1}, "no shift": {"negate": 1}, "fork": {"fork": 1},
            "resume": {"close": 1, "resume": 1}, "no resume": {"resume": 1}}


def events_of(rows, control):
    return {"rows": list(rows), "count": sum(row != 0 for row in rows), **CONTROLS[control]}


def accumulate(cycles, weights, ports=2):
    """Sums and event counts of the groups of [(rows, control)], one entry a cycle."""
    banks, _, lanes = weights.shape
    hardware = small_hardware(lanes=lanes, banks=banks, ports=ports, weight_rows=ROWS,
                              pairs=any("fork" in control for _, control in cycles))
    bench = Bench(dut := LaneArray(hardware, image_of(weights)))
    bench.hold(dut.interval, 1)
    bench.feed(dut.i.payload, [events_of(*cycle) for cycle in cycles])
    closed = bench.record(dut.i.payload.close)
    got = bench.record(dut.o.valid, dut.o.payload)
    every = bench.record(1, dut.o.payload)
    bench.run(extra=8)
    # Counted from the cycle in which `close` stands at the input.
    latency = tree_levels(hardware) + 3
    assert [cycle for cycle, _ in got] == [cycle + latency for cycle, in closed]
    # The sums stay until the next group's.
    held = None
    for cycle, payload in every:
        for when, new in got:
            if when == cycle:
                held = new
        assert held is None or payload == held
    return [(p["sums"], p["events"]) for _, p in got]


def expected_of(cycles, weights, ports=2):
    groups, total, events = [], np.zeros(weights.shape[2], int), 0
    nothing = kept = total, events
    for rows, control in cycles:
        if control == "fork":
            kept = total, events
        if control in ("close", "resume"):
            groups.append(([signed(int(value), ACC_WIDTH) for value in total], events))
            total, events = kept if control == "resume" else nothing
        total = {"shift": 2 * total, "negate": -2 * total}.get(control, total)
        total = total + sum(weights[slot // ports, row] for slot, row in enumerate(rows))
        events += sum(row != 0 for row in rows)
    return groups


def check(cycles, weights, ports=2):
    cycles = [*cycles, ([0] * len(weights) * ports, "close")]
    got = accumulate(cycles, weights, ports)
    assert got == expected_of(cycles, weights, ports)
    return got


EDGES = {
    "close-alone": [([0, 0, 0, 0], "close")],
    "events-with-the-close": [([1, 2, 3, 4], ""), ([3, 4, 5, 0], "close"), ([5, 6, 7, 8], "")],
    "close-in-every-cycle": [([1, 2, 3, 4], "close"), ([3, 4, 0, 0], "close"),
                             ([5, 6, 0, 1], "close"), ([0] * 4, "close"), ([7, 8, 9, 1], "close")],
    "idle-inside-a-group": [([1, 2, 3, 4], ""), ([0] * 4, ""), ([0] * 4, ""), ([3, 0, 0, 0], "")],
    "one-bank-only": [([1, 4, 0, 0], ""), ([2, 0, 0, 0], ""), ([0, 0, 3, 5], "close"),
                      ([0, 0, 3, 0], "")],
    "same-row-again": [([5, 5, 5, 5], "")] * 4,
    "last-rows": [([ROWS - 1] * 4, "")],
    "shift-alone": [([1, 0, 0, 0], ""), ([0] * 4, "shift"), ([0] * 4, "shift")],
    "events-with-the-shift": [([1, 0, 2, 0], ""), ([3, 0, 0, 4], "shift"), ([5, 6, 7, 8], "")],
    "negate-first": [([1, 0, 2, 0], ""), ([3, 4, 5, 6], "negate"), ([7, 0, 0, 8], "shift"),
                     ([0, 9, 0, 0], "close"), ([1, 0, 0, 0], "negate")],
    "shift-in-every-cycle": [([1, 0, 0, 0], ""), ([2, 0, 0, 0], "negate"), ([3, 0, 0, 0], "shift"),
                             ([4, 0, 0, 0], "close"), ([5, 0, 0, 0], "shift")],
    "pair": [([1, 2, 3, 4], ""), ([5, 0, 0, 6], "fork"), ([0, 7, 8, 0], "resume")],
    "pairs-in-every-cycle": [([1, 0, 0, 0], "close"), ([2, 0, 0, 0], "fork"),
                             ([3, 0, 0, 0], "resume"), ([4, 0, 0, 0], "close"),
                             ([5, 0, 0, 0], "fork"), ([0] * 4, "resume"), ([7, 0, 0, 0], "close")],
    "kept-for-long": [([1, 0, 2, 0], ""), ([0, 3, 0, 0], "fork"), ([4, 4, 4, 4], ""),
                      ([5, 0, 5, 0], "resume"), ([6, 0, 0, 0], ""), ([7, 7, 0, 0], "resume")],
    "resume-counts-with-a-close-only": [([1, 0, 2, 0], ""), ([0, 1, 0, 0], "fork"),
                                        ([3, 0, 0, 0], "no resume")],
    "negate-counts-with-a-shift-only": [([1, 0, 2, 0], ""), ([3, 0, 0, 0], "no shift")],
}


@pytest.mark.parametrize("cycles", EDGES.values(), ids=EDGES.keys())
def test_group_boundaries(cycles):
    check([([0] * 4, "close"), *cycles], weights_of(2, 4))


@pytest.mark.parametrize("interval", [1, 2, 7])
def test_one_finished_group_waits(interval):
    """Groups that close as closely as `Dispatch` lets them come `interval` cycles apart, whole."""
    weights, rng, backlog = weights_of(2, 4), np.random.default_rng(interval), interval
    cycles = [([0] * 4, "close")]
    for _ in range(200):
        close = backlog <= interval and rng.random() < 0.5
        backlog = max(0, backlog - 1) + interval * close
        cycles.append((rng.integers(1, ROWS, 4).tolist(), "close" if close else ""))
        if len(cycles) % 12 == 0:   # sums stay within their width
            cycles.append(([0] * 4, ""))
            backlog = max(0, backlog - 1)
    cycles = [(rows if number % 3 == 0 else [0] * 4, control)
              for number, (rows, control) in enumerate(cycles)]
    bench = Bench(dut := LaneArray(small_hardware(lanes=4, banks=2, ports=2, weight_rows=ROWS),
                                   image_of(weights)))
    bench.hold(dut.interval, interval)
    bench.feed(dut.i.payload, [events_of(*cycle) for cycle in cycles])
    got = bench.record(dut.o.valid, dut.o.payload)
    bench.run(extra=3 * interval + 8)
    assert [(p["sums"], p["events"]) for _, p in got] == expected_of(cycles, weights)
    assert min(np.diff([cycle for cycle, _ in got])) >= interval


@pytest.mark.parametrize("value", EXTREMES.values(), ids=EXTREMES.keys())
@pytest.mark.parametrize(("banks", "ports"), [(1, 1), (1, 2), (4, 2)])
def test_extreme_weights_reach_the_full_width(banks, ports, value):
    """The adder tree grows a bit per level, the accumulator has acc_width (9 here)."""
    slots = banks * ports
    weights = weights_of(banks, 4, value=value)
    (_, _), (sums, events) = check(
        [([0] * slots, "close")] + [([1] * slots, "")] * (32 // slots - (value > 0)), weights,
        ports)
    assert sums == [value * events] * 4   # nothing has wrapped


@pytest.mark.parametrize("value", EXTREMES.values(), ids=EXTREMES.keys())
def test_extreme_samples_reach_the_full_width(value):
    """All planes of 5-bit samples: -16 and 15 times the weight, by two's complement."""
    weights = weights_of(1, 4, value=value)
    for first in (1, 0):   # the plane of the sign alone, all others but it
        rest = 1 - first
        cycles = [([0, 0], "close"), ([first, 0], ""), ([rest, 0], "negate"),
                  *[([rest, 0], "shift")] * 3]
        _, (sums, _) = check(cycles, weights)
        assert sums == [value * (-16 if first else 15)] * 4


@pytest.mark.parametrize("ports", [1, 2])
@pytest.mark.parametrize(("banks", "lanes"), [(1, 4), (2, 8), (4, 4)])
def test_random_groups(banks, lanes, ports):
    rng, slots = np.random.default_rng(banks), banks * ports
    cycles = [([0] * slots, "close")]
    for _ in range(120):
        rows = rng.integers(1, ROWS, slots) * rng.integers(0, 2, slots)
        control = str(rng.choice(["", "", "", "", "close", "shift", "negate"]))
        cycles.append((rows.tolist(), control))
    check(cycles, weights_of(banks, lanes, seed=banks), ports)


@pytest.mark.parametrize("ports", [1, 2])
def test_weight_banks_read_in_one_cycle(ports):
    weights = weights_of(2, 4)
    bench = Bench(dut := WeightBanks(small_hardware(lanes=4, ports=ports, weight_rows=ROWS),
                                     image_of(weights)))
    rows = np.random.default_rng(1).integers(ROWS, size=(ROWS, 2 * ports)).tolist()
    bench.feed(dut.rows, rows, first=1)
    got = bench.record(1, dut.weights)
    bench.run(extra=2)
    images = image_of(weights)
    assert [row for _, row in got[2:ROWS + 2]] == [
        [images[slot // ports][row] for slot, row in enumerate(each)] for each in rows]


@pytest.mark.parametrize("ports", [1, 2])
@pytest.mark.parametrize("banks", [1, 2])
def test_rows_are_written_while_others_are_used(banks, ports):
    """Rows of the upper half change while those of the lower one are added, and the other way.

    A bank that writes lends its second port: it is told by `loading` one cycle before, and adds
    nothing that the port may read.
    """
    lanes, slots, half = 4, banks * ports, ROWS // 2
    rng = np.random.default_rng(banks)
    hardware = small_hardware(lanes=lanes, banks=banks, ports=ports, weight_rows=ROWS,
                              port_bits=64)
    weights = np.zeros((banks, ROWS, lanes), int)
    cycles, loads, expected = [], [], []   # in steps of one cycle
    total, events = np.zeros(lanes, int), 0
    for number in range(8):
        new = [(bank, row) for bank in range(banks)
               for row in range(number % 2 * half, (number % 2 + 1) * half) if row]
        pending = np.zeros_like(weights)
        for cycle in range(40):
            busy = -1
            load = {}
            if cycle < 36 and new and rng.random() < 0.6:
                busy, row = new.pop(int(rng.integers(len(new))))
                pending[busy, row] = rng.integers(-8, 8, lanes)
                load = {"en": 1, "select": busy, "address": row,
                        "data": row_of(pending[busy, row])}
            loads.append(load)
            # Written one cycle later, so events of the next cycle must know.
            rows = []
            for slot in range(slots):
                row = int(rng.integers(half)) + (1 - number % 2) * half
                used = rng.random() < 0.7 and not (slot % ports and busy == slot // ports)
                rows.append(row if used else 0)
            close = int(rng.random() < 0.2)
            if close:
                expected.append(([signed(int(value), ACC_WIDTH) for value in total], events))
                total, events = np.zeros(lanes, int), 0
            total = total + sum(weights[slot // ports, row] for slot, row in enumerate(rows))
            events += sum(row != 0 for row in rows)
            cycles.append(events_of(rows, "close" if close else ""))
        weights = np.where(pending.any(2)[:, :, None], pending, weights)
    bench = Bench(dut := LaneArray(hardware, []))
    bench.hold(dut.interval, 1)

    # Before that, as `hw.fetch` does it: row 0, which holds anything at power-up, becomes zero.
    clear = clear_cycles(hardware)
    first = 2 * banks + clear + 2

    async def load(ctx):
        ctx.set(dut.clearing, 1)
        for value in (row_of([5, -3, 7, -8]), 0):
            for bank in range(banks):
                for name, field in {"en": 1, "select": bank, "address": 0, "data": value}.items():
                    ctx.set(getattr(dut.load, name), field)
                await ctx.tick()
        ctx.set(dut.load.en, 0)
        await ctx.tick().repeat(clear)
        ctx.set(dut.clearing, 0)
        await ctx.tick().repeat(2)
        for fields in loads:
            for name, value in {"en": 0, **fields}.items():
                ctx.set(getattr(dut.load, name), value)
            await ctx.tick()
    bench.sim.add_testbench(load)
    bench.feed(dut.i.payload, cycles, first=first + 1)
    loading = bench.record(1, dut.loading)
    got = bench.record(dut.o.valid, dut.o.payload)
    bench.run(extra=8)
    assert [(p["sums"], p["events"]) for _, p in got] == expected
    assert [mask for _, mask in loading[first:first + len(loads)]] == [
        1 << fields["select"] if fields else 0 for fields in loads]
