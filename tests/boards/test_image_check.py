# SPDX-License-Identifier: Apache-2.0
"""An image in a memory is good if no bit of it has flipped, and nothing but that is."""

import random

import pytest
from amaranth.sim import Simulator

from boards.image_check import ImageCheck
from hw.axi import BURST
from hw.tiles import seal
from tests.hw.axi_memory import AxiMemory, Pauses
from tests.hw.harness import Bench

PLACE = 4096
LATENCIES = Pauses((3, 9), 0.2)


def checked(image, bits, again=False):
    """(good, bad) after a check, and the memory; `again`: cleared and checked once more."""
    bench = Bench(dut := ImageCheck(bits), seed=3, max_cycles=40_000)
    memory = AxiMemory(bits, bytearray(PLACE) + image + bytes(2 * BURST * bits // 8), LATENCIES)
    memory.serve_reads(bench, dut.port)
    bench.hold(dut.address, PLACE)
    verdicts = []

    async def drive(ctx):
        for turn in range(1 + again):
            ctx.set(dut.clear, turn)
            await ctx.tick().repeat(2)
            ctx.set(dut.clear, 0)
            ctx.set(dut.present, 1)
            await ctx.tick().until(dut.good | dut.bad)
            await ctx.tick().repeat(5)
            verdicts.append((ctx.get(dut.good), ctx.get(dut.bad)))
    bench.sim.add_testbench(drive)
    bench.run()
    assert memory.faults == []
    return verdicts, memory


def image_of(bits, beats, seed=1):
    return seal(random.Random(seed).randbytes(beats * bits // 8), bits, b"hardware")


@pytest.mark.parametrize("bits", [64, 128])
@pytest.mark.parametrize("beats", [1, BURST, BURST + 3])
def test_a_whole_image_is_good(bits, beats):
    image = image_of(bits, beats)
    verdicts, memory = checked(image, bits)
    assert verdicts == [(1, 0)]
    assert sum(burst.beats for burst in memory.read) == BURST + beats


@pytest.mark.parametrize("byte", [0, 4, 8, 11, 16, 511, 600, -1])
def test_a_flipped_bit_is_found(byte):
    image = bytearray(image_of(64, 20))
    image[byte] ^= 1 << random.Random(byte).randrange(8)
    assert checked(bytes(image) + bytes(1 << 12), 64)[0] == [(0, 1)]


def test_of_what_is_no_image_only_a_block_is_read():
    verdicts, memory = checked(b"\xff" * 4096, 64)
    assert verdicts == [(0, 1)] and [burst.beats for burst in memory.read] == [BURST]


def test_another_image_is_checked_anew():
    assert checked(image_of(64, 3), 64, again=True)[0] == [(1, 0)] * 2


def test_nothing_is_read_before_it_is_there():
    sim = Simulator(dut := ImageCheck(64))
    sim.add_clock(1e-6)
    seen = []

    async def watch(ctx):
        for _ in range(50):
            await ctx.tick()
            seen.append(ctx.get(dut.busy))
    sim.add_testbench(watch)
    sim.run()
    assert not any(seen)


def test_a_check_of_an_image_that_is_replaced_has_no_verdict():
    """Another image is written within the check of the first, a longer one."""
    first, second = image_of(64, 200, seed=2), image_of(64, 2, seed=3)
    bench = Bench(dut := ImageCheck(64), seed=3, max_cycles=40_000)
    memory = AxiMemory(64, bytearray(first) + bytes(1 << 12), LATENCIES)
    memory.serve_reads(bench, dut.port)
    ends = bench.record(dut.good | dut.bad)

    async def drive(ctx):
        ctx.set(dut.present, 1)
        await ctx.tick().repeat(900)
        assert ctx.get(dut.busy)
        memory.contents[:len(second)] = second
        ctx.set(dut.clear, 1)
        await ctx.tick()
        ctx.set(dut.clear, 0)
        await ctx.tick().until(dut.good | dut.bad)
        assert (ctx.get(dut.good), ctx.get(dut.bad)) == (1, 0)
    bench.sim.add_testbench(drive)
    bench.run()
    # The whole of the first and of the second were read before.
    assert [sum(burst.beats for burst in memory.read), len(ends) > 0] == [
        2 * BURST + 200 + 2, True]
