# SPDX-License-Identifier: Apache-2.0
"""What `boards.ddr3` knows of its chip: sizes, modes and times; and the signals to its pins."""

from dataclasses import dataclass

from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

WORD_BITS = 16
BANK_BITS, ROW_BITS, COLUMN_BITS = 3, 14, 10
ADDRESS_BITS = 1 + COLUMN_BITS + BANK_BITS + ROW_BITS
SIZE = 1 << ADDRESS_BITS
# A burst is eight words, the block, and takes four cycles.
BURST_CYCLES = 4
BLOCK_BYTES = 16
BLOCK_BITS = ADDRESS_BITS - 4
ALL_BANKS = 1 << 10   # on the address pins, with a precharge; with a calibration: the long one
# Without its DLL, a chip must have both latencies at 6; data comes a cycle before that and 1 to
# 10 ns after the clock.
READ_LATENCY = WRITE_LATENCY = 6
# By number: bursts of eight, latency 6, write recovery 5 (of precharges that we never ask for); no
# DLL, drivers of 40 ohms, no termination; write latency 6; nothing.
MODES = {0: 1 << 9 | 2 << 4, 1: 1, 2: 1 << 3, 3: 0}
# In cycles: between mode settings; before another command; the calibration; from the end of a
# write's data to a read, and from a read to a precharge, each also a number of nanoseconds, which
# four cycles are at any clock without DLL.
MODE_CYCLES, MODES_CYCLES, CALIBRATION_CYCLES, TURN_CYCLES = 4, 12, 512, 4
SLOTS = 8   # samples of a pin in a cycle, and levels of one
COMMAND = data.StructLayout({"ras": 1, "cas": 1, "we": 1, "ba": BANK_BITS, "a": ROW_BITS})


@dataclass(frozen=True)
class Ddr3Timings:
    """Of a chip in nanoseconds; by default those of MT41K128M16JT-125 (2 Gb DDR3L)."""

    power_up: float = 200_000         # in reset
    wake_up: float = 500_000          # from reset to the clock enable
    precharge: float = 13.75
    activate: float = 13.75           # to a read or write
    active: float = 35                # from activate to precharge, at least
    refresh_cycle: float = 160
    write_recovery: float = 15
    refresh_interval: float = 7_800

    @property
    def enable(self) -> float:
        """From the clock enable to the first command; at least 5 cycles."""
        return self.refresh_cycle + 10


class Ddr3Pins(wiring.Signature):
    """Between a controller and the pads, everything true when high.

    The command is that of ras, cas and we together.  `dq_o` are the first and the second word of a
    cycle, `dm_o` masks bytes of both, `dqs_o`: the strobe goes with them.  `dq_i` are samples of
    an earlier cycle: bit n in slot k, the earliest first, at 8 n + k.
    """

    def __init__(self) -> None:
        super().__init__({
            "rst": Out(1), "cke": Out(1), "ras": Out(1), "cas": Out(1), "we": Out(1),
            "ba": Out(BANK_BITS), "a": Out(ROW_BITS), "dq_o": Out(2 * WORD_BITS), "dm_o": Out(2),
            "dq_oe": Out(1), "dqs_o": Out(1), "dq_i": In(WORD_BITS * SLOTS)})
