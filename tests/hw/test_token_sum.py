# SPDX-License-Identifier: Apache-2.0
"""Token sums: exact sums at the ends of the residual's range, and their bit planes."""

import numpy as np
import pytest

from hw.token_sum import TokenSum
from sim.benches.maps import StoredMap
from tests.hw.harness import Bench, every_idle, small_hardware


def map_of(planes, words):
    return StoredMap(1, 9, 1, 1, planes, words, False)


def sum_and_flush(values, planes, hardware, idle=0, token_sum=1, gap=4):
    """Memory contents after residual values [tokens * T, channels] were added up and flushed."""
    neurons = hardware.geometry.neurons
    beats = values.shape[1] // neurons
    bench = Bench(dut := TokenSum(hardware))
    bench.instruction(token_sum=token_sum, planes=planes, residual_stride=beats,
                      **map_of(planes, values.shape[1] // hardware.geometry.spike_word).target())
    items = [{"values": row[b * neurons:(b + 1) * neurons].tolist(),
              "tag": {"channel_beat": b, "first_token": i == 0}}
             for i, row in enumerate(values) for b in range(beats)]
    bench.source(dut.i, items, idle)
    contents = {}
    writes = bench.spike_write(dut.write, contents)
    start = 10 + len(items) * (idle + 1)
    bench.pulse(dut.start, start)
    done = bench.record(dut.done)
    bench.wait(dut.done)
    bench.run(extra=5)
    assert [cycle for cycle, in done] == [start + planes * beats + 1]
    assert writes[-1][0] == done[0][0]
    return contents


def planes_of(sums, planes, word):
    """Expected contents: most significant plane first, words of channels inside."""
    target = map_of(planes, len(sums) // word)
    return {target.write(0, 0, plane, w): sum(
        (int(total) >> planes - 1 - plane & 1) << c
        for c, total in enumerate(sums[w * word:(w + 1) * word]))
        for _, _, plane, w in target.indices()}


@every_idle
@pytest.mark.parametrize("channels", [4, 16, 24])
@pytest.mark.parametrize("neurons", [1, 2, 4])
def test_planes_of_sums(neurons, channels, idle):
    hardware = small_hardware(lanes=8, neurons=neurons, token_sum_words=24)
    rng = np.random.default_rng(channels)
    values = rng.integers(-128, 128, (6, channels))
    planes = 11
    got = sum_and_flush(values, planes, hardware, idle)
    assert got == planes_of(values.sum(0), planes, 4)


def test_extremes_fill_the_width():
    """64 residuals of 8 bits at both ends reach exactly 14 bits."""
    hardware = small_hardware()
    values = np.tile([-128, 127, -1, 0], (64, 1))
    got = sum_and_flush(values, hardware.token_sum_width, hardware)
    assert values.sum(0)[0] == -(1 << hardware.token_sum_width - 1)
    assert got == planes_of(values.sum(0), hardware.token_sum_width, 4)


def test_one_beat_per_cycle_on_the_same_channels():
    hardware = small_hardware(lanes=8, neurons=4)
    values = np.random.default_rng(2).integers(-128, 128, (9, 4))
    assert sum_and_flush(values, 12, hardware) == planes_of(values.sum(0), 12, 4)


def test_the_first_token_forgets_the_sum_before():
    hardware = small_hardware()
    bench = Bench(dut := TokenSum(hardware))
    bench.instruction(token_sum=1, planes=8, residual_stride=2, **map_of(8, 1).target())
    bench.source(dut.i, [{"values": [50, 60], "tag": {"channel_beat": b, "first_token": 1}}
                         for b in range(2)])
    bench.source(dut.i, [{"values": [1 + b, 2], "tag": {"channel_beat": b, "first_token": 1}}
                         for b in range(2)], first=20)
    contents = {}
    bench.spike_write(dut.write, contents)
    bench.pulse(dut.start, 40)
    bench.wait(dut.done)
    bench.run(extra=3)
    assert contents == planes_of([1, 2, 2, 2], 8, 4)


def test_other_layers_do_not_count():
    hardware = small_hardware()
    values = np.full((3, 4), 5)
    assert sum_and_flush(values, 8, hardware, token_sum=0) == planes_of([0] * 4, 8, 4)
