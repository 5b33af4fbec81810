# SPDX-License-Identifier: Apache-2.0
"""No unit needs what a memory has where it is read while it is written: devices differ in it.

The accelerator is simulated with memories that then give the complement of the word.
"""

from dataclasses import replace

import pytest
from amaranth import Module, Signal, Value
from amaranth.hdl import Fragment, MemoryInstance
from amaranth.lib.memory import Memory
from amaranth.sim import Simulator as Simulation

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.generate import accelerator_rtlil, verilog_of
from hw.network import Classifier
from quantize.golden import GoldenModel
from sim.benches.models import EVEN, SMALL, measured_model, random_inputs
from sim.compare import compare
from sim.run import Simulator


class Complements:
    """Part of a platform: what is read in a cycle in which it is written comes inverted."""

    collisions = 0   # read ports that can collide

    def get_memory(self, memory):
        m = Module()
        m.submodules.words = words = MemoryInstance(data=memory.data, attrs=memory.attrs)
        writes = {port: words.write_port(domain=port.domain, addr=port.addr, data=port.data,
                                         en=port.en) for port in memory.write_ports}
        for port in memory.read_ports:
            others = [write for write in writes if write not in port.transparent_for]
            read = Signal(len(Value.cast(port.data)))
            hit = Signal()
            if port.domain != "comb" and others:
                self.collisions += 1
                with m.If(port.en):
                    m.d.sync += hit.eq(sum(write.en.any() & (write.addr == port.addr)
                                           for write in others) != 0)
            words.read_port(domain=port.domain, addr=port.addr, data=read, en=port.en,
                            transparent_for=tuple(writes[each] for each in port.transparent_for))
            m.d.comb += port.data.eq(read ^ hit.replicate(len(read)))
        return m


def test_the_complement_comes():
    memory = Memory(shape=8, depth=4, init=[1, 2, 3, 4])
    read, write = memory.read_port(), memory.write_port()
    sim = Simulation(Fragment.get(memory, Complements()))
    sim.add_clock(1e-6)

    async def drive(ctx):
        for beside, expected in ((0, ~2 & 0xFF), (1, 3)):
            ctx.set(write.en, 1)
            ctx.set(write.addr, 1)
            ctx.set(write.data, 9)
            ctx.set(read.addr, 1 + beside)
            await ctx.tick()
            assert ctx.get(read.data) == expected
    sim.add_testbench(drive)
    sim.run()


CASES = {
    "on chip": (replace(SMALL, image_width=8), {"lanes": 8, "banks": 2}),
    "one port": (replace(SMALL, embed_dim=32, num_heads=4), {
        "lanes": 8, "banks": 1, "neurons": 1, "ports": 1}),
    "pairs": (EVEN, {"lanes": 16, "banks": 2, "pairs": True, "beside": True, "port_bits": 64}),
    "outside": (replace(EVEN, image_height=16, pool_stages=(False, True, True, True),
                        classifier=Classifier.SN_FC_AVGPOOL),
                {"lanes": 16, "banks": 2, "port_bits": 64, "spill_residual": True})}


@pytest.mark.parametrize("case", [
    "one port", *(pytest.param(case, marks=pytest.mark.slow) for case in CASES
                  if case != "one port")])
def test_every_value(case):
    network, options = CASES[case]
    model = measured_model(network, 0.5, 0.3)
    program = compile_model(model, HardwareConfig.for_model(model, **options))
    platform = Complements()
    text = accelerator_rtlil(program, trace=True, platform=platform)
    assert platform.collisions >= 10
    inputs = random_inputs(model, 2)
    simulator = Simulator.build(program, cocotb=False, verilog=verilog_of(text))
    for inference, results in zip(simulator.run(inputs), GoldenModel(model).run(inputs),
                                  strict=True):
        comparison = compare(inference, results)
        assert comparison.equal, "\n".join(comparison.lines())
