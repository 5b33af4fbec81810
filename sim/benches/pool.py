# SPDX-License-Identifier: Apache-2.0
"""Pool: the max-pool of a spike map in memory, or the map itself."""

from collections.abc import Mapping
from typing import Any

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from hw.network import pooled
from hw.pool import Pool, SpikeWord
from sim.benches.maps import StoredMap
from sim.benches.memory import SpikeMemoryModel, word_of
from sim.benches.models import hardware_for, instruction_bits
from sim.streams import Bench, pack, parameters

STEPS = 2


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
    size = (pooled(height), pooled(width)) if pools else (height, width)
    target = StoredMap(1, 9, *size, STEPS)
    bench = Bench(dut)
    await bench.start({"instruction": instruction_bits(
        hardware, fire=1, pool=pools, **target.target())})
    memory = SpikeMemoryModel(bench, hardware, reads=("read",), writes=("write",))
    done = 0
    for density in (0.1, 0.7):  # the second map overwrites the first
        rng = np.random.default_rng(8)
        spikes = rng.random((height, width, STEPS, word_bits)) < density
        expected = max_pool(spikes) if pools else spikes
        payloads: list[int | None] = []
        for y, x, step in np.ndindex(height, width, STEPS):
            row = y >> pools
            _, bank, line = target.write(row, x >> pools, step)
            ends = (not pools or y % 2 == 1 or y == height - 1) and (x, step) == (width - 1,
                                                                                  STEPS - 1)
            payloads.append(pack(SpikeWord(hardware), {
                "spikes": word_of(spikes[y, x, step]),
                "tag": {"target": line, "bank": bank,
                        # part of the windows to the right and below, where these exist
                        "column": pools and x % 2 and x < width - 1,
                        "row": pools and y % 2 and y < height - 1,
                        # the first of the window that it is at home in
                        "left": x == 0, "top": y == 0, "row_end": ends}}))
            payloads += [None]  # two rows of windows take two cycles
        task = bench.drive("i", payloads)
        while not task.done():
            await bench.cycles()
            done += int(dut.row_done.value)
        for _ in range(20):
            await bench.cycles()
            done += int(dut.row_done.value)
        assert int(dut.idle.value)
        assert np.array_equal(memory.load(target, word_bits)[:, :, :, 0], expected)
    assert done == 2 * target.height
