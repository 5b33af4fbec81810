# SPDX-License-Identifier: Apache-2.0
"""Lanes: each group's sum of weight rows, wherever the groups' boundaries fall."""

import numpy as np
import pytest

from hw.lanes import LaneArray, WeightBanks
from tests.hw.harness import Bench, small_hardware

ROWS = 12
EXTREMES = {"lowest": -8, "highest": 7}


def weights_of(banks, lanes, seed=0, value=None):
    """Weights [bank, row, lane]; row 0 is zero, as the compiler makes it."""
    weights = np.random.default_rng(seed).integers(-8, 8, (banks, ROWS, lanes))
    if value is not None:
        weights[:] = value
    weights[:, 0] = 0
    return weights


def image_of(weights, bits=4):
    return [[sum((int(w) & (1 << bits) - 1) << n * bits for n, w in enumerate(row))
             for row in bank] for bank in weights]


def accumulate(cycles, weights):
    """Sums and event counts of the groups of [(rows, close)], one entry a cycle."""
    banks, _, lanes = weights.shape
    hardware = small_hardware(lanes=lanes, banks=banks, weight_rows=ROWS)
    bench = Bench(dut := LaneArray(hardware, image_of(weights)))
    bench.feed(dut.i.payload, [{"rows": list(rows), "count": sum(row != 0 for row in rows),
                                "close": close} for rows, close in cycles])
    closed = bench.record(dut.i.payload.close)
    got = bench.record(dut.o.valid, dut.o.payload)
    every = bench.record(1, dut.o.payload)
    bench.run(extra=8)
    # Latency 4, counted from the cycle in which `close` stands at the input.
    assert [cycle for cycle, _ in got] == [cycle + 3 for cycle, in closed]
    # The sums stay until the next group's.
    held = None
    for cycle, payload in every:
        for when, new in got:
            if when == cycle:
                held = new
        assert held is None or payload == held
    return [(p["sums"], p["events"]) for _, p in got]


def expected_of(cycles, weights):
    groups, total, events = [], np.zeros(weights.shape[2], int), 0
    for rows, close in cycles:
        if close:
            groups.append((total.tolist(), events))
            total, events = np.zeros_like(total), 0
        total = total + sum(weights[bank, row] for bank, row in enumerate(rows))
        events += sum(row != 0 for row in rows)
    return groups


def check(cycles, weights):
    cycles = [*cycles, ([0] * len(weights), 1)]
    assert accumulate(cycles, weights) == expected_of(cycles, weights)


EDGES = {
    "close-alone": [([0, 0], 1)],
    "events-with-the-close": [([1, 2], 0), ([3, 4], 1), ([5, 6], 0)],
    "close-in-every-cycle": [([1, 2], 1), ([3, 4], 1), ([5, 6], 1), ([0, 0], 1), ([7, 8], 1)],
    "idle-inside-a-group": [([1, 2], 0), ([0, 0], 0), ([0, 0], 0), ([3, 0], 0)],
    "one-bank-only": [([1, 0], 0), ([2, 0], 0), ([0, 3], 1), ([0, 3], 0)],
    "same-row-again": [([5, 5], 0)] * 4,
    "last-rows": [([ROWS - 1, ROWS - 1], 0)],
}


@pytest.mark.parametrize("cycles", EDGES.values(), ids=EDGES.keys())
def test_group_boundaries(cycles):
    check([([0, 0], 1), *cycles], weights_of(2, 4))


@pytest.mark.parametrize("value", EXTREMES.values(), ids=EXTREMES.keys())
@pytest.mark.parametrize("banks", [1, 2, 4])
def test_extreme_weights_reach_the_full_width(banks, value):
    """The adder tree grows a bit per level, the accumulator has acc_width (9 here)."""
    check([([0] * banks, 1)] + [([1] * banks, 0)] * (32 // banks - (value > 0)),
          weights_of(banks, 4, value=value))


@pytest.mark.parametrize(("banks", "lanes"), [(1, 4), (2, 8), (4, 4)])
def test_random_groups(banks, lanes):
    rng = np.random.default_rng(banks)
    cycles = [([0] * banks, 1)]
    for _ in range(120):
        rows = rng.integers(1, ROWS, banks) * rng.integers(0, 2, banks)
        cycles.append((rows.tolist(), int(rng.integers(5) == 0)))
    check(cycles, weights_of(banks, lanes, seed=banks))


def test_weight_banks_read_in_one_cycle():
    weights = weights_of(2, 4)
    bench = Bench(dut := WeightBanks(small_hardware(lanes=4, weight_rows=ROWS),
                                     image_of(weights)))
    bench.feed(dut.rows, [[row, ROWS - 1 - row] for row in range(ROWS)], first=1)
    got = bench.record(1, dut.weights)
    bench.run(extra=2)
    images = image_of(weights)
    assert [row for _, row in got[2:ROWS + 2]] == [
        [images[0][row], images[1][ROWS - 1 - row]] for row in range(ROWS)]
