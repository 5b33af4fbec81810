# SPDX-License-Identifier: Apache-2.0
"""Readout: logits with their shift, then the counters, under backpressure."""

import numpy as np
import pytest

from hw.readout import Readout
from tests.hw.harness import Bench, every_gap, small_hardware

HARDWARE = small_hardware()
WIDTH = HARDWARE.logit_width


def read_out(logits, counters, shift=0, gap=0, runs=1):
    """Output words (data, last) and the number of `done` pulses."""
    bench = Bench(dut := Readout(HARDWARE))
    done = bench.record(dut.done, dut.o.valid & dut.o.ready & dut.o.payload.last)

    async def drive(ctx):
        fields = {"outputs": len(logits), "counters": len(counters), "logit_shift": shift}
        for _ in range(runs):
            for channel, value in enumerate(logits):
                ctx.set(dut.logits.payload, {"value": value, "channel": channel})
                ctx.set(dut.logits.valid, 1)
                await ctx.tick()
            ctx.set(dut.logits.valid, 0)
            for layer, (acs, cycles, saturations) in enumerate(counters):
                ctx.set(dut.instruction, {**fields, "layer": layer})
                for port, value in ((dut.acs, acs), (dut.cycles, cycles),
                                    (dut.saturations, saturations)):
                    ctx.set(port, value)
                ctx.set(dut.report, 1)
                await ctx.tick()
                # Counters may go on, and count what belongs to the next layer.
                ctx.set(dut.report, 0)
                ctx.set(dut.acs, 12345)
                await ctx.tick()
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            await ctx.tick().until(dut.done)
    bench.sim.add_testbench(drive)
    got = bench.sink(dut.o, runs * (len(logits) + 3 * len(counters)), gap)
    valid = bench.record(dut.o.valid & dut.o.ready)
    bench.run(extra=10)
    assert len(valid) == len(got)
    assert all(last for _, last in done)
    return [(word["data"], word["last"]) for word in got], len(done)


def expected_of(logits, counters):
    words = [*logits, *(value for layer in counters for value in layer)]
    return [(value, int(i == len(words) - 1)) for i, value in enumerate(words)]


COUNTERS = [(1, 2, 3), ((1 << 40) - 1, (1 << 40) - 2, (1 << 40) - 3), (0, 7, 0)]


@every_gap
@pytest.mark.parametrize("classes", [1, 2, 3, 10])
@pytest.mark.parametrize("layers", [1, 3, 6])
def test_logits_then_counters(classes, layers, gaps):
    rng = np.random.default_rng(classes)
    limit = 1 << WIDTH - 1
    logits = [-limit, limit - 1, *rng.integers(-limit, limit, 8).tolist()][:classes]
    counters = [*COUNTERS, *COUNTERS][:layers]
    got, done = read_out(logits, counters, gap=gaps[1])
    assert got == expected_of(logits, counters)
    assert done == 1


@pytest.mark.parametrize("shift", [0, 1, 2, 7])
def test_shift_removes_the_fraction(shift):
    logits = [value << shift for value in (0, 1, -1, 5, -100)]
    got, _ = read_out(logits, COUNTERS, shift)
    assert [value for value, _ in got[:5]] == [0, 1, -1, 5, -100]


@every_gap
def test_again_without_reset(gaps):
    got, done = read_out([3, -4, 5], COUNTERS, gap=gaps[1], runs=2)
    assert got == 2 * expected_of([3, -4, 5], COUNTERS)
    assert done == 2


def test_payload_waits_until_it_is_taken():
    bench = Bench(dut := Readout(HARDWARE))
    bench.instruction(outputs=2, counters=1)
    bench.source(dut.logits, [{"value": 5, "channel": 0}])
    bench.pulse(dut.start, 10)
    got = bench.record(dut.o.valid, dut.o.payload.data)
    bench.run(extra=15)
    assert got and {value for _, value in got} == {5}
