# SPDX-License-Identifier: Apache-2.0
"""Loader: samples become bit planes at the addresses that the encoder reads."""

import random
from collections.abc import Mapping
from typing import Any

import cocotb
from cocotb.handle import SimHandleBase
from cocotb.triggers import ReadOnly

from hw.loader import Loader
from sim.benches.models import SMALL, hardware_for, instruction_bits
from sim.streams import Bench, parameters

BASE = 3


def unit(setup: Mapping[str, Any]) -> Loader:
    return Loader(hardware_for(static_input=setup["static"]))


@cocotb.test()
async def planes(dut: SimHandleBase) -> None:
    setup = parameters()
    hardware, rng = hardware_for(static_input=setup["static"]), random.Random(4)
    bits, channels = hardware.input_width, SMALL.in_channels
    timesteps = 1 if setup["static"] else SMALL.timesteps
    positions = SMALL.image_height * SMALL.image_width
    stride = timesteps * bits
    bench = Bench(dut)
    await bench.start({"instruction": instruction_bits(
        hardware, height=SMALL.image_height, width=SMALL.image_width, timesteps=timesteps,
        position_stride=stride, target_base=BASE, target_half=1)})
    for _ in range(2):  # twice, to see that it starts afresh
        samples = [[[rng.getrandbits(bits) for _ in range(channels)] for _ in range(positions)]
                   for _ in range(timesteps)]
        expected = {}
        for t in range(timesteps):
            for position in range(positions):
                for plane in range(bits):
                    expected[BASE + position * stride + t * bits + plane] = sum(
                        (sample >> bits - 1 - plane & 1) << c
                        for c, sample in enumerate(samples[t][position]))
        dut.start.value = 1
        await bench.cycles()
        dut.start.value = 0
        bench.drive("i", [sample for step in samples for position in step for sample in position],
                    setup["pause"])
        written: dict[int, int] = {}
        for _ in range(20000):
            await ReadOnly()
            done = int(dut.done.value)
            if int(dut.write__en.value):
                address = int(dut.write__address.value)
                assert address not in written and int(dut.write__half.value) == 1
                written[address] = int(dut.write__data.value)
            await bench.cycles()
            if done:
                break
        assert written == expected
