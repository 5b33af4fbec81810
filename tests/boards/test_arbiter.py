# SPDX-License-Identifier: Apache-2.0
"""Several masters on one memory: reads come to who asked, and writes are words in their order."""

import numpy as np
import pytest

from boards.arbiter import ReadArbiter, WordWriter, WriteMerge
from tests.hw.harness import Bench, every_gap

BITS = 64


@pytest.mark.parametrize("count", [2, 3])
@every_gap
def test_reads(count, gaps):
    """Bursts of 1 to 8 beats; a beat says whose it is, of which burst, and which of it."""
    rng = np.random.default_rng(count)
    bench = Bench(dut := ReadArbiter(BITS, count))
    bursts = [[(number << 16 | n << 8, int(rng.integers(1, 9))) for n in range(12)]
              for number in range(count)]
    got = []
    for master, each in zip(dut.masters, bursts):
        bench.source(master.ar, [{"addr": address, "len": beats - 1, "burst": 1, "size": 3}
                                 for address, beats in each], gaps[0] * (1 + 3 * len(got)))
        got.append(bench.sink(master.r, sum(beats for _, beats in each), gaps[1]))
    asked = []

    async def take(ctx):
        while True:
            ctx.set(dut.memory.ar.ready, int(bench.rng.integers(1 + gaps[1])) == 0)
            _, _, valid, ready, payload = await ctx.tick().sample(
                dut.memory.ar.valid, dut.memory.ar.ready, dut.memory.ar.payload)
            if valid and ready:
                asked.append((payload.addr, payload.len + 1))

    async def answer(ctx):
        done = 0
        while True:
            if len(asked) == done:
                await ctx.tick()
                continue
            address, beats = asked[done]
            done += 1
            for beat in range(beats):
                await ctx.tick().repeat(1 + int(bench.rng.integers(1 + gaps[0])))
                ctx.set(dut.memory.r.payload, {"data": address | beat, "resp": 0,
                                               "last": beat == beats - 1})
                ctx.set(dut.memory.r.valid, 1)
                await ctx.tick().until(dut.memory.r.ready)
                ctx.set(dut.memory.r.valid, 0)
    bench.sim.add_testbench(take, background=True)
    bench.sim.add_testbench(answer, background=True)
    bench.run()
    for number, each in enumerate(bursts):
        assert got[number] == [{"data": address | beat, "resp": 0, "last": int(beat == beats - 1)}
                               for address, beats in each for beat in range(beats)]
    if gaps == (0, 0):
        # All have something to ask for: each has its turn.
        assert [address >> 16 for address, _ in asked[:2 * count]] in (
            [n % count for n in range(first, first + 2 * count)] for first in range(count))


@pytest.mark.parametrize("bits", [64, 128])
@every_gap
def test_word_writer(bits, gaps):
    rng = np.random.default_rng(bits)
    bench = Bench(dut := WordWriter(bits))
    bursts = [(1024 * n, [int.from_bytes(rng.bytes(bits // 8), "little") for _ in range(size)])
              for n, size in enumerate([1, 64, 2, 3, 1])]
    bench.source(dut.axi.aw, [{"addr": address, "len": len(data) - 1, "burst": 1,
                               "size": 3 + bits // 128} for address, data in bursts], gaps[0])
    bench.source(dut.axi.w, [{"data": value, "last": n == len(data) - 1}
                             for _, data in bursts for n, value in enumerate(data)], gaps[0])
    answers = bench.sink(dut.axi.b, len(bursts), gaps[1])
    words = sum(len(data) for _, data in bursts) * bits // 64
    got = bench.sink(dut.o, words, gaps[1])
    answered = bench.record(dut.axi.b.valid & dut.axi.b.ready)
    taken = bench.record(dut.o.valid & dut.o.ready)
    bench.run()
    assert answers == [0] * len(bursts)
    parts = bits // 64
    assert got == [{"address": address + 8 * n, "data": value >> 64 * (n % parts) & 2**64 - 1}
                   for address, data in bursts
                   for n, value in enumerate(each for each in data for _ in range(parts))]
    # Each burst is answered after its last word.
    ends = np.cumsum([len(data) * bits // 64 for _, data in bursts])
    assert all(cycle > taken[end - 1][0] for (cycle, *_), end in zip(answered, ends, strict=True))


@every_gap
def test_write_merge(gaps):
    bench = Bench(dut := WriteMerge(3))
    sent = [[{"address": number << 16 | n, "data": n} for n in range(20)] for number in range(3)]
    for source, each in zip(dut.i, sent):
        bench.source(source, each, gaps[0])
    got = bench.sink(dut.o, 60, gaps[1])
    bench.run()
    for number, each in enumerate(sent):
        assert [word for word in got if word["address"] >> 16 == number] == each
