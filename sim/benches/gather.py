# SPDX-License-Identifier: Apache-2.0
"""Gather: exactly the spikes and weight rows of every group, padding never visited."""

import random
from collections.abc import Mapping
from typing import Any

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from hw.gather import EventLine, Gather
from sim.benches.maps import LINE, StoredMap
from sim.benches.memory import SpikeMemoryModel, spikes_of, word_of
from sim.benches.models import hardware_for, instruction_bits
from sim.streams import Bench, parameters, unpack

ROW, STEPS, WORDS, TILES = 1, 2, 3, 2


def unit(setup: Mapping[str, Any]) -> Gather:
    return Gather(hardware_for(8, 2))


@cocotb.test()
async def taps(dut: SimHandleBase) -> None:
    setup = parameters()
    hardware, kernel = hardware_for(8, 2), setup["kernel"]
    word_bits, slice_bits = hardware.geometry.spike_word, hardware.geometry.slice_bits
    source = StoredMap(1, 5, setup["height"], setup["width"], STEPS, WORDS, kernel == 3, 2)
    tap = WORDS * slice_bits
    tile = kernel ** 2 * tap
    stride = tap if kernel == 3 else slice_bits
    bench = Bench(dut)
    await bench.start({"instruction": instruction_bits(
        hardware, **source.source(), height=source.height, width=source.width, planes=1,
        kernel3=kernel == 3, weight_base=ROW, tile_stride=tile, tiles=TILES,
        row_tap_stride=3 * tap if kernel == 3 else 0, word_stride=stride,
        line_stride=slice_bits if kernel == 3 else LINE * slice_bits)})
    memory = SpikeMemoryModel(bench, hardware, reads=("memory",))
    shape = (source.height, source.width, STEPS, WORDS, word_bits)
    spikes = np.random.default_rng(6).random(shape) < 0.5
    memory.store(source, spikes)
    expected = []
    for t in range(TILES):
        for y, x, step in np.ndindex(source.height, source.width, STEPS):
            group = []
            for ky, kx, word in np.ndindex(kernel, kernel, WORDS):
                v, u = y + ky - kernel // 2, x + kx - kernel // 2
                if 0 <= v < source.height and 0 <= u < source.width:
                    row = ROW + t * tile + (ky * kernel + kx) * tap + word * slice_bits
                    group.append((row, word_of(spikes[v, u, step, word])))
            expected.append((sorted(each for each in group if each[1]), t == TILES - 1))
    # A line is a kernel row of a word, or four words of the position.
    rows = sum(min(y + 2, source.height) - max(y - 1, 0) for y in range(source.height))
    lines = TILES * source.width * STEPS * (rows * WORDS if kernel == 3 else source.height)
    received = bench.watch("o", setup["pause"])
    layout = EventLine(hardware)
    for _ in range(2):  # twice, to see that it starts afresh
        received.clear()
        await bench.cycles(random.Random(7).randint(2, 9))
        dut.start.value = 1
        await bench.cycles()
        dut.start.value = 0
        await bench.until(lambda: len(received) >= lines, 100_000, "every line out")
        await bench.cycles(20)
        assert len(received) == lines
        assert _groups(received, layout, stride) == expected


def _groups(received: list[int], layout: EventLine, stride: int) -> list[tuple[list, bool]]:
    """(row, spikes) of each group that is complete, and whether it is in the last tile."""
    groups, group = [], []
    for bits in received:
        line = unpack(layout, bits)
        group += spikes_of(line, stride)
        if line["last"]:
            groups.append((sorted(group), bool(line["last_tile"])))
            group = []
    return groups
