# SPDX-License-Identifier: Apache-2.0
"""Radiona ULX3S with the ECP5 85F: 25 MHz, USB-UART, eight LEDs.  All its tools come from PyPI.

Pins come from amaranth-boards, resources from Lattice FPGA-DS-02012.
"""

from amaranth_boards.ulx3s import ULX3S_85F_Platform

from boards.base import Board, ExternalMemory, Resources
from boards.clocking import Ecp5Pll
from hw.families import ECP5

ulx3s_85f = Board(
    name="ulx3s_85f", part="LFE5U-85F-6BG381C", clock_mhz=25, platform=ULX3S_85F_Platform,
    leds=(("led", 0), ("led", 1), ("led", 2)), family=ECP5, toolchains=("ecp5",),
    core_mhz=50, clocking=Ecp5Pll, loader="openFPGALoader -b ulx3s {bit}",
    memories=(ExternalMemory("sdram", 32 << 20, ("sdram", 0)),),
    resources=Resources(lut=83_640, ff=83_640, ram=208, carry=41_820, dsp=156))
