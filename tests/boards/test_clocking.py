# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""Dividers of clocks, and the reset after power-up."""

import pytest
from amaranth import Module, ResetSignal, Signal
from amaranth.hdl import Fragment
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from boards.clocking import (
    ECP5_PLL,
    GW2A_PLL,
    RESET_CYCLES,
    XILINX7_PLL,
    Clocking,
    Ecp5Pll,
    GowinPll,
    Xilinx7Divider,
    Xilinx7Pll,
)


@pytest.mark.parametrize("limits, in_mhz, out_mhz", [
    *((ECP5_PLL, 25, mhz) for mhz in (25, 37.5, 50, 60, 62.5, 75, 80, 100, 125)),
    *((XILINX7_PLL, 100, mhz) for mhz in (25, 40, 50, 60, 75)),
    *((GW2A_PLL, 27, mhz) for mhz in (4.5, 27, 40.5, 48, 54, 60, 81, 108))])
def test_dividers_are_exact_and_within_limits(limits, in_mhz, out_mhz):
    reference, feedback, output = limits.dividers(in_mhz, out_mhz)
    assert in_mhz * feedback == pytest.approx(out_mhz * reference)
    assert limits.oscillator[0] <= out_mhz * output <= limits.oscillator[1]
    assert limits.detector[0] <= in_mhz / reference <= limits.detector[1]
    assert output in limits.output


@pytest.mark.parametrize("limits, in_mhz, out_mhz", [
    (ECP5_PLL, 25, 3), (ECP5_PLL, 25, 51.3), (ECP5_PLL, 25, 801), (GW2A_PLL, 27, 3),
    (GW2A_PLL, 27, 50.1), (GW2A_PLL, 27, 1000)])
def test_clocks_that_no_pll_makes(limits, in_mhz, out_mhz):
    with pytest.raises(ValueError, match=rf"^clock must be one that a PLL makes of {in_mhz} MHz, "
                                         rf"not {out_mhz:g} MHz$"):
        limits.dividers(in_mhz, out_mhz)


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
    assert GowinPll(27_000_000, 54_000_000).dividers == (1, 2, 16)


@pytest.mark.parametrize(("mhz", "dividers"), [(50, (1, 12, 24)), (40, (5, 56, 28))])
def test_two_clocks_of_a_pll(mhz, dividers):
    """The oscillator's ratio is in its lowest terms, and the fast clock's divider an integer."""
    pll = Xilinx7Pll(100_000_000, mhz * 1_000_000)
    reference, feedback, output = pll.dividers
    assert pll.dividers == dividers and output % 4 == 0
    assert 100 * feedback / reference / output == pytest.approx(mhz)
    assert 800 <= 100 * feedback / reference <= 1200


class Generator(wiring.Component):
    """Locks when told."""

    def __init__(self, fast=False):
        self.lock = Signal()
        super().__init__({"i": In(1), "o": Out(1), "locked": Out(1)}
                         | ({"fast": Out(1)} if fast else {}))

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [self.o.eq(self.i), self.locked.eq(self.lock)]
        if hasattr(self, "fast"):
            m.d.comb += self.fast.eq(self.i)
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
    m.submodules.clocking = clocking = Clocking(generator)
    m.domains += clocking.domains
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
    sim = Simulator(Fragment.get(m, Platform()))
    sim.add_testbench(run)
    sim.run()
    # Two cycles of the synchronizer, the count, one for the register that drives the reset.
    started = next(i for i, value in enumerate(seen) if value)
    assert RESET_CYCLES <= started <= RESET_CYCLES + 6
    assert seen[-1] == len(seen) - started


def test_a_fast_clock_has_a_domain_whose_reset_is_the_lock(monkeypatch):
    monkeypatch.setattr("boards.clocking.io.Buffer", lambda direction, port: _Pin())
    generator = Generator(fast=True)
    m = Module()
    m.submodules.clocking = clocking = Clocking(generator)
    m.domains += clocking.domains
    held = Signal()
    m.d.comb += held.eq(ResetSignal("fast"))
    seen = []

    async def run(ctx):
        for lock in (0, 1, 0):
            ctx.set(generator.lock, lock)
            await ctx.delay(1e-7)
            seen.append(ctx.get(held))
    sim = Simulator(Fragment.get(m, Platform()))
    sim.add_testbench(run)
    sim.run()
    assert seen == [1, 0, 1]


class _Pin(wiring.Component):
    def __init__(self):
        super().__init__({"i": Out(1)})

    def elaborate(self, platform):
        return Module()
