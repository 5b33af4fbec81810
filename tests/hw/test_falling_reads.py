# SPDX-License-Identifier: Apache-2.0
"""Reads at the falling edge: in every cycle the word that a read without a clock has."""

import numpy as np
import pytest
from amaranth import Module
from amaranth.hdl import Fragment
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.memory import Memory
from amaranth.sim import Simulator

from hw.falling_reads import FallingReads

CYCLES = 300


def word_of_each_cycle(platform, depth, domain):
    """What one port reads at random addresses while another one writes."""
    m = Module()
    m.submodules.memory = memory = Memory(shape=8, depth=depth, init=range(1, depth))
    read, write = memory.read_port(domain=domain), memory.write_port()
    sim = Simulator(Fragment.get(m, platform))
    sim.add_clock(1e-6)
    chance, seen = np.random.default_rng(depth), []

    async def drive(ctx):
        for _ in range(CYCLES):
            ctx.set(read.addr, int(chance.integers(depth)))
            ctx.set(write.addr, int(chance.integers(depth)))
            ctx.set(write.en, int(chance.integers(2)))
            ctx.set(write.data, int(chance.integers(256)))
            if domain == "sync":
                ctx.set(read.en, int(chance.integers(2)))
            _, _, value = await ctx.tick().sample(read.data)
            seen.append(value)
    sim.add_testbench(drive)
    sim.run()
    return seen


@pytest.mark.parametrize("domain", ["comb", "sync"])
@pytest.mark.parametrize("depth", [2, 16, 100])
def test_words(depth, domain):
    plain = word_of_each_cycle(None, depth, domain)
    assert len(set(plain)) > 10
    # Before the first falling edge nothing was read; on a board that is in the reset.
    assert word_of_each_cycle(FallingReads(), depth, domain)[1:] == plain[1:]


def test_queue():
    """A queue of Amaranth reads its memory without a clock, too."""
    seen = {}
    for platform in (None, FallingReads()):
        queue = SyncFIFO(width=8, depth=5)
        sim = Simulator(Fragment.get(queue, platform))
        sim.add_clock(1e-6)
        chance, words = np.random.default_rng(0), seen.setdefault(platform is None, [])

        async def drive(ctx, queue=queue, chance=chance, words=words):
            for number in range(CYCLES):
                ctx.set(queue.w_data, number & 0xFF)
                ctx.set(queue.w_en, int(chance.integers(2)))
                ctx.set(queue.r_en, int(chance.integers(2)))
                _, _, *values = await ctx.tick().sample(queue.r_rdy, queue.r_data, queue.level)
                words.append(values)
        sim.add_testbench(drive)
        sim.run()
    assert seen[True] == seen[False]
    assert sum(ready for ready, _, _ in seen[True]) > 50
