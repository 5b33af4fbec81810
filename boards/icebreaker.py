# SPDX-License-Identifier: Apache-2.0
"""1BitSquared iCEBreaker: Lattice iCE40 UP5K, 12 MHz, USB-UART, two LEDs.

Pins come from amaranth-boards, resources from Lattice FPGA-DS-02008.  No accelerator fits yet: what
the smallest one takes is in docs/boards.md.
"""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from boards.base import Board, Resources
from hw.families import ICE40
from hw.model import MODELS

icebreaker = Board(
    name="icebreaker", part="iCE40UP5K-SG48", clock_mhz=12, platform=ICEBreakerPlatform,
    leds=(("led", 0), ("led", 1)), family=ICE40, toolchains=("ice40",),
    loader="openFPGALoader -b ice40_generic {bit}", model=MODELS / "digits4",
    hardware={"lanes": 8, "banks": 1, "neurons": 1, "pairs": False, "beside": False},
    resources=Resources(lut=5_280, ff=5_280, ram=30, carry=5_280, dsp=8))
