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

BEATS = 5 * BURST


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


@pytest.mark.parametrize("kind", ["read", "write"])
def test_a_stop_at_any_cycle(kind):
    chance = random.Random(4)
    for _ in range(8):
        unit, port = ((Reader(64), ReadPort(64)) if kind == "read"
                      else (Writer(64), WritePort(64)))
        bench = Bench(dut := Gated(unit, port), seed=chance.randrange(99), max_cycles=20_000)
        memory = AxiMemory(64, bytearray(8 * BEATS), Pauses((3, 40), 0.4))
        (memory.serve_reads if kind == "read" else memory.serve_writes)(bench, dut.port)
        if kind == "read":
            bench.hold(unit.o.ready, 1)
        else:
            bench.hold(unit.i.valid, 1)
        stop_at, asked = chance.randrange(400), []

        async def drive(ctx):
            ctx.set(unit.beats, BEATS)
            ctx.set(unit.start, 1)
            await ctx.tick()
            ctx.set(unit.start, 0)
            await ctx.tick().repeat(stop_at)
            ctx.set(dut.gate.stop, 1)
            await ctx.tick()
            await ctx.tick().until(dut.gate.idle)
            bursts = memory.read or memory.written
            asked.append(len(bursts))
            done = (sum(each.beats for each in bursts) == len(memory.beats) if kind == "read"
                    else len(bursts) == memory.answered)
            asked.append(done)
            await ctx.tick().repeat(100)
            asked.append(len(bursts))
        bench.sim.add_testbench(drive)
        bench.run()
        assert memory.faults == [] and asked[1] and asked[0] == asked[2], stop_at
        assert asked[0] <= BEATS // BURST
