# SPDX-License-Identifier: Apache-2.0
"""The clock of a board's design, from its oscillator, and the reset that follows power-up."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from amaranth import (
    ClockDomain,
    ClockSignal,
    Const,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Signal,
)
from amaranth.lib import io, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

# Registers start at different cycles after configuration, so the design is reset once they all run.
RESET_CYCLES = 256


@dataclass(frozen=True)
class PllLimits:
    """A PLL: out = in * feedback / reference, oscillator = out * output; frequencies in MHz.

    reference, feedback, output: dividers that there are
    detector, oscillator: least and largest frequency
    """

    reference: range
    feedback: range
    output: Sequence[int]
    detector: tuple[float, float]
    oscillator: tuple[float, float]

    def dividers(self, in_mhz: float, out_mhz: float) -> tuple[int, int, int]:
        """Reference, feedback and output divider.

        Of those that are exact, the ones with the fastest oscillator.  Raises ValueError if there
        are none within the limits.
        """
        low, high = self.oscillator
        outputs = [each for each in self.output if low <= out_mhz * each <= high]
        for reference in self.reference:
            if not self.detector[0] <= in_mhz / reference <= self.detector[1]:
                continue
            feedback = round(out_mhz * reference / in_mhz)
            exact = abs(in_mhz * feedback / reference - out_mhz) <= 1e-6 * out_mhz
            if outputs and exact and feedback in self.feedback:
                return reference, feedback, max(outputs)
        raise ValueError(f"clock must be one that a PLL makes of {in_mhz:g} MHz, "
                         f"not {out_mhz:g} MHz")


# Lattice FPGA-DS-02012, table of sysCLOCK PLL timing.
ECP5_PLL = PllLimits(range(1, 129), range(1, 81), range(1, 129), (3.125, 400), (400, 800))
# Xilinx DS181, PLL switching characteristics of the slowest grade, but not its fastest oscillators;
# output dividers that a quarter of is one, too.
XILINX7_PLL = PllLimits(range(1, 53), range(1, 65), range(4, 129, 4), (19, 450), (800, 1200))
# Gowin DS226, rPLL of the GW2A and GW2AR in speed grade C8/I7.
GW2A_PLL = PllLimits(range(1, 65), range(1, 65), (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128),
                     (3, 500), (500, 1250))


class Xilinx7Divider(wiring.Component):
    """The oscillator's clock, or its even fraction, on a global buffer.

    A flip-flop divides: timing tools without PLL arcs follow it, and it is always locked.
    Ports: `i` the pin's clock, `o` the clock, `locked`.
    """

    def __init__(self, in_hz: int, out_hz: int) -> None:
        ratio = in_hz / out_hz
        if ratio != 1 and (ratio != int(ratio) or int(ratio) % 2):
            raise ValueError(f"clock must be {in_hz / 1e6:g} MHz or that divided by an even number,"
                             f" not {out_hz / 1e6:g}")
        self.ratio, self.out_hz = int(ratio), out_hz
        super().__init__({"i": In(1), "o": Out(1), "locked": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.locked.eq(1)
        source = self.i
        if self.ratio > 1:
            m.domains.oscillator = ClockDomain(reset_less=True, local=True)
            m.d.comb += ClockSignal("oscillator").eq(self.i)
            half = self.ratio // 2
            count, divided = Signal(range(half)), Signal()
            m.d.oscillator += count.eq(count + 1)
            with m.If(count == half - 1):
                m.d.oscillator += [count.eq(0), divided.eq(~divided)]
            source = divided
            platform.add_clock_constraint(self.o, self.out_hz)   # Vivado derives none from it
        m.submodules.buffer = Instance("BUFG", i_I=source, o_O=self.o)
        return m


class Xilinx7Pll(wiring.Component):
    """A clock of another frequency and one of 4 times that in phase with it, from a PLL (PLLE2).

    Ports: `i` the pin's clock, `o`, `fast` the clocks on global buffers, `locked`.
    """

    def __init__(self, in_hz: int, out_hz: int) -> None:
        self.in_mhz, self.out_mhz = in_hz / 1e6, out_hz / 1e6
        reference, feedback, output = XILINX7_PLL.dividers(self.in_mhz, self.out_mhz)
        # Its feedback is the oscillator, so what both dividers have in common falls out.
        ratio = Fraction(feedback * output, reference)
        self.dividers = ratio.denominator, ratio.numerator, output
        super().__init__({"i": In(1), "o": Out(1), "fast": Out(1), "locked": Out(1)})

    def elaborate(self, platform):
        m = Module()
        reference, feedback, output = self.dividers
        looped, slow, fast = Signal(), Signal(), Signal()
        m.submodules.pll = Instance(
            "PLLE2_ADV", p_CLKIN1_PERIOD=1e3 / self.in_mhz, p_DIVCLK_DIVIDE=reference,
            p_CLKFBOUT_MULT=feedback, p_CLKOUT0_DIVIDE=output, p_CLKOUT1_DIVIDE=output // 4,
            i_CLKIN1=self.i, i_CLKINSEL=1, i_CLKFBIN=looped, i_RST=0, i_PWRDWN=0,
            o_CLKFBOUT=looped, o_CLKOUT0=slow, o_CLKOUT1=fast, o_LOCKED=self.locked)
        m.submodules.buffer = Instance("BUFG", i_I=slow, o_O=self.o)
        m.submodules.fast = Instance("BUFG", i_I=fast, o_O=self.fast)
        return m


class Ecp5Pll(wiring.Component):
    """A clock of another frequency, from a PLL (EHXPLLL).

    Ports: `i` the pin's clock, `o` the clock, `locked`.
    """

    def __init__(self, in_hz: int, out_hz: int) -> None:
        self.in_mhz, self.out_mhz = in_hz / 1e6, out_hz / 1e6
        self.dividers = ECP5_PLL.dividers(self.in_mhz, self.out_mhz)
        super().__init__({"i": In(1), "o": Out(1), "locked": Out(1)})

    def elaborate(self, platform):
        m = Module()
        reference, feedback, output = self.dividers
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{self.in_mhz:g}", a_FREQUENCY_PIN_CLKOP=f"{self.out_mhz:g}",
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8",
            p_FEEDBK_PATH="CLKOP", p_OUTDIVIDER_MUXA="DIVA", p_CLKOP_ENABLE="ENABLED",
            p_CLKI_DIV=reference, p_CLKFB_DIV=feedback, p_CLKOP_DIV=output,
            # Half the output divider: output edges on those of the input.
            p_CLKOP_CPHASE=output // 2, p_CLKOP_FPHASE=0,
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED",
            p_DPHASE_SOURCE="DISABLED", p_OUTDIVIDER_MUXB="DIVB", p_OUTDIVIDER_MUXC="DIVC",
            p_OUTDIVIDER_MUXD="DIVD",
            i_CLKI=self.i, i_CLKFB=self.o, i_RST=0, i_STDBY=0, i_PHASESEL0=0, i_PHASESEL1=0,
            i_PHASEDIR=1, i_PHASESTEP=1, i_PHASELOADREG=1, i_PLLWAKESYNC=0, i_ENCLKOP=0,
            o_CLKOP=self.o, o_LOCK=self.locked)
        return m


class GowinPll(wiring.Component):
    """A clock of another frequency, from a PLL (rPLL) of the GW2A-18.

    Ports: `i` the pin's clock, `o` the clock, `locked`.
    """

    def __init__(self, in_hz: int, out_hz: int) -> None:
        self.in_mhz = in_hz / 1e6
        self.dividers = GW2A_PLL.dividers(self.in_mhz, out_hz / 1e6)
        super().__init__({"i": In(1), "o": Out(1), "locked": Out(1)})

    def elaborate(self, platform):
        m = Module()
        reference, feedback, output = self.dividers
        unused = {f"i_{name}": Const(0, width) for name, width in (
            ("CLKFB", 1), ("RESET", 1), ("RESET_P", 1), ("FBDSEL", 6), ("IDSEL", 6),
            ("ODSEL", 6), ("PSDA", 4), ("DUTYDA", 4), ("FDLY", 4))}
        m.submodules.pll = Instance(
            "rPLL", p_DEVICE="GW2A-18", p_FCLKIN=f"{self.in_mhz:g}",
            p_IDIV_SEL=reference - 1, p_FBDIV_SEL=feedback - 1, p_ODIV_SEL=output,
            p_DYN_IDIV_SEL="false", p_DYN_FBDIV_SEL="false", p_DYN_ODIV_SEL="false",
            p_PSDA_SEL="0000", p_DUTYDA_SEL="1000", p_DYN_DA_EN="false", p_CLKFB_SEL="internal",
            i_CLKIN=self.i, o_CLKOUT=self.o, o_LOCK=self.locked, **unused)
        return m


class Clocking(Elaboratable):
    """Domain `sync`: the clock of `generator`, and a reset of 256 cycles after power-up.

    generator: component with the ports `i`, `o` and `locked`; it gets the board's default clock.
               If it has `fast`, that is the clock of domain `fast`, whose reset is that it is not
               locked
    domains:   both, which the module around it must add to its own, as they are for all in it
    The board's reset button, if its platform names one, resets too.
    """

    def __init__(self, generator: Any) -> None:
        self._generator = generator
        names = ("sync", "fast") if hasattr(generator, "fast") else ("sync",)
        self.domains = [ClockDomain(name) for name in names]

    def elaborate(self, platform):
        m = Module()
        m.submodules.generator = generator = self._generator
        pins = platform.request(platform.default_clk, dir="-")
        m.submodules.pin = pin = io.Buffer("i", pins)
        m.d.comb += generator.i.eq(pin.i)

        # The counter's own domain has no reset: it is what makes the reset.
        m.domains.startup = ClockDomain(reset_less=True, local=True)
        m.d.comb += [ClockSignal("sync").eq(generator.o), ClockSignal("startup").eq(generator.o)]
        if hasattr(generator, "fast"):
            m.d.comb += [ClockSignal("fast").eq(generator.fast),
                         ResetSignal("fast").eq(~generator.locked)]
        button = Signal()
        if platform.default_rst is not None:
            reset_pin = platform.request(platform.default_rst, dir="-")
            m.submodules.reset = reset = io.Buffer("i", reset_pin)
            m.submodules.button = FFSynchronizer(reset.i, button, o_domain="startup")
        locked = Signal()
        m.submodules.locked = FFSynchronizer(generator.locked, locked, o_domain="startup")
        left = Signal(range(RESET_CYCLES), init=RESET_CYCLES - 1)
        asserted = Signal(init=1)
        m.d.startup += asserted.eq(left != 0)
        with m.If(button | ~locked):
            m.d.startup += left.eq(RESET_CYCLES - 1)
        with m.Elif(left != 0):
            m.d.startup += left.eq(left - 1)
        m.d.comb += ResetSignal("sync").eq(asserted)
        return m
