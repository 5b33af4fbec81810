# SPDX-License-Identifier: Apache-2.0
"""What a Scan searches with, for every value; the Scan itself is tested within `Dispatch`."""

import pytest
from amaranth import Module, Signal
from amaranth.sim import Simulator

from hw.scan import count_to_three, find_first, without_first

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
