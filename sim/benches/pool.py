# SPDX-License-Identifier: Apache-2.0
"""Pool: the max-pool of a spike map in memory, or the map itself."""

from collections.abc import Mapping
from typing import Any

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from hw.network import pooled
from hw.pool import Pool, SpikeWord
from sim.benches.memory import SpikeMemoryModel
from sim.benches.models import hardware_for, instruction_bits
from sim.streams import Bench, pack, parameters

BASE, STEPS = 9, 2


def unit(setup: Mapping[str, Any]) -> Pool:
    return Pool(hardware_for(8, 2))


def max_pool(spikes: np.ndarray) -> np.ndarray:
    """3x3, stride 2, padding 1, of bool [H, W, ...]: an OR over the valid window."""
    height, width = spikes.shape[:2]
    result = np.zeros((pooled(height), pooled(width), *spikes.shape[2:]), bool)
    for y, x in np.ndindex(result.shape[:2]):
        window = spikes[max(0, 2 * y - 1):2 * y + 2, max(0, 2 * x - 1):2 * x + 2]
        result[y, x] = window.any(axis=(0, 1))
    return result


@cocotb.test()
async def windows(dut: SimHandleBase) -> None:
    setup = parameters()
    hardware, pools = hardware_for(8, 2), setup["pool"]
    height, width = setup["height"], setup["width"]
    word_bits = hardware.geometry.spike_word
    out_width = pooled(width) if pools else width
    column, row = STEPS, out_width * STEPS
    bench = Bench(dut)
    await bench.start({"instruction": instruction_bits(
        hardware, fire=1, pool=pools, target_half=1, target_base=BASE, target_words=1,
        column_stride=column, target_row_stride=row)})
    memory = SpikeMemoryModel(bench, reads=("read",), writes=("write",))
    rng = np.random.default_rng(8)
    for density in (0.1, 0.7):  # the second map overwrites the first
        spikes = rng.random((height, width, STEPS, word_bits)) < density
        expected = max_pool(spikes) if pools else spikes
        payloads: list[int | None] = []
        for y, x, step in np.ndindex(height, width, STEPS):
            home_y, home_x = (y >> 1, x >> 1) if pools else (y, x)
            payloads.append(pack(SpikeWord(hardware), {
                "spikes": sum(int(bit) << i for i, bit in enumerate(spikes[y, x, step])),
                "tag": {"target": BASE + home_y * row + home_x * column + step,
                        # part of the windows to the right and below, where these exist
                        "column": pools and x % 2 and x < width - 1,
                        "row": pools and y % 2 and y < height - 1,
                        # the first of the window that it is at home in
                        "left": x == 0 or not pools, "top": y == 0 or not pools}}))
            payloads += [None] * 3  # four windows take four cycles
        memory.store(1, BASE, np.ones((expected.size // word_bits, word_bits), bool))
        await bench.drive("i", payloads)
        await bench.until(lambda: bool(int(dut.idle.value)), 100, "idle")
        await bench.cycles(3)
        got = memory.load(1, BASE, expected.size // word_bits).reshape(expected.shape)
        assert np.array_equal(got, expected)
