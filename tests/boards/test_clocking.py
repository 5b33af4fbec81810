# SPDX-License-Identifier: Apache-2.0
"""Dividers of clocks, and the reset after power-up."""

import pytest
from amaranth import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from boards.clocking import (
    ECP5_VCO_MHZ,
    RESET_CYCLES,
    Clocking,
    Ecp5Pll,
    Xilinx7Divider,
    ecp5_dividers,
)


@pytest.mark.parametrize("out_mhz", [25, 37.5, 50, 60, 62.5, 75, 80, 100, 125])
def test_ecp5_dividers_are_exact_and_within_limits(out_mhz):
    reference, feedback, output = ecp5_dividers(25, out_mhz)
    assert 25 * feedback == pytest.approx(out_mhz * reference)
    assert ECP5_VCO_MHZ[0] <= out_mhz * output <= ECP5_VCO_MHZ[1]
    assert 25 / reference >= 3.125


@pytest.mark.parametrize("out_mhz", [3, 51.3, 801])
def test_ecp5_clocks_that_cannot_be_made(out_mhz):
    with pytest.raises(ValueError, match=rf"^clock must be one that a PLL makes of 25 MHz, "
                                         rf"not {out_mhz:g} MHz$"):
        ecp5_dividers(25, out_mhz)


@pytest.mark.parametrize("out_mhz, ratio", [(100, 1), (50, 2), (25, 4), (10, 10)])
def test_xilinx_divider(out_mhz, ratio):
    assert Xilinx7Divider(100_000_000, out_mhz * 1_000_000).ratio == ratio


@pytest.mark.parametrize("out_mhz", [33, 200, 20])
def test_xilinx_clocks_that_cannot_be_made(out_mhz):
    with pytest.raises(ValueError, match=r"^clock must be 100 MHz or that divided by an even number"
                                         rf", not {out_mhz}$"):
        Xilinx7Divider(100_000_000, out_mhz * 1_000_000)


def test_pll_instance_has_the_dividers():
    pll = Ecp5Pll(25_000_000, 50_000_000)
    assert pll.dividers == (1, 2, 16)


class Generator(wiring.Component):
    """Locks when told."""

    def __init__(self):
        self.lock = Signal()
        super().__init__({"i": In(1), "o": Out(1), "locked": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.o.eq(self.i), self.locked.eq(self.lock)]
        return m


class Platform:
    """No pins but a clock that the test toggles."""

    default_clk, default_rst = "clk", None

    def request(self, name, **_):
        return name


def test_reset_lasts_and_follows_the_lock(monkeypatch):
    clock = Signal()

    class Pin(wiring.Component):
        def __init__(self, direction, port):
            super().__init__({"i": Out(1)})

        def elaborate(self, platform):
            m = Module()
            m.d.comb += self.i.eq(clock)
            return m
    monkeypatch.setattr("boards.clocking.io.Buffer", Pin)
    generator = Generator()
    m = Module()
    m.submodules.clocking = Clocking(generator)
    count = Signal(16)
    m.d.sync += count.eq(count + 1)
    seen = []

    async def run(ctx):
        ctx.set(generator.lock, 1)
        for _ in range(2 * RESET_CYCLES):
            ctx.set(clock, 1)
            await ctx.delay(1e-7)
            ctx.set(clock, 0)
            await ctx.delay(1e-7)
            seen.append(ctx.get(count))
    from amaranth.hdl import Fragment

    sim = Simulator(Fragment.get(m, Platform()))
    sim.add_testbench(run)
    sim.run()
    # Two cycles of the synchronizer, the count, one for the register that drives the reset.
    started = next(i for i, value in enumerate(seen) if value)
    assert RESET_CYCLES <= started <= RESET_CYCLES + 6
    assert seen[-1] == len(seen) - started
