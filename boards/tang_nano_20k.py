# SPDX-License-Identifier: Apache-2.0
"""Sipeed Tang Nano 20K: Gowin GW2AR-18, 27 MHz, USB-UART, six LEDs.  All its tools are on PyPI.

Pins come from Sipeed's schematic, resources from Gowin DS226.
"""

from amaranth.build import Attrs, Clock, Pins, Resource
from amaranth.vendor import GowinPlatform
from amaranth_boards.resources import LEDResources, UARTResource

from boards.base import Board, Resources
from boards.clocking import GowinPll
from hw.families import GOWIN
from hw.model import MODELS

_LVCMOS33 = Attrs(IO_TYPE="LVCMOS33")


class TangNano20kPlatform(GowinPlatform):
    """What of the board is used here."""

    part = "GW2AR-LV18QN88C8/I7"
    family = "GW2AR-18C"
    default_clk = "clk27"
    resources = (Resource("clk27", 0, Pins("4", dir="i"), Clock(27e6), _LVCMOS33),
                 *LEDResources(pins="15 16 17 18 19 20", invert=True, attrs=_LVCMOS33),
                 UARTResource(0, rx="70", tx="69",
                              attrs=Attrs(PULL_MODE="UP", IO_TYPE="LVCMOS33")))
    connectors = ()


# One bank: 4-bit weights in two would take more block RAMs than there are.
tang_nano_20k = Board(
    name="tang_nano_20k", part=TangNano20kPlatform.part, clock_mhz=27,
    platform=TangNano20kPlatform, leds=(("led", 0), ("led", 1), ("led", 2)),
    family=GOWIN, toolchains=("gowin",),
    core_mhz=54, clocking=GowinPll, loader="openFPGALoader -b tangnano20k {bit}",
    hardware={"lanes": 16, "banks": 1, "neurons": 2}, model=MODELS / "digits4",
    resources=Resources(lut=20_736, ff=15_552, ram=46, carry=20_736, dsp=48))
