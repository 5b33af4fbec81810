# SPDX-License-Identifier: Apache-2.0
"""Residual adder: rounding ties in both directions, saturation at both ends, exact counts."""

from itertools import product

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring

from hw.isa import Emit
from hw.residual import Residual
from tests.hw.harness import Bench, every_idle, small_hardware
from tests.hw.reference import requantize

HARDWARE = small_hardware()
NEURONS = HARDWARE.geometry.neurons
MAXIMUM = (1 << HARDWARE.residual_width - 1) - 1
LIMIT = 1 << HARDWARE.current_width - 1
LEFT = HARDWARE.shift_left


def beats_of(values, shifts, addresses):
    """Beats of `neurons` currents; the hardware's shift is that of the model plus shift_left."""
    return [{"values": [int(v) for v in row],
             "params": [{"shift": int(shift) + LEFT, "threshold": n + 7 * int(row[n] > 0)}
                        for n, shift in enumerate(shift_row)],
             "tag": {"residual": int(address), "beat": i % 4}}
            for i, (row, shift_row, address) in enumerate(zip(values, shifts, addresses))]


class Announced(wiring.Component):
    """`Residual` with the address of each beat a cycle ahead of it, as Current gives it."""

    LATENCY = Residual.LATENCY + 1

    def __init__(self, hardware):
        self._residual = residual = Residual(hardware)
        super().__init__({name: member for name, member in residual.signature.members.items()
                          if name != "address"})

    def elaborate(self, platform):
        m = Module()
        m.submodules.residual = residual = self._residual
        m.d.comb += [residual.instruction.eq(self.instruction), residual.clear.eq(self.clear),
                     residual.address.eq(self.i.payload.tag.residual),
                     self.saturations.eq(residual.saturations)]
        m.d.sync += [residual.i.payload.eq(self.i.payload), residual.i.valid.eq(self.i.valid)]
        wiring.connect(m, residual.o, wiring.flipped(self.o))
        return m


def process(beats, idle=0, period=1, add=True, emit=Emit.RESIDUAL, clear=None,
            hardware=HARDWARE):
    bench = Bench(dut := Announced(hardware), max_cycles=20_000)
    bench.instruction(emit=emit, add_residual=add)
    bench.source(dut.i, beats, idle, period)
    if clear is not None:
        bench.pulse(dut.clear, clear)
    sent = bench.record(dut.i.valid)
    got = bench.record(dut.o.valid, dut.o.payload)
    count = bench.record(1, dut.saturations)
    bench.run(extra=5)
    assert [cycle for cycle, _ in got] == [cycle + Announced.LATENCY for cycle, in sent]
    return [p for _, p in got], count[-1][1]


def expected_of(values, shifts, addresses, add=True):
    """Stream after each beat, and the number of saturated words."""
    memory, results, saturations = {}, [], 0
    for row, shift_row, address in zip(values, shifts, addresses):
        old = memory.get(address, np.zeros(NEURONS, np.int64)) if add else 0
        exact = old + requantize(np.array(row), np.array(shift_row))
        memory[address] = np.clip(exact, -MAXIMUM - 1, MAXIMUM)
        saturations += int((memory[address] != exact).sum())
        results.append(memory[address].tolist())
    return results, saturations


def check(values, shifts, addresses, idle=0, period=1, add=True):
    got, saturations = process(beats_of(values, shifts, addresses), idle, period, add)
    expected, count = expected_of(values, shifts, addresses, add)
    assert [p["values"] for p in got] == expected
    assert saturations == count
    return expected, count


SHIFTS = (-LEFT, -1, 0, 1, 2, 5, 15 - LEFT)


