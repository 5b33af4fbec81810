# SPDX-License-Identifier: Apache-2.0
"""Loader: samples to words, images and events, with any gaps, around a ring of rows too."""

import numpy as np
import pytest

from hw.loader import Loader
from sim.benches.maps import StoredMap
from tests.hw.harness import Bench, every_idle, small_hardware


def bench_of(samples, bits, rows=0, **changes):
    """A bench for raw numbers [H, W, T, C], the map they go to, and the samples as they come."""
    height, width, timesteps, channels = samples.shape
    target = StoredMap(1, 2, height, width, timesteps, rows=rows)
    bench = Bench(dut := Loader(small_hardware(
        spike_word=8, input_width=bits, in_channels=channels, **changes)), max_cycles=20_000)
    bench.instruction(height=height, width=width, timesteps=timesteps, **target.target(),
                      **({"target_window": 1} if rows else {}))
    return bench, dut, target, [int(value) & (1 << bits) - 1 for value in samples.reshape(-1)]


def words_of(samples, bits, target):
    """Word of each position and timestep by its place: channel 0 in the low bits."""
    mask = (1 << bits) - 1
    return {target.write(y, x, t): sum((int(samples[y, x, t, c]) & mask) << c * bits
                                       for c in range(samples.shape[3]))
            for y, x, t, _ in target.indices()}


def random_samples(shape, bits, signed, seed=0):
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    samples = np.random.default_rng(seed).integers(low, high, shape)
    samples.flat[0], samples.flat[-1] = low, high - 1
    return samples


CASES = {   # height, width, timesteps, channels
    "1x1-1bit": ((1, 1, 1, 1), 1, False), "1x1-3channels": ((1, 1, 1, 3), 2, False),
    "2x4-unsigned": ((2, 4, 1, 2), 4, False), "3x5-signed": ((3, 5, 1, 1), 6, True),
    "2x9-4channels": ((2, 9, 1, 4), 2, True), "events": ((2, 3, 3, 2), 2, False),
    "events-1bit": ((1, 6, 4, 2), 1, False), "events-signed": ((3, 1, 2, 2), 4, True)}


@every_idle
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_sample_in_its_place(case, idle):
    shape, bits, signed = case
    samples = random_samples(shape, bits, signed)
    bench, dut, target, flat = bench_of(samples, bits)
    contents = {}
    writes = bench.spike_write(dut.write, contents)
    bench.pulse(dut.start)
    bench.source(dut.i, flat, idle)
    done = bench.record(dut.done)
    bench.run(extra=5)
    assert contents == words_of(samples, bits, target)
    assert len(writes) == len(contents)
    assert [cycle for cycle, in done] == [writes[-1][0]]


def test_a_sample_per_cycle_and_one_idle_cycle_per_row():
    samples = random_samples((2, 3, 2, 2), 4, False)
    bench, dut, _, flat = bench_of(samples, 4)
    bench.source(dut.i, flat, first=1)
    bench.pulse(dut.start, 5)
    taken = bench.record(dut.i.valid & dut.i.ready)
    bench.run(extra=5)
    cycles = [cycle for cycle, in taken]
    assert cycles[0] == 7
    assert cycles[-1] - cycles[0] + 1 == len(flat) + 1


def test_nothing_is_taken_before_start_or_after_the_last_sample():
    samples = random_samples((1, 2, 1, 2), 3, False)
    bench, dut, _, flat = bench_of(samples, 3)
    bench.hold(dut.i.valid, 1)
    bench.hold(dut.i.payload, 7)
    bench.pulse(dut.start, 6)
    taken = bench.record(dut.i.valid & dut.i.ready)
    bench.run(extra=40)
    assert len(taken) == samples.size
    assert taken[0][0] == 8


def test_two_inferences():
    """The second one lands on the first one's addresses, not behind them."""
    first, second = (random_samples((2, 5, 2, 2), 3, True, seed) for seed in (1, 2))
    bench, dut, target, flat = bench_of(first, 3)
    contents, seen = {}, []
    bench.spike_write(dut.write, contents)
    bench.source(dut.i, flat + [int(value) & 7 for value in second.reshape(-1)])

    async def starts(ctx):
        for _ in range(2):
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            await ctx.tick().until(dut.done)
            await ctx.tick()
            seen.append(dict(contents))
            contents.clear()
    bench.sim.add_testbench(starts)
    bench.run()
    assert seen == [words_of(samples, 3, target) for samples in (first, second)]


@every_idle
@pytest.mark.parametrize("rows", [3, 4])
def test_rows_go_around_a_ring_that_has_room(rows, idle):
    """A row begins when there is room, and is complete when it is said to be."""
    samples = random_samples((7, 5, 2, 2), 3, True)
    bench, dut, target, flat = bench_of(samples, 3, rows, port_bits=64, spills_maps=True)
    contents, got = {}, {}
    bench.spike_write(dut.write, contents)
    bench.pulse(dut.start)
    bench.source(dut.i, flat, idle)
    begun, done = [], []
    words = [{target.write(y, x, t): sum((int(samples[y, x, t, c]) & 7) << c * 3 for c in range(2))
              for x in range(5) for t in range(2)} for y in range(7)]

    async def ring(ctx):
        free, cycle, left = False, 0, 0
        async for _, _, begin, row_done in ctx.tick().sample(dut.begin_row, dut.row_done):
            if begin:
                begun.append(free)
            if row_done:
                done.append(cycle)
            elif done and cycle == done[-1] + 1:
                # Gone to memory as soon as it is complete.
                got[len(done) - 1] = {place: contents.pop(place) for place in words[len(done) - 1]}
            cycle += 1
            left = int(bench.rng.integers(0, 60)) if begin else max(0, left - 1)
            free = not left
            ctx.set(dut.row_free, free)
    bench.sim.add_testbench(ring, background=True)
    bench.wait(dut.done)
    bench.run(extra=5)
    assert begun == [True] * 7 and len(done) == 7
    assert [got[y] for y in range(7)] == words
    assert not contents
