# SPDX-License-Identifier: Apache-2.0
"""The probe sorts cycles, and hardware that is built has none."""

from hw.activity import Activity, ActivityProbe
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.generate import accelerator_verilog
from sim.benches.models import SMALL, random_model
from tests.hw.harness import Bench, small_hardware

IDLE, COMPUTE, WAIT, FILL = Activity


def test_each_cycle_is_one_thing():
    # What happens in a cycle, and what it counts as.
    story = [
        ({}, IDLE), ({"events": 2}, IDLE), ({"clear": 1}, IDLE), ({"start": 1}, IDLE),
        ({}, FILL), ({"events": 1}, COMPUTE), ({"waits": 1}, WAIT),
        ({"events": 3, "waits": 1}, COMPUTE),
        # The attention's counter has grown since the cycle before.
        ({"acs": 8}, COMPUTE), ({"acs": 8}, FILL), ({"acs": 16}, COMPUTE), ({"acs": 16}, FILL),
        ({"clear": 1, "events": 1, "acs": 16}, IDLE), ({}, IDLE), ({}, IDLE),
        ({"start": 1}, IDLE), ({}, FILL), ({"ends": 1}, FILL), ({}, IDLE)]
    bench = Bench(dut := ActivityProbe(small_hardware()))
    found = []

    async def play(ctx):
        for values, _ in story:
            for name in ("start", "ends", "clear", "events", "waits", "acs"):
                ctx.set(getattr(dut, name), values.get(name, 0))
            found.append(Activity(ctx.get(dut.o.kind)))
            assert ctx.get(dut.o.events) == values.get("events", 0)
            assert ctx.get(dut.o.clear) == values.get("clear", 0)
            await ctx.tick()
    bench.sim.add_testbench(play)
    bench.run()
    assert found == [kind for _, kind in story]


def test_built_hardware_has_no_probe():
    model = random_model(SMALL)
    program = compile_model(model, HardwareConfig.for_model(model, lanes=8, banks=2))
    assert "activity" in accelerator_verilog(program, trace=True)
    assert "activity" not in accelerator_verilog(program)