@every_idle
@pytest.mark.parametrize("shift", SHIFTS)
def test_rounding_at_every_edge(shift, idle):
    """Ties, both neighbours, both signs, and the ends of the current's range."""
    unit = 1 << max(shift, 0)
    edges = sorted({value for k in (-3, -2, -1, 0, 1, 2)
                    for d in (-1, 0, 1) for value in (k * unit + d, k * unit + unit // 2 + d)
                    if -LIMIT <= value < LIMIT} | {-LIMIT, LIMIT - 1})
    edges += [0] * (len(edges) % NEURONS)
    values = np.array(edges).reshape(-1, NEURONS)
    check(values, np.full(values.shape, shift), range(len(values)), idle, add=False)


def test_saturation_at_both_ends():
    """From each stored edge, a step to every value around each end."""
    stored = [-MAXIMUM - 1, -MAXIMUM, -1, 0, 1, MAXIMUM - 1, MAXIMUM]
    steps = [target - s + d for s in stored for target in (-MAXIMUM - 1, MAXIMUM)
             for d in (-2, -1, 0, 1, 2)]
    pairs = list(product(stored, sorted(set(steps))))
    values = np.array([[(old, -old - 1), (step, -step)] for old, step in pairs]).reshape(-1, 2)
    addresses = np.repeat(np.arange(len(pairs)) % 256, 2)
    # First write an old value (address starts at zero, the next use of it adds on), then add.
    shifts = np.zeros(values.shape, np.int64)
    expected, count = check(values, shifts, addresses.tolist(), period=4)
    flat = [value for row in expected for value in row]
    assert count > 50 and MAXIMUM in flat and -MAXIMUM - 1 in flat
    assert sum(value not in (MAXIMUM, -MAXIMUM - 1) for value in flat) > 50


def test_saturation_is_decided_after_rounding():
    """One half below the limit rounds beyond it; halves round up, so the low end differs."""
    values = [[2 * MAXIMUM + 1, -2 * MAXIMUM - 3], [2 * MAXIMUM, -2 * MAXIMUM - 4]]
    expected, count = check(np.array(values), np.ones((2, 2), np.int64), [0, 1], add=False)
    assert expected == [[MAXIMUM, -MAXIMUM - 1], [MAXIMUM, -MAXIMUM - 1]]
    assert count == 2


@every_idle
def test_random_stream(idle):
    rng = np.random.default_rng(1)
    count = 300
    values = rng.integers(-150, 200, (count, NEURONS))
    shifts = rng.integers(-LEFT, 5, (count, NEURONS))
    # A word returns after 4 cycles at the earliest.
    addresses = [i % 4 + 4 * int(rng.integers(2)) for i in range(count)]
    _, saturations = check(values, shifts, addresses, idle)
    assert saturations > 20


def test_without_addition_the_stream_starts_anew():
    values, shifts = np.array([[100, -100], [90, -90], [5, 6]]), np.zeros((3, 2), np.int64)
    expected, count = check(values, shifts, [4, 4, 4], period=4, add=False)
    assert expected == values.tolist() and count == 0


@every_idle
@pytest.mark.parametrize("emit", [Emit.SPIKES])
def test_other_layers_pass_unchanged(emit, idle):
    """Currents go to the LIF as they are, whatever the shift; nothing is stored or counted."""
    rng = np.random.default_rng(2)
    values = np.concatenate([[[-LIMIT, LIMIT - 1]], rng.integers(-LIMIT, LIMIT, (30, NEURONS))])
    beats = beats_of(values, rng.integers(-LEFT, 5, values.shape), [0] * len(values))
    got, saturations = process(beats, idle, emit=emit)
    assert [p["values"] for p in got] == values.tolist()
    assert [p["thresholds"] for p in got] == [
        [param["threshold"] for param in item["params"]] for item in beats]
    assert saturations == 0


def test_other_layers_do_not_touch_the_stream():
    bench = Bench(dut := Announced(HARDWARE))
    beats = beats_of(np.array([[9, -9], [50, 60], [1, 1]]), np.zeros((3, 2), np.int64), [0, 0, 0])
    bench.instruction(add_residual=1)

    async def switch(ctx):
        for emit in (Emit.RESIDUAL, Emit.SPIKES, Emit.RESIDUAL):
            ctx.set(dut.instruction.emit, emit)
            await ctx.tick().repeat(10)
    bench.sim.add_testbench(switch)
    bench.source(dut.i, beats, period=10)
    got = bench.record(dut.o.valid, dut.o.payload.values)
    bench.run()
    assert [values for _, values in got] == [[9, -9], [50, 60], [10, -8]]


def test_clear_restarts_the_count():
    values = np.full((3, 2), 1000)
    beats = beats_of(values, np.zeros((3, 2), np.int64), [0, 1, 2])
    assert process(beats)[1] == 6
    assert process(beats, clear=20)[1] == 0


def test_hardware_without_left_shift():
    hardware = small_hardware(shift_left=0)
    beats = [{"values": [7, -7], "params": [{"shift": 1}, {"shift": 1}], "tag": {}}]
    assert process(beats, hardware=hardware, add=False)[0][0]["values"] == [4, -3]
