# SPDX-License-Identifier: Apache-2.0
"""A gate that stops a master at any cycle: bursts under way end, and no further one begins."""

import random

import pytest
from amaranth import Module
from amaranth.lib import wiring

from hw.axi import BURST, Reader, ReadPort, WritePort, Writer
from hw.axi_gate import PortGate
from tests.hw.axi_memory import AxiMemory, Pauses
from tests.hw.harness import Bench

BEATS = 4 * BURST + 9


class Gated(wiring.Component):
    """A reader or writer behind its gate, with the ports that the test drives."""

    def __init__(self, unit, port):
        self.unit, self.gate = unit, PortGate(port)
        super().__init__({"port": wiring.Out(port)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit, m.submodules.gate = self.unit, self.gate
        wiring.connect(m, self.unit.port, self.gate.i)
        wiring.connect(m, self.gate.o, wiring.flipped(self.port))
        return m


def stopped(kind, stop_at, seed):
    """The memory, how many bursts had begun when the gate was idle, and whether all had ended then,
    after a stop in that cycle.
    """
    unit, port = ((Reader(64), ReadPort(64)) if kind == "read" else (Writer(64), WritePort(64)))
    bench = Bench(dut := Gated(unit, port), seed=seed, max_cycles=20_000)
    memory = AxiMemory(64, bytearray(8 * BEATS), Pauses((3, 40), 0.4))
    if kind == "read":
        memory.serve_reads(bench, dut.port)
        bench.hold(unit.o.ready, 1)
    else:
        memory.serve_writes(bench, dut.port)
        bench.hold(unit.i.valid, 1)
    found = []

    async def drive(ctx):
        ctx.set(unit.beats, BEATS)
        ctx.set(unit.start, 1)
        await ctx.tick()
        ctx.set(unit.start, 0)
        await ctx.tick().repeat(stop_at)
        ctx.set(dut.gate.stop, 1)
        await ctx.tick()
        await ctx.tick().until(dut.gate.idle)
        bursts = memory.read + memory.written
        found.extend((len(bursts), sum(each.beats for each in memory.read) == len(memory.beats)
                      and len(memory.written) == memory.answered))
        await ctx.tick().repeat(100)
    bench.sim.add_testbench(drive)
    bench.run()
    return memory, *found


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_stop_at_any_cycle(kind):
    chance, counts = random.Random(4), set()
    for seed in range(4):
        memory, begun, ended = stopped(kind, chance.randrange((8, 400)[seed % 2]), seed)
        assert memory.faults == [] and ended
        assert begun == len(memory.read) + len(memory.written)
        counts.add(begun)
    assert len(counts) > 2   # stops came early and late
