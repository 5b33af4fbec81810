# SPDX-License-Identifier: Apache-2.0
"""Digilent Nexys 4 DDR (later sold as Nexys A7-100T): Artix-7 100T, 100 MHz, USB-UART, 16 LEDs.

Pins come from amaranth-boards, resources from Xilinx DS180.
"""

from dataclasses import replace

from amaranth.build import Attrs, Pins, PinsN, Resource, Subsignal
from amaranth_boards.nexys4ddr import Nexys4DDRPlatform

from boards.arty_a7 import arty_a7_100, configuration_flash
from boards.base import Board
from boards.clocking import Xilinx7Divider


class FlashPlatform(Nexys4DDRPlatform):
    """With the flash as a design sees it: its clock is CCLK, which no design has as a pin."""

    resources = (*Nexys4DDRPlatform.resources, Resource(
        "configuration_flash", 0, Subsignal("cs", PinsN("L13", dir="o")),
        Subsignal("dq", Pins("K17 K18 L14 M14", dir="io")), Attrs(IOSTANDARD="LVCMOS33")))


# nextpnr places no STARTUPE2, and prjxray's database lacks bits of it.
_FLASH = replace(configuration_flash("nexys_a7_100", "configuration_flash"), toolchains=("vivado",))

nexys4ddr = Board(
    name="nexys4ddr", part="xc7a100tcsg324-1", clock_mhz=100, platform=FlashPlatform,
    leds=(("led", 0), ("led", 1), ("led", 2)), core_mhz=50, clocking=Xilinx7Divider,
    loader="openFPGALoader -b nexys_a7_100 {bit}",
    memories=(_FLASH,), resources=arty_a7_100.resources)
