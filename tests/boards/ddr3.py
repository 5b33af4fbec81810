# SPDX-License-Identifier: Apache-2.0
"""What the tests of the DDR3 controller share: it and its chip."""

from typing import Any

import numpy as np

from boards.ddr3 import Ddr3
from boards.ddr3_chip import SIZE, Ddr3Timings
from tests.boards.chips import Ddr3Chip
from tests.hw.harness import Bench

SHORT = {"power_up": 1_000.0, "wake_up": 1_500.0}   # ns, where a test is not about them
NOISE = np.random.default_rng(0).bytes(1 << 13)
# What the training leaves alone: it writes to the first 16 bytes.
BASE = 4096


def filled(**changes: Any) -> Ddr3Chip:
    chip = Ddr3Chip(**SHORT, **changes)
    chip.load(BASE, NOISE)
    chip.load(SIZE - 1024, NOISE[:1024])
    return chip


def bench_of(bits: int, chip: Ddr3Chip, mhz: float = 50, max_cycles: int = 30_000,
             **timings: float) -> tuple[Bench, Ddr3]:
    dut = Ddr3(bits, round(mhz * 1e6), Ddr3Timings(
        **{"power_up": chip.power_up, "wake_up": chip.wake_up} | timings))
    bench = Bench(dut, max_cycles=max_cycles)
    chip.serve(bench, dut.pins, 1000 / mhz)
    return bench, dut
