# SPDX-License-Identifier: Apache-2.0
"""LIF neurons: edges around the threshold first, then everything that fits 12 bits."""

import numpy as np
import pytest
from amaranth import Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.lif import LIF, third
from tests.hw.harness import Bench, every_idle, small_hardware
from tests.hw.reference import lif

HARDWARE = small_hardware()
NEURONS, BEATS = HARDWARE.geometry.neurons, HARDWARE.geometry.beats


def fire(x, threshold, tau, idle=0, hardware=HARDWARE):
    """Spikes [T, channels] of x [T, channels] in one group of lanes, next timestep at once."""
    timesteps, channels = x.shape
    beats = channels // NEURONS
    bench = Bench(dut := LIF(hardware))
    bench.instruction(slow_tau=tau == 1.5)
    items = [{"values": x[t, b * NEURONS:(b + 1) * NEURONS].tolist(),
              "thresholds": threshold[b * NEURONS:(b + 1) * NEURONS].tolist(),
              "tag": {"beat": b, "first_timestep": t == 0, "position": t}}
             for t in range(timesteps) for b in range(beats)]
    bench.source(dut.i, items, idle, period=max(1, 4 - beats))
    sent = bench.record(dut.i.valid)
    got = bench.record(dut.o.valid, dut.o.payload)
    bench.run(extra=5)
    assert [cycle for cycle, _ in got] == [cycle + LIF.LATENCY for cycle, in sent]
    assert [(p["tag"]["beat"], p["tag"]["position"]) for _, p in got] == [
        (b, t) for t in range(timesteps) for b in range(beats)]
    spikes = [[p["spikes"] >> n & 1 for n in range(NEURONS)] for _, p in got]
    return np.array(spikes, bool).reshape(timesteps, channels)


def edge_inputs(theta, low, high):
    """All pairs of edge values, as [2 timesteps, pairs * 2], each pair in front of itself again."""
    edges = [low, -theta, -1, 0, 1, theta - 1, theta, theta + 1, high,
             (theta - 1) // 2, theta // 2, (theta + 1) // 2, 2 * theta - 1, 2 * theta]
    return np.array([(a, b, c) for a in edges for b in edges for c in (a, theta - 1, -1)]).T


@every_idle
@pytest.mark.parametrize("tau", [2.0, 1.5])
@pytest.mark.parametrize("theta", [1, 7, 8])
def test_edges_around_the_threshold(tau, theta, idle):
    x = edge_inputs(theta, -(1 << 13), (1 << 13) - 1)
    # The neurons at hand take the columns one after another, as groups of BEATS * NEURONS.
    size = BEATS * NEURONS
    x = np.concatenate([x, np.zeros((3, -x.shape[1] % size), np.int64)], 1)
    groups = x.reshape(3, -1, size).transpose(1, 0, 2).reshape(-1, size)
    threshold = np.full(size, theta)
    expected = np.concatenate([lif(group, threshold, tau) for group in groups.reshape(-1, 3, size)])
    got = fire_groups(groups, threshold, tau, idle)
    assert (got == expected).all()
    assert expected.any() and not expected.all()


def fire_groups(groups, threshold, tau, idle):
    """As `fire`, for [groups * 3 timesteps, channels]: the state starts anew every 3 timesteps."""
    bench = Bench(dut := LIF(HARDWARE), max_cycles=20_000)
    bench.instruction(slow_tau=tau == 1.5)
    bench.source(dut.i, [
        {"values": row[b * NEURONS:(b + 1) * NEURONS].tolist(),
         "thresholds": threshold[:NEURONS].tolist(),
         "tag": {"beat": b, "first_timestep": t % 3 == 0}}
        for t, row in enumerate(groups) for b in range(BEATS)], idle)
    got = bench.record(dut.o.valid, dut.o.payload.spikes)
    bench.run(extra=5)
    return np.array([[spikes >> n & 1 for n in range(NEURONS)] for _, spikes in got],
                    bool).reshape(groups.shape)


@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_one_beat_may_return_after_three_cycles(tau):
    x = np.array([[5, 6], [5, 6], [4, -5], [-9, 9], [3, 3]])
    threshold = np.array([8, 9])
    assert (fire(x, threshold, tau) == lif(x, threshold, tau)).all()


@every_idle
@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_random_currents(tau, idle):
    rng = np.random.default_rng(3)
    x = rng.integers(-60, 90, (16, BEATS * NEURONS))
    threshold = rng.integers(1, 100, BEATS * NEURONS)
    expected = lif(x, threshold, tau)
    assert (fire(x, threshold, tau, idle) == expected).all()
    assert 0.1 < expected.mean() < 0.9


def test_thresholds_below_zero():
    """A negative threshold (a BatchNorm with negative scale cannot make one, an export may)."""
    x = np.array([[-5, -4, -3, 0]] * 3)
    threshold = np.array([-4, -4, -4, -4])
    assert (fire(x, threshold, 2.0) == lif(x, threshold, 2.0)).all()


@every_idle
@pytest.mark.parametrize("tau", [2.0, 1.5])
def test_two_positions_take_turns(tau, idle):
    """Each has its own state: timestep by timestep, first the even one, then the odd one."""
    rng = np.random.default_rng(4)
    hardware = small_hardware(pairs=True)
    x = rng.integers(-60, 90, (12, 2, BEATS, NEURONS))
    threshold = rng.integers(1, 100, (BEATS, NEURONS))
    bench = Bench(dut := LIF(hardware))
    bench.instruction(slow_tau=tau == 1.5)
    bench.source(dut.i, [
        {"values": x[t, odd, b].tolist(), "thresholds": threshold[b].tolist(),
         "tag": {"beat": b, "odd": odd, "first_timestep": t == 0}}
        for t, odd, b in np.ndindex(x.shape[:3])], idle)
    got = bench.record(dut.o.valid, dut.o.payload.spikes)
    bench.run(extra=5)
    spikes = np.array([[spikes >> n & 1 for n in range(NEURONS)] for _, spikes in got], bool)
    expected = lif(x.reshape(12, -1), np.tile(threshold.ravel(), 2), tau).reshape(x.shape)
    assert (spikes.reshape(x.shape) == expected).all()
    assert 0.1 < expected.mean() < 0.9


def test_hardware_without_slow_tau_ignores_the_bit():
    x, threshold = np.array([[4, 5], [4, 5]]), np.array([8, 8])
    got = fire(x, threshold, 1.5, hardware=small_hardware(slow_tau=False))
    assert (got == lif(x, threshold, 2.0)).all()


class Third(wiring.Component):
    """`third` of a number of a given width."""

    def __init__(self, width):
        super().__init__({"i": In(signed(width)), "o": Out(signed(width))})

    def elaborate(self, platform):
        m = Module()
        # A domain of its own, which keeps the simulator's clock in use.
        m.d.sync += Signal().eq(1)
        m.d.comb += self.o.eq(third(self.i))
        return m


@pytest.mark.parametrize("width", [2, 3, 4, 5, 6, 8, 9, 12])
def test_third_is_exact_for_every_number(width):
    dut, got = Third(width), {}
    bench = Bench(dut)

    async def drive(ctx):
        for value in range(-(1 << width - 1), 1 << width - 1):
            ctx.set(dut.i, value)
            got[value] = ctx.get(dut.o)
    bench.sim.add_testbench(drive)
    bench.run()
    assert len(got) == 1 << width
    assert {v: q for v, q in got.items() if q != v // 3} == {}
