# SPDX-License-Identifier: Apache-2.0
"""Blocks out of samples at every position, and AXI bursts as blocks."""

import numpy as np
import pytest

from boards.ddr3_chip import SLOTS, WORD_BITS
from boards.ddr3_reads import BLOCKS_AHEAD, Capture, Reads
from tests.hw.harness import Bench, every_gap

WORDS = np.random.default_rng(3).integers(0, 1 << WORD_BITS, 16).tolist()


@pytest.mark.parametrize("position", [0, 5, 18, 63])
def test_two_blocks_without_a_pause(position):
    """Words of half a cycle each, from a slot on; around them there is noise."""
    dut = Capture()
    bench = Bench(dut, max_cycles=100)
    rng = np.random.default_rng(4)
    # `go` in cycle 0; position 0 is the first sample of what comes 8 cycles later.
    first = (8 * SLOTS) + position
    levels = rng.integers(0, 1 << WORD_BITS, SLOTS * 40).tolist()
    for n, word in enumerate(WORDS):
        levels[first + 4 * n] = word   # the one slot that counts
    got = []

    async def pins(ctx):
        ctx.set(dut.position, position)
        for cycle in range(40):
            ctx.set(dut.go, cycle in (0, 4))
            slots = levels[SLOTS * cycle:SLOTS * (cycle + 1)]
            ctx.set(dut.samples, sum((slot >> bit & 1) << SLOTS * bit + n
                                     for n, slot in enumerate(slots) for bit in range(WORD_BITS)))
            if ctx.get(dut.valid):
                got.append(ctx.get(dut.block))
            assert ctx.get(dut.under_way) == (cycle > 0 and len(got) < 2) or ctx.get(dut.valid)
            await ctx.tick()
    bench.sim.add_testbench(pins)
    bench.run()
    assert got == [sum(word << 16 * n for n, word in enumerate(WORDS[k:k + 8])) for k in (0, 8)]


@every_gap
@pytest.mark.parametrize("bits", [64, 128])
def test_bursts_as_blocks(bits, gaps):
    """A memory that answers after a while, and never has to hold more than was asked for."""
    dut = Reads(bits)
    bench = Bench(dut, max_cycles=4_000)
    size = bits // 8
    bursts = [(0, 1), (64, 33), (4096 - 16, 2), (32, 2), (1 << 20, 64)]
    bursts += [(8, 1), (24, 2), (40, 5)] if bits == 64 else []
    bench.source(dut.axi.ar, [{"addr": a, "len": n - 1} for a, n in bursts], gaps[0])
    got = bench.sink(dut.axi.r, sum(n for _, n in bursts), gaps[1] * 4)
    content = np.random.default_rng(5).bytes((1 << 20) + 4096)
    waiting = []

    async def memory(ctx):
        cycle = 0
        while True:
            # Not in every cycle, as a block takes four.
            go = ctx.get(dut.wants) and cycle % 4 == 0
            ctx.set(dut.go, go)
            if go:
                waiting.append((cycle + 9, ctx.get(dut.address)))
            due = waiting and waiting[0][0] == cycle
            ctx.set(dut.valid, bool(due))
            if due:
                place = 16 * waiting.pop(0)[1]
                ctx.set(dut.block, int.from_bytes(content[place:place + 16], "little"))
            await ctx.tick()
            cycle += 1
    bench.sim.add_testbench(memory, background=True)
    bench.run()
    assert got == [{"data": int.from_bytes(content[a + size * k:a + size * (k + 1)], "little"),
                    "resp": 0, "last": int(k == n - 1)} for a, n in bursts for k in range(n)]
    assert len(waiting) <= BLOCKS_AHEAD
