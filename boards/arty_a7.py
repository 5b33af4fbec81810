# SPDX-License-Identifier: Apache-2.0
"""Digilent Arty A7: Artix-7 35T or 100T, 100 MHz, USB-UART, four green LEDs.

Pins come from amaranth-boards, resources from Xilinx DS180, parts from Digilent's reference manual.
"""

from amaranth_boards.arty_a7 import ArtyA7_35Platform, ArtyA7_100Platform

from boards.base import Board, ExternalMemory, Resources
from boards.clocking import Xilinx7Divider, Xilinx7Pll
from boards.ddr3_chip import SIZE as DDR3_SIZE


class ArtyA7100Platform(ArtyA7_100Platform):
    """The 100T as Digilent solders it: commercial grade, speed -1; upstream says XC7A100TI-1L."""

    device = "xc7a100t"
    speed = "1"


# MT41K128M16JT-125, of which the pads are SERDES at 4 times the clock.
_DDR3 = ExternalMemory("ddr3", DDR3_SIZE, ("ddr3", 0), clocking=Xilinx7Pll)
_LEDS = (("led", 0), ("led", 1), ("led", 2), ("led", 3))


def configuration_flash(name: str, resource: str = "spi_flash_4x") -> ExternalMemory:
    """S25FL128S: its first 4 MB are left to the bitstream, of either device.

    name: of the board, as openFPGALoader knows it
    """
    return ExternalMemory("flash", 16 << 20, (resource, 0), offset=4 << 20,
                          loader=f"openFPGALoader -b {name} -f -o {{offset}} {{image}}")


arty_a7 = Board(
    name="arty_a7", part="xc7a35ticsg324-1L", clock_mhz=100, platform=ArtyA7_35Platform, leds=_LEDS,
    core_mhz=50, clocking=Xilinx7Divider, loader="openFPGALoader -b arty_a7_35t {bit}",
    memories=(configuration_flash("arty_a7_35t"), _DDR3),
    resources=Resources(lut=20_800, ff=41_600, ram=50, carry=5_200, dsp=90))

arty_a7_100 = Board(
    name="arty_a7_100", part="xc7a100tcsg324-1", clock_mhz=100, platform=ArtyA7100Platform,
    leds=_LEDS,
    core_mhz=50, clocking=Xilinx7Divider, loader="openFPGALoader -b arty_a7_100t {bit}",
    memories=(configuration_flash("arty_a7_100t"), _DDR3),
    resources=Resources(lut=63_400, ff=126_800, ram=135, carry=15_850, dsp=240))
