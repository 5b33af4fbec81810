# SPDX-License-Identifier: Apache-2.0
"""Gather: every word of every in-bounds tap, in order, whatever the map's shape."""

import numpy as np
import pytest

from hw.gather import Gather
from tests.hw.harness import Bench, every_gap, small_hardware

HARDWARE = small_hardware()
SLICE = HARDWARE.geometry.slice_bits
BASE, HALF, WEIGHT_BASE = 5, 1, 7


def walk(height, width, kernel3, words=1, steps=1, tiles=1):
    """Instruction fields, and the expected sequence of (address, row, last)."""
    rows = words * 2
    fields = {
        "source_half": HALF, "source_base": BASE, "source_words": words, "steps": steps,
        "position_stride": steps * words, "row_stride": width * steps * words,
        "height": height, "width": width, "kernel3": kernel3, "weight_base": WEIGHT_BASE,
        "tap_stride": rows, "row_tap_stride": 3 * rows if kernel3 else 0,
        "tile_stride": rows * (9 if kernel3 else 1), "tiles": tiles}
    expected = []
    for tile in range(tiles):
        for y in range(height):
            for x in range(width):
                taps = [(0, y, x)]
                if kernel3:
                    taps = [(3 * ky + kx, y + ky - 1, x + kx - 1) for ky in range(3)
                            for kx in range(3)
                            if 0 <= y + ky - 1 < height and 0 <= x + kx - 1 < width]
                for step in range(steps):
                    group = [(BASE + ((v * width + u) * steps + step) * words + word,
                              WEIGHT_BASE + tile * fields["tile_stride"] + tap * rows
                              + word * SLICE) for tap, v, u in taps for word in range(words)]
                    expected += [(*item, i == len(group) - 1) for i, item in enumerate(group)]
    return fields, expected


SHAPES = {
    "1x1": (1, 1, True), "1x1-kernel1": (1, 1, False), "1x2": (1, 2, True), "2x1": (2, 1, True),
    "1x5": (1, 5, True), "4x1": (4, 1, True), "2x2": (2, 2, True), "3x3": (3, 3, True),
    "3x3-kernel1": (3, 3, False), "4x3-2words": (4, 3, True, 2),
    "2x3-kernel1-3words": (2, 3, False, 3), "3x2-2steps": (3, 2, True, 1, 2),
    "2x3-3words-2steps-2tiles": (2, 3, True, 3, 2, 2), "1x1-3tiles": (1, 1, True, 1, 1, 3),
    "3x1-kernel1-2steps-3tiles": (3, 1, False, 2, 2, 3)}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def contents_of(expected, seed=0):
    rng = np.random.default_rng(seed)
    return {(HALF, address): int(rng.integers(1 << HARDWARE.geometry.spike_word))
            for address, _, _ in expected}


@every_gap
@every_shape
def test_words_in_order(shape, gaps):
    fields, expected = walk(*shape)
    contents = contents_of(expected)
    bench = Bench(dut := Gather(HARDWARE))
    bench.instruction(**fields)
    bench.spike_read(dut.memory, contents)
    bench.pulse(dut.start)
    got = bench.sink(dut.o, len(expected), gaps[1])
    after = bench.record(dut.o.valid & dut.o.ready)
    bench.run(extra=10)
    assert [(word["spikes"], word["row"], word["last"]) for word in got] == [
        (contents[HALF, address], row, last) for address, row, last in expected]
    assert len(after) == len(expected)


@every_shape
def test_one_word_per_cycle_and_one_idle_cycle_per_position(shape):
    height, width, kernel3, words, steps, tiles = (*shape, 1, 1, 1)[:6]
    fields, expected = walk(*shape)
    bench = Bench(dut := Gather(HARDWARE))
    bench.instruction(**fields)
    bench.spike_read(dut.memory, contents_of(expected))
    bench.hold(dut.o.ready, 1)
    bench.pulse(dut.start)
    started = bench.record(dut.start)
    words = bench.record(dut.o.valid)
    bench.run(extra=len(expected) + height * width * tiles + 20)
    positions = height * width * tiles
    assert words[-1][0] - words[0][0] + 1 == len(expected) + positions - 1
    # Idle, then the position, then the read.
    assert words[0][0] - started[0][0] == 3


def test_runs_again():
    """The second layer starts from its own bases, not from where the first one ended."""
    fields, expected = walk(2, 3, True, 2, 2, 2)
    contents = contents_of(expected)
    bench = Bench(dut := Gather(HARDWARE))
    bench.instruction(**fields)
    bench.spike_read(dut.memory, contents)
    bench.hold(dut.o.ready, 1)
    bench.pulse(dut.start, 2)
    bench.pulse(dut.start, 500)
    got = bench.record(dut.o.valid, dut.o.payload)
    bench.run(extra=500)
    assert [(p["spikes"], p["row"], p["last"]) for _, p in got] == 2 * [
        (contents[HALF, address], row, last) for address, row, last in expected]
