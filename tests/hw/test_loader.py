# SPDX-License-Identifier: Apache-2.0
"""Loader: samples to bit planes, images and events, with any gaps."""

import numpy as np
import pytest

from hw.loader import Loader
from tests.hw.harness import Bench, every_idle, small_hardware

BASE, HALF = 2, 0


def load(samples, bits, idle=0, runs=1):
    """Contents after [T, H, W, C] raw numbers (two's complement), and the bench's findings."""
    T, height, width, channels = samples.shape
    bench = Bench(dut := Loader(small_hardware(input_width=bits, in_channels=channels)))
    bench.instruction(height=height, width=width, timesteps=T, position_stride=T * bits,
                      target_base=BASE, target_half=HALF)
    flat = [int(value) & (1 << bits) - 1 for value in samples.reshape(-1)]
    contents = {}
    writes = bench.spike_write(dut.write, contents)
    bench.pulse(dut.start)
    for run in range(1, runs):
        bench.pulse(dut.start, 2 + run * len(flat) * (bits + 2 + idle))
    bench.source(dut.i, flat * runs, idle)
    done = bench.record(dut.done)
    bench.wait(dut.done)
    taken = bench.record(dut.i.valid & dut.i.ready)
    bench.run(extra=bits + 5)
    return contents, writes, [cycle for cycle, in done], [cycle for cycle, in taken]


def planes_of(samples, bits):
    """Most significant plane first; channel c is bit c of the word."""
    T, height, width, channels = samples.shape
    return {(HALF, BASE + (y * width + x) * T * bits + t * bits + plane):
            sum((int(samples[t, y, x, c]) >> bits - 1 - plane & 1) << c for c in range(channels))
            for t in range(T) for y in range(height) for x in range(width)
            for plane in range(bits)}


def random_samples(shape, bits, signed, seed=0):
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    samples = np.random.default_rng(seed).integers(low, high, shape)
    samples.flat[0], samples.flat[-1] = low, high - 1
    return samples


CASES = {
    "1x1-1bit": ((1, 1, 1, 1), 1, False), "1x1-3channels": ((1, 1, 1, 3), 4, False),
    "2x3-unsigned": ((1, 2, 3, 3), 5, False), "3x2-signed": ((1, 3, 2, 1), 6, True),
    "4channels-signed": ((1, 2, 2, 4), 3, True), "events": ((3, 2, 3, 2), 2, False),
    "events-1bit": ((4, 1, 2, 2), 1, False), "events-signed": ((2, 3, 1, 3), 4, True)}


@every_idle
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_planes(case, idle):
    shape, bits, signed = case
    samples = random_samples(shape, bits, signed)
    contents, writes, done, _ = load(samples, bits, idle)
    assert contents == planes_of(samples, bits)
    assert len(writes) == len(contents)
    assert done == [writes[-1][0]]


def test_channels_samples_then_as_many_cycles_as_planes():
    samples = random_samples((1, 2, 3, 3), 5, False)
    _, _, done, taken = load(samples, 5)
    # The first sample waits for `start`; the last pixel's planes follow its last sample.
    pixels = 6
    assert done[0] - taken[0] + 1 == pixels * (3 + 5)
    assert done[0] - taken[-1] == 5


def test_nothing_is_taken_before_start_or_after_the_last_sample():
    samples = random_samples((1, 1, 2, 2), 3, False)
    bench = Bench(dut := Loader(small_hardware(input_width=3, in_channels=2)))
    bench.instruction(height=1, width=2, timesteps=1, position_stride=3)
    bench.hold(dut.i.valid, 1)
    bench.hold(dut.i.payload, 7)
    bench.pulse(dut.start, 6)
    taken = bench.record(dut.i.valid & dut.i.ready)
    bench.run(extra=40)
    assert len(taken) == samples.size
    assert taken[0][0] == 7


def test_two_inferences():
    """The second one lands on the first one's addresses, not behind them."""
    samples = random_samples((2, 2, 2, 2), 3, True)
    contents, writes, done, _ = load(samples, 3, runs=2)
    assert contents == planes_of(samples, 3)
    assert len(done) == 2 and len(writes) == 2 * len(contents)
