# SPDX-License-Identifier: Apache-2.0
"""Commands of the DDR3 controller: the model of the chip notices each time that is not kept."""

import re

import pytest

from boards.ddr3_chip import Ddr3Timings
from boards.ddr3_commands import Commands
from tests.boards.ddr3 import bench_of, filled
from tests.hw.harness import Bench, plain


@pytest.mark.parametrize(("changed", "mhz", "until", "fault"), [
    ({"precharge": 1}, 75, "ready", "tRP: 13.3333 ns, at least 13.75"),
    ({"activate": 1}, 75, "written", "tRCD: 13.3333 ns, at least 13.75"),
    ({"refresh_cycle": 80}, 75, "written", "after refresh, tRFC: 80 ns, at least 160"),
    ({"refresh_interval": 90_000}, 25, "ready", "refresh .* late")])
def test_the_model_notices_times(changed, mhz, until, fault):
    """In the training; at 75 MHz, a cycle is too short for a precharge."""
    chip = filled()
    bench, dut = bench_of(128, chip, mhz, **changed)
    bench.wait(dut.ready if until == "ready" else dut.pins.dqs_o)
    bench.run(extra=20)
    assert any(re.search(fault, text) for text in chip.finish()), chip.finish()[:3]


def test_priorities():
    """A refresh that is due, then a write, then a read, whose rows are opened and closed."""
    dut = Commands(Ddr3Timings(), lambda nanoseconds: -(-round(nanoseconds) // 20))
    bench = Bench(dut, max_cycles=300)
    seen = []
    names = {4: "activate", 2: "read", 3: "write", 5: "precharge", 6: "refresh"}

    async def masters(ctx):
        ctx.set(dut.enable, 1)
        ctx.set(dut.write, 1)
        ctx.set(dut.read, 1)
        ctx.set(dut.read_block, 1 << 12)
        for _ in range(80):
            command = plain(ctx.get(dut.command))
            code = command["ras"] << 2 | command["cas"] << 1 | command["we"]
            if code:
                seen.append(names[code])
            written, done = ctx.get(dut.writes), ctx.get(dut.reads)
            await ctx.tick()
            if written:
                ctx.set(dut.write, 0)
            if done:
                ctx.set(dut.read, 0)
    bench.sim.add_testbench(masters)
    bench.run()
    assert seen == ["precharge", "refresh", "activate", "write", "precharge", "activate", "read"]
