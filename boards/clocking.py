# SPDX-License-Identifier: Apache-2.0
"""The clock of a board's design, from its oscillator, and the reset that follows power-up."""

from typing import Any

from amaranth import ClockDomain, ClockSignal, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

# Registers start at different cycles after configuration, so the design is reset once they all run.
RESET_CYCLES = 256
# Of the ECP5's PLL (data sheet FPGA-DS-02012, table of sysCLOCK PLL timing), in MHz.
ECP5_VCO_MHZ = (400, 800)
ECP5_PHASE_DETECTOR_MHZ = (3.125, 400)


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


def ecp5_dividers(in_mhz: float, out_mhz: float) -> tuple[int, int, int]:
    """Reference, feedback and output divider: out = in * feedback / reference.

    Of those that are exact, the ones with the fastest oscillator.  Raises ValueError if there are
    none within the limits of the PLL.
    """
    best = None
    for reference in range(1, 129):
        if not ECP5_PHASE_DETECTOR_MHZ[0] <= in_mhz / reference <= ECP5_PHASE_DETECTOR_MHZ[1]:
            continue
        feedback = round(out_mhz * reference / in_mhz)
        if not 1 <= feedback <= 80 or abs(in_mhz * feedback / reference - out_mhz) > 1e-6 * out_mhz:
            continue
        for output in range(1, 129):
            if ECP5_VCO_MHZ[0] <= out_mhz * output <= ECP5_VCO_MHZ[1]:
                best = max(best or (0,), (output, -reference, feedback))
        if best:
            break
    if best is None:
        raise ValueError(f"clock must be one that a PLL makes of {in_mhz:g} MHz, "
                         f"not {out_mhz:g} MHz")
    return -best[1], best[2], best[0]


class Ecp5Pll(wiring.Component):
    """A clock of another frequency, from a PLL (EHXPLLL).

    Ports: `i` the pin's clock, `o` the clock, `locked`.
    """

    def __init__(self, in_hz: int, out_hz: int) -> None:
        self.in_mhz, self.out_mhz = in_hz / 1e6, out_hz / 1e6
        self.dividers = ecp5_dividers(self.in_mhz, self.out_mhz)
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


class Clocking(Elaboratable):
    """Domain `sync`: the clock of `generator`, and a reset of 256 cycles after power-up.

    generator: component with the ports `i`, `o` and `locked`; it gets the board's default clock
    The board's reset button, if its platform names one, resets too.
    """

    def __init__(self, generator: Any) -> None:
        self._generator = generator

    def elaborate(self, platform):
        m = Module()
        m.submodules.generator = generator = self._generator
        pins = platform.request(platform.default_clk, dir="-")
        m.submodules.pin = pin = io.Buffer("i", pins)
        m.d.comb += generator.i.eq(pin.i)

        # The counter's own domain has no reset: it is what makes the reset.
        m.domains.sync = ClockDomain()
        m.domains.startup = ClockDomain(reset_less=True, local=True)
        m.d.comb += [ClockSignal("sync").eq(generator.o), ClockSignal("startup").eq(generator.o)]
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
