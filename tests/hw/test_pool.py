# SPDX-License-Identifier: Apache-2.0
"""Pack and Pool: spike words in memory, and the OR over 3x3 windows for maps of every parity."""

import numpy as np
import pytest

from hw.config import MIN_INTERVAL, POOL_ROWS
from hw.network import pooled
from hw.pool import Pack, Pool
from sim.benches.maps import StoredMap
from tests.hw.harness import Bench, every_idle, small_hardware
from tests.hw.reference import pool

HARDWARE = small_hardware()
GEOMETRY = HARDWARE.geometry
WORD, TILE_WORDS = GEOMETRY.spike_word, GEOMETRY.tile_words


def word_of(bits):
    return int(sum(1 << c for c in np.flatnonzero(bits)))


def target_of(spikes, pooling, grid=True, rows=0):
    """Where a map [T, C, H, W] goes, and its words in order: groups of (tag and spikes) items."""
    T, channels, height, width = spikes.shape
    size = (pooled(height), pooled(width)) if pooling else (height, width)
    words = channels // WORD
    target = StoredMap(1, 7, *size, T, words, grid, min(words, TILE_WORDS), rows)
    groups, step = [], 1 + pooling
    for first in range(0, words, TILE_WORDS):
        last_word = min(first + TILE_WORDS, words) - 1
        for y in range(height):
            for x in range(width):
                for t in range(T):
                    group = []
                    for w in range(first, last_word + 1):
                        _, bank, line = target.write(y // step, x // step, t, w)
                        column = pooling and x % 2 == 1 and x < width - 1
                        row = pooling and y % 2 == 1 and y < height - 1
                        slot = (w // TILE_WORDS * size[0] + y // step) % rows if rows else y // step
                        group.append({
                            "spikes": word_of(spikes[t, w * WORD:(w + 1) * WORD, y, x]),
                            "tag": {"target": line, "bank": bank, "left": x == 0, "top": y == 0,
                                    "column": column, "row": row,
                                    "around": slot == target.chip_rows - 1,
                                    "row_end": (x, t, w) == (width - 1, T - 1, last_word)
                                    and (not pooling or y % 2 == 1 or y == height - 1)}})
                    groups.append(group)
    return target, groups


def run_pool(target, groups, pooling, idle=0, seed=0):
    """Contents of each ring row or tile when `row_done` says so, and all writes."""
    rng = np.random.default_rng(seed)
    # What an earlier layer left behind must not show through.
    contents = {}
    bench = Bench(dut := Pool(HARDWARE), max_cycles=20_000)
    bench.instruction(fire=1, pool=pooling, **target.target())
    bench.spike_read(dut.read, contents)
    writes = bench.spike_write(dut.write, contents)
    done = []

    async def watch(ctx):
        async for _, _, row_done in ctx.tick().sample(dut.row_done):
            if done and done[-1] is None:
                done[-1] = dict(contents)   # with what was written in that cycle
            if row_done:
                done.append(None)
    bench.sim.add_testbench(watch, background=True)

    async def drive(ctx):
        await ctx.tick().repeat(3)
        for group in groups:
            for item in group:
                ctx.set(dut.i.payload, item)
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
            ctx.set(dut.i.valid, 0)
            pause = (POOL_ROWS - 1) * len(group) + int(rng.integers(idle + 1))
            pause = max(pause, MIN_INTERVAL - len(group))
            await ctx.tick().repeat(pause)
    bench.sim.add_testbench(drive)
    bench.wait(dut.idle)
    idles = bench.record(dut.idle)
    bench.run(extra=20)
    # `idle` may not come before the last write.
    busy_end = max(cycle for cycle, *_ in writes)
    assert not [cycle for cycle, in idles if cycle == busy_end]
    assert [cycle for cycle, in idles if cycle > busy_end]
    assert {place[0] for _, place, _ in writes} == {target.half}
    return done, writes


def pool_words(spikes, pooling, idle=0, grid=True, rows=0):
    """The map that is in memory, row by row and tile by tile as each was said to be complete."""
    target, groups = target_of(spikes, pooling, grid, rows)
    done, writes = run_pool(target, groups, pooling, idle)
    got = np.zeros((target.steps, spikes.shape[1], target.height, target.width), bool)
    tiles = -(-target.words // TILE_WORDS)
    assert len(done) == tiles * target.height
    for y, x, t, w in target.indices():
        contents = done[w // TILE_WORDS * target.height + y]
        word = contents[target.write(y, x, t, w)]
        got[t, w * WORD:(w + 1) * WORD, y, x] = [word >> c & 1 for c in range(WORD)]
    return got, writes


SIZES = [(1, 1), (1, 2), (2, 1), (1, 5), (5, 1), (2, 2), (3, 3), (2, 3), (4, 4), (3, 4), (5, 2)]
every_size = pytest.mark.parametrize("size", SIZES, ids=[f"{h}x{w}" for h, w in SIZES])


@every_idle
@every_size
def test_one_spike_reaches_its_windows_and_no_other(size, idle):
    """Every position alone, in a word of its own, in the first of two timesteps."""
    height, width = size
    positions = height * width
    spikes = np.zeros((2, positions, WORD, positions), bool)
    for position in range(positions):
        spikes[0, position, position % WORD, position] = True
    spikes = spikes.reshape(2, positions * WORD, height, width)
    got, _ = pool_words(spikes, True, idle)
    assert (got == pool(spikes)).all()


@every_size
def test_everything_spikes(size):
    assert pool_words(np.ones((1, WORD, *size), bool), True)[0].all()


@every_idle
@pytest.mark.parametrize(("T", "words"), [(1, 1), (1, 2), (2, 3), (3, 1)],
                         ids=["T1-back-to-back", "2words", "2tiles", "T3"])
@pytest.mark.parametrize(("size", "rows"), [((4, 4), 0), ((5, 17), 0), ((13, 5), 3), ((10, 11), 4)],
                         ids=["4x4", "5x17", "ring3of7", "ring4of5"])
def test_random_maps(size, T, words, rows, idle):
    """Whole maps, and a ring of rows in which the two rows of a position may be far apart."""
    rng = np.random.default_rng(T)
    spikes = rng.random((T, words * WORD, *size)) < 0.12
    got, _ = pool_words(spikes, True, idle, True, rows)
    assert (got == pool(spikes)).all()
    assert got.any() and not got.all()


@every_idle
@pytest.mark.parametrize(("grid", "rows"), [(True, 0), (False, 0), (True, 2)],
                         ids=["grid", "token", "ring"])
def test_without_pooling_words_go_straight_to_memory(grid, rows, idle):
    spikes = np.random.default_rng(4).random((2, 3 * WORD, 5, 3)) < 0.5
    got, writes = pool_words(spikes, False, idle, grid, rows)
    assert (got == spikes).all()
    target, groups = target_of(spikes, False, grid, rows)
    assert [(place, word) for _, place, word in writes] == [
        ((target.half, item["tag"]["bank"], item["tag"]["target"]), item["spikes"])
        for group in groups for item in group]


def test_layers_without_a_lif_write_nothing():
    bench = Bench(dut := Pool(HARDWARE))
    bench.instruction(fire=0)
    bench.source(dut.i, [{"spikes": 15}] * 3)
    writes = bench.spike_write(dut.write, {})
    bench.run(extra=10)
    assert not writes


@every_idle
@pytest.mark.parametrize("neurons", [1, 2, 4])
def test_pack_joins_beats_lowest_channel_first(neurons, idle):
    hardware = small_hardware(lanes=8, neurons=neurons)
    per_word = WORD // neurons
    rng = np.random.default_rng(neurons)
    words = [1, 8, 15, 0, *rng.integers(0, 16, 9).tolist()]
    beats = [{"spikes": word >> part * neurons & (1 << neurons) - 1,
              "tag": {"beat": (i * per_word + part) % hardware.geometry.beats, "target": i}}
             for i, word in enumerate(words) for part in range(per_word)]
    bench = Bench(dut := Pack(hardware))
    bench.source(dut.i, beats, idle)
    sent = bench.record(dut.i.valid)
    got = bench.record(dut.o.valid, dut.o.payload)
    bench.run(extra=5)
    assert [(p["spikes"], p["tag"]["target"]) for _, p in got] == [
        (word, i) for i, word in enumerate(words)]
    ends = [cycle for cycle, in sent][per_word - 1::per_word]
    assert [cycle for cycle, _ in got] == [cycle + Pack.LATENCY for cycle in ends]
