# SPDX-License-Identifier: Apache-2.0
"""Pack and Pool: spike words in memory, and the OR over 3x3 windows for maps of every parity."""

import numpy as np
import pytest

from hw.network import pooled
from hw.pool import Pack, Pool
from tests.hw.harness import Bench, every_idle, small_hardware
from tests.hw.reference import pool

HARDWARE = small_hardware()
GEOMETRY = HARDWARE.geometry
WORD, BASE, HALF = GEOMETRY.spike_word, 7, 1
# Words of a group (a position at a timestep) come closely, groups keep 4 cycles per word.
WINDOWS = 4


def pool_words(spikes, pooling, idle=0, tiles=1, seed=0):
    """Memory contents after a map [T, C, H, W] went through, and what was written when."""
    rng = np.random.default_rng(seed)
    T, channels, height, width = spikes.shape
    words = channels // WORD
    columns = pooled(width) if pooling else width
    column_stride, row_stride = T * words, columns * T * words
    per_tile = words // tiles
    items = []
    for tile in range(tiles):
        for y in range(height):
            for x in range(width):
                for t in range(T):
                    for w in range(tile * per_tile, (tile + 1) * per_tile):
                        bits = spikes[t, w * WORD:(w + 1) * WORD, y, x]
                        row, column = (y // 2, x // 2) if pooling else (y, x)
                        target = BASE + row * row_stride + column * column_stride + t * words + w
                        items.append({
                            "spikes": int(sum(1 << c for c in np.flatnonzero(bits))),
                            "tag": {"target": target, "left": x == 0, "top": y == 0,
                                    "column": pooling and x % 2 == 1 and x < width - 1,
                                    "row": pooling and y % 2 == 1 and y < height - 1}})
    # What an earlier layer left behind must not show through.
    contents = {(HALF, address): (1 << WORD) - 1 for address in range(256)}
    bench = Bench(dut := Pool(HARDWARE), max_cycles=20_000)
    bench.instruction(fire=1, pool=pooling, target_half=HALF, column_stride=column_stride,
                      target_row_stride=row_stride)
    bench.spike_read(dut.read, contents)
    writes = bench.spike_write(dut.write, contents)

    async def drive(ctx):
        await ctx.tick().repeat(3)
        for group in range(0, len(items), per_tile):
            for item in items[group:group + per_tile]:
                ctx.set(dut.i.payload, item)
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
            ctx.set(dut.i.valid, 0)
            pause = WINDOWS * per_tile - per_tile + int(rng.integers(idle + 1))
            await ctx.tick().repeat(pause)
    bench.sim.add_testbench(drive)
    bench.wait(dut.idle)
    idles = bench.record(dut.idle)
    bench.run(extra=20)
    # `idle` may not come before the last write.
    busy_end = max(cycle for cycle, *_ in writes)
    assert not [cycle for cycle, in idles if cycle == busy_end]
    assert [cycle for cycle, in idles if cycle > busy_end]
    height_out, width_out = (pooled(height), columns) if pooling else (height, width)
    got = np.zeros((T, channels, height_out, width_out), bool)
    for y in range(height_out):
        for x in range(width_out):
            for t in range(T):
                for w in range(words):
                    word = contents[HALF, BASE + y * row_stride + x * column_stride + t * words + w]
                    got[t, w * WORD:(w + 1) * WORD, y, x] = [word >> c & 1 for c in range(WORD)]
    return got, writes, items


SIZES = [(1, 1), (1, 2), (2, 1), (1, 5), (5, 1), (2, 2), (3, 3), (2, 3), (4, 4), (3, 4), (5, 2)]


@every_idle
@pytest.mark.parametrize("size", SIZES, ids=[f"{h}x{w}" for h, w in SIZES])
@pytest.mark.parametrize("T", [1, 2])
def test_one_spike_reaches_its_windows_and_no_other(size, T, idle):
    """Every position alone, in the first timestep of the first channel, and all together."""
    height, width = size
    for position in range(height * width):
        spikes = np.zeros((T, WORD, height, width), bool)
        spikes[0, position % WORD].flat[position] = True
        got, _, _ = pool_words(spikes, True, idle)
        assert (got == pool(spikes)).all(), position
    spikes[:] = True
    assert pool_words(spikes, True, idle)[0].all()


@every_idle
@pytest.mark.parametrize(("T", "words", "tiles"), [(1, 1, 1), (1, 2, 1), (2, 2, 2), (3, 1, 1)],
                         ids=["T1-back-to-back", "2words", "2tiles", "T3"])
@pytest.mark.parametrize("size", [(4, 4), (5, 5), (3, 6)], ids=["4x4", "5x5", "3x6"])
def test_random_maps(size, T, words, tiles, idle):
    rng = np.random.default_rng(T)
    for density in (0.05, 0.3):
        spikes = rng.random((T, words * WORD, *size)) < density
        got, _, _ = pool_words(spikes, True, idle, tiles)
        assert (got == pool(spikes)).all()
        assert got.any() and (density > 0.1 or not got.all())


@every_idle
def test_without_pooling_words_go_straight_to_memory(idle):
    spikes = np.random.default_rng(4).random((2, 2 * WORD, 3, 3)) < 0.5
    got, writes, items = pool_words(spikes, False, idle)
    assert (got == spikes).all()
    assert [(address, word) for _, _, address, word in writes] == [
        (item["tag"]["target"], item["spikes"]) for item in items]


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
