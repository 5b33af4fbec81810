# SPDX-License-Identifier: Apache-2.0
"""What the tests of the DDR3 controller share: it and its chip, and bursts that are read."""

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


def read(bench: Bench, dut: Ddr3, bits: int, bursts: list[tuple[int, int]],
         gaps: tuple[int, int] = (0, 0)) -> tuple[list[dict[str, int]], list[Any], list[Any]]:
    """What comes, and in which cycles it was asked for and came."""
    bench.source(dut.axi.ar, [{"addr": address, "len": beats - 1, "burst": 1,
                               "size": 3 + bits // 128} for address, beats in bursts], gaps[0])
    got = bench.sink(dut.axi.r, sum(beats for _, beats in bursts), gaps[1] * 5)
    return (got, bench.record(dut.axi.ar.valid & dut.axi.ar.ready),
            bench.record(dut.axi.r.valid & dut.axi.r.ready))


def expected(bits: int, bursts: list[tuple[int, int]], chip: Ddr3Chip) -> list[dict[str, int]]:
    words = bits // 16
    return [{"data": sum(chip.word(address // 2 + n * words + k) << 16 * k for k in range(words)),
             "resp": 0, "last": int(n == beats - 1)}
            for address, beats in bursts for n in range(beats)]
