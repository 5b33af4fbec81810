# SPDX-License-Identifier: Apache-2.0
"""What a Scan searches with, for every value; the Scan itself is tested within `Dispatch`."""

import pytest
from amaranth import Module, Signal
from amaranth.sim import Simulator

from hw.scan import Scan, count_to_three, find_first, without_first
from tests.hw.harness import small_hardware

WIDTHS = pytest.mark.parametrize("width", [1, 2, 3, 5, 8])


def answers(width, make):
    """What `make(m, bits)` shows for every value of the bits."""
    bits, answer, got = Signal(width), Signal(width + 2), {}
    m = Module()
    m.d.comb += answer.eq(make(m, bits))
    sim = Simulator(m)

    async def drive(ctx):
        for value in range(1 << width):
            ctx.set(bits, value)
            got[value] = ctx.get(answer)
    sim.add_testbench(drive)
    sim.run()
    return got


@WIDTHS
def test_find_first(width):
    got = answers(width, lambda m, bits: find_first(bits))
    assert got == {value: max(0, (value & -value).bit_length() - 1) for value in got}


@WIDTHS
def test_without_first(width, monkeypatch):
    monkeypatch.setattr("hw.scan._PART", 3)   # several parts
    got = answers(width, lambda m, bits: without_first(m, bits, "rest"))
    assert got == {value: value & (value - 1) for value in got}


@WIDTHS
def test_count_to_three(width):
    got = answers(width, lambda m, bits: count_to_three(m, bits, "count"))
    assert got == {value: min(3, value.bit_count()) for value in got}


def test_a_slice_that_waits_is_taken_once():
    """A source may offer before `ready`, and go on offering until it is taken."""
    scan = Scan(small_hardware(lanes=4, banks=1, spike_word=2, ports=1, queue_depth=2))
    sim, rows = Simulator(scan), []
    sim.add_clock(1e-6)

    async def feed(ctx):
        for row in range(8):
            ctx.set(scan.i.payload.row, 10 * row)
            ctx.set(scan.i.payload.bits, 0b11)
            ctx.set(scan.i.valid, 1)
            await ctx.tick().until(scan.i.ready)
        ctx.set(scan.i.valid, 0)
        await ctx.tick().repeat(40)

    async def collect(ctx):
        async for _, _, valid, row in ctx.tick().sample(scan.valid, scan.rows[0]):
            if valid:
                rows.append(row)
    sim.add_testbench(feed)
    sim.add_testbench(collect, background=True)
    sim.run_until(200e-6)
    assert rows == [10 * row + n for row in range(8) for n in (0, 1)]
