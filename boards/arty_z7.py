# SPDX-License-Identifier: Apache-2.0
"""Digilent Arty Z7-20: Zynq-7000 with the logic of an Artix-7, and two processors that it serves.

Resources come from Xilinx DS190, the part from Digilent's reference manual.
"""

from amaranth_boards.arty_z7 import ArtyZ720Platform

from boards.base import Board, ExternalMemory, Resources

# What the explorer chooses, 128 lanes x 8 banks, is more than yosys as WebAssembly finishes.
arty_z7_20 = Board(
    name="arty_z7_20", part="xc7z020clg400-1", clock_mhz=50, platform=ArtyZ720Platform,
    peripheral=True, toolchains=("vivado",), loader="openFPGALoader -b arty_z7_20 {bit}",
    hardware={"lanes": 64, "banks": 4, "spike_word": 32, "neurons": 16},
    # DDR3 of the processors, behind their ports for masters in the logic.
    memories=(ExternalMemory("dram", size=512 << 20),),
    resources=Resources(lut=53_200, ff=106_400, ram=140, carry=13_300, dsp=220))
