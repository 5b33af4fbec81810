# SPDX-License-Identifier: Apache-2.0
"""1BitSquared iCEBreaker: Lattice iCE40 UP5K, 12 MHz, USB-UART, two LEDs.

Pins come from amaranth-boards, resources from Lattice FPGA-DS-02008.  A network cut to fit is in
`hw/models/digits16`; what it takes is in docs/boards.md.
"""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from boards.base import Board, Resources
from hw.falling_reads import FallingReads
from hw.families import ICE40
from hw.model import MODELS


class Platform(FallingReads, ICEBreakerPlatform):
    """The board, whose memories all have a clock."""


icebreaker = Board(
    name="icebreaker", part="iCE40UP5K-SG48", clock_mhz=12, platform=Platform,
    leds=(("led", 0), ("led", 1)), family=ICE40, toolchains=("ice40",),
    loader="openFPGALoader -b ice40_generic {bit}", model=MODELS / "digits16",
    hardware={"lanes": 4, "banks": 1, "neurons": 1, "ports": 1, "pairs": False, "beside": False,
              "tally_bits": 16},
    resources=Resources(lut=5_280, ff=5_280, ram=30, carry=5_280, dsp=8))
