# SPDX-License-Identifier: Apache-2.0
"""Loader: samples become words at the places that the encoder reads."""

import random
from collections.abc import Mapping
from typing import Any

import cocotb
from cocotb.handle import SimHandleBase
from cocotb.triggers import FallingEdge, ReadOnly

from hw.loader import Loader
from sim.benches.maps import StoredMap
from sim.benches.memory import SpikeMemoryModel
from sim.benches.models import SMALL, hardware_for, instruction_bits
from sim.streams import Bench, parameters


def unit(setup: Mapping[str, Any]) -> Loader:
    return Loader(hardware_for(static_input=setup["static"]))


@cocotb.test()
async def samples(dut: SimHandleBase) -> None:
    setup = parameters()
    hardware, rng = hardware_for(static_input=setup["static"]), random.Random(4)
    bits, channels = hardware.input_width, SMALL.in_channels
    timesteps = 1 if setup["static"] else SMALL.timesteps
    target = StoredMap(1, 3, SMALL.image_height, SMALL.image_width, timesteps)
    bench = Bench(dut)
    await bench.start({"instruction": instruction_bits(
        hardware, height=target.height, width=target.width, timesteps=timesteps,
        **target.target())})
    memory = SpikeMemoryModel(bench, hardware, writes=("write",))
    ends: list[bool] = []

    async def count_ends() -> None:
        # `done` comes in the cycle of the last transfer, before the clock edge that takes it.
        while True:
            await FallingEdge(dut.clk)
            await ReadOnly()
            ends.extend([True] * int(dut.done.value))

    cocotb.start_soon(count_ends())
    for _ in range(2):  # twice, to see that it starts afresh
        pixels = {target.write(*index): [rng.getrandbits(bits) for _ in range(channels)]
                  for index in target.indices()}
        memory.words.clear()
        memory.written.clear()
        dut.start.value = 1
        await bench.cycles()
        dut.start.value = 0
        # Row by row, all timesteps of a position, all channels of a timestep.
        ends.clear()
        await bench.drive("i", [sample for index in target.indices()
                                for sample in pixels[target.write(*index)]], setup["pause"])
        await bench.cycles(2)
        assert len(ends) == 1
        assert memory.words == {place: sum(sample << c * bits for c, sample in enumerate(pixel))
                                for place, pixel in pixels.items()}
        assert len(memory.written) == len(pixels)
