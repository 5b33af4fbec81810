# SPDX-License-Identifier: Apache-2.0
"""Power-up of a DDR3 chip, and the training, with chips whose data comes early or late."""

import pytest
from amaranth import ResetInserter, Signal

from boards.ddr3 import Ddr3
from boards.ddr3_chip import Ddr3Timings
from boards.ddr3_startup import LEAST_RUN, PATTERN, Training
from tests.boards.bursts import expected, read
from tests.boards.ddr3 import BASE, SHORT, bench_of, filled
from tests.hw.harness import Bench


@pytest.mark.parametrize(("access", "flight"), [
    (1, 0), (10, 6), *(pytest.param(*each, marks=pytest.mark.slow) for each in (
        (2.2, 0), (3.3, 2), (4.6, 2), (6, 3), (7.4, 3), (8.2, 4), (9.7, 5)))])
def test_training_finds_the_data_wherever_it_comes(access, flight):
    chip = filled(access=access, flight=flight)
    bench, dut = bench_of(128, chip)
    got, _, _ = read(bench, dut, 128, [(BASE, 8)])
    bench.run(extra=2)
    assert chip.finish() == []
    assert got == expected(128, [(BASE, 8)], chip)
    assert chip.commands[:9] == ["mode"] * 4 + ["calibrate", "precharge", "refresh", "activate",
                                                "write"]


def test_without_a_chip_it_fails_and_a_reset_tries_again():
    reset, chip = Signal(), filled(absent=True)
    dut = Ddr3(128, 50_000_000, Ddr3Timings(**SHORT))
    bench = Bench(ResetInserter(reset)(dut), max_cycles=20_000)
    chip.serve(bench, dut.pins, 20)
    ready = bench.record(dut.ready)
    seen = []

    async def master(ctx):
        await ctx.tick().until(dut.failed)
        ctx.set(reset, 1)
        await ctx.tick().repeat(16)
        ctx.set(reset, 0)
        await ctx.tick().repeat(60)
        seen.append((ctx.get(dut.failed), chip.commands.count("write")))
    bench.sim.add_testbench(master)
    bench.run()
    assert ready == [] and chip.finish() == []
    assert seen == [(0, 4)]   # the pattern once more


@pytest.mark.parametrize(("right", "position"), [
    (range(20, 24), 22), (range(30, 33), 31), (range(40, 42), 41), (range(62, 64), 63),
    (range(40, 41), None), ((), None)])
def test_the_middle_of_the_first_run_is_taken(right, position):
    """Of a memory that answers right at some positions, and at 39 once of four times."""
    dut = Training(128)
    bench = Bench(dut, max_cycles=6_000)
    whole = sum(word << 16 * n for n, word in enumerate(PATTERN))
    found = []

    async def memory(ctx):
        asked = 0
        ctx.set(dut.start, 1)
        ctx.set(dut.writes.ready, 1)
        ctx.set(dut.axi.ar.ready, 1)
        ctx.set(dut.axi.r.valid, 1)
        ctx.set(dut.axi.r.payload.last, 1)
        while not ctx.get(dut.done | dut.failed):
            place = ctx.get(dut.position)
            asked += place == 39
            good = place in right or (place == 39 and asked == 2)
            ctx.set(dut.axi.r.payload.data, whole if good else whole >> 16)
            await ctx.tick()
        found.append(ctx.get(dut.position) if ctx.get(dut.done) else None)
    bench.sim.add_testbench(memory)
    bench.run()
    assert found == [position] and (position is None) == (len(right) < LEAST_RUN)


@pytest.mark.parametrize(("changed", "fault"), [
    ({"power_up": 500}, "reset"), ({"wake_up": 1000}, "from reset to clock enable"),
    ({"refresh_cycle": 60}, "tXPR")])
def test_the_model_notices_a_hasty_start(changed, fault):
    chip = filled()
    timings = {**SHORT, **changed}
    bench, dut = bench_of(128, chip, **timings)
    bench.wait(dut.pins.ras)
    bench.run(extra=5)
    assert any(fault in text for text in chip.finish())
    assert Ddr3Timings(**timings).enable == timings.get("refresh_cycle", 160) + 10
