# SPDX-License-Identifier: Apache-2.0
"""Gather: exactly the words and weight rows of every group, padding never visited."""

import random
from collections.abc import Mapping
from typing import Any

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from hw.gather import EventWord, Gather
from sim.benches.memory import SpikeMemoryModel
from sim.benches.models import hardware_for, instruction_bits
from sim.streams import Bench, pack, parameters, unpack

BASE, ROW, STEPS, WORDS, TILES = 5, 1, 2, 2, 2


def unit(setup: Mapping[str, Any]) -> Gather:
    return Gather(hardware_for(8, 2))


@cocotb.test()
async def words(dut: SimHandleBase) -> None:
    setup = parameters()
    hardware = hardware_for(8, 2)
    height, width, kernel = setup["height"], setup["width"], setup["kernel"]
    word_bits, slice_bits = hardware.geometry.spike_word, hardware.geometry.slice_bits
    position = STEPS * WORDS
    tap = WORDS * slice_bits
    tile = kernel ** 2 * tap
    size = height * width * position
    bench = Bench(dut)
    await bench.start({"instruction": instruction_bits(
        hardware, source_half=1, source_base=BASE, source_words=WORDS, steps=STEPS,
        position_stride=position, row_stride=width * position, height=height, width=width,
        kernel3=kernel == 3, weight_base=ROW, tap_stride=tap,
        row_tap_stride=3 * tap if kernel == 3 else 0, tile_stride=tile, tiles=TILES)})
    memory = SpikeMemoryModel(bench, reads=("memory",))
    spikes = np.random.default_rng(6).random((size, word_bits)) < 0.5
    memory.store(1, BASE, spikes)
    expected = []
    for t in range(TILES):
        for y, x in np.ndindex(height, width):
            taps = [(ky, kx) for ky in range(kernel) for kx in range(kernel)
                    if 0 <= y + ky - kernel // 2 < height and 0 <= x + kx - kernel // 2 < width]
            for step in range(STEPS):
                for ky, kx in taps:
                    there = (y + ky - kernel // 2) * width + x + kx - kernel // 2
                    for word in range(WORDS):
                        bits = spikes[there * position + step * WORDS + word]
                        expected.append(pack(EventWord(hardware), {
                            "spikes": sum(int(bit) << i for i, bit in enumerate(bits)),
                            "row": ROW + t * tile + (ky * kernel + kx) * tap + word * slice_bits,
                            "last": (ky, kx) == taps[-1] and word == WORDS - 1}))
    received = bench.watch("o", setup["pause"])
    for _ in range(2):  # twice, to see that it starts afresh
        received.clear()
        await bench.cycles(random.Random(7).randint(2, 9))
        dut.start.value = 1
        await bench.cycles()
        dut.start.value = 0
        await bench.until(lambda: len(received) >= len(expected), 100_000, "every word out")
        await bench.cycles(20)
        assert [unpack(EventWord(hardware), bits) for bits in received] == [
            unpack(EventWord(hardware), bits) for bits in expected]
