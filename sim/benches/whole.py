# SPDX-License-Identifier: Apache-2.0
"""A whole small accelerator, driven from Python: every output word of two inferences.

That is each logit, and each layer's additions, cycles and saturations.  For simulators that do not
take sim/testbench.sv, which compares every spike.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import cocotb
from cocotb.handle import SimHandleBase

from hw.accelerator import Accelerator
from hw.compiler import Program, compile_model
from hw.config import HardwareConfig
from hw.cycles import predict
from hw.network import NetworkConfig
from hw.readout import OUTPUT
from quantize.golden import GoldenModel
from quantize.sources import source_maps
from sim.benches.models import random_inputs, random_model
from sim.inputs import in_port_order
from sim.streams import Bench, parameters, unpack

NETWORK = NetworkConfig(embed_dim=8, depth=1, num_heads=2, timesteps=2, in_channels=1,
                        image_height=4, image_width=4, num_classes=3, mlp_ratio=1.0,
                        pool_stages=(False, False, False, True))
LIMIT = 20_000   # cycles of an inference, far more than it takes


@cache
def program(lanes: int, banks: int, tau: float) -> Program:
    model = random_model(replace(NETWORK, tau=tau))
    return compile_model(model, HardwareConfig.for_model(model, lanes=lanes, banks=banks))


def unit(setup: Mapping[str, Any]) -> Accelerator:
    made = program(setup["lanes"], setup["banks"], setup["tau"])
    return Accelerator(made.hardware, made.memory)


@cocotb.test()
async def inferences(dut: SimHandleBase) -> None:
    setup = parameters()
    made = program(setup["lanes"], setup["banks"], setup["tau"])
    inputs = random_inputs(made.model, 2)
    golden = GoldenModel(made.model)
    bench = Bench(dut)
    await bench.start()
    received = bench.watch("o", setup["pause"])
    mask = (1 << made.hardware.input_width) - 1
    bench.drive("i", [int(value) & mask for image in inputs for value in in_port_order(image)],
                setup["pause"])
    for image in inputs:
        layers = golden.run(image[None])[0]
        timed = predict(made, source_maps(golden, image))
        counters = [(each.acs, guess.cycles, each.saturations or 0)
                    for each, guess in zip(layers, timed, strict=True)]
        expected = [*layers[-1].logits.tolist(), *(int(n) for row in counters for n in row)]
        await bench.until(partial(_as_many, received, expected), LIMIT, "every output word")
        words = [unpack(OUTPUT, word) for word in received[:len(expected)]]
        del received[:len(expected)]
        assert [word["data"] for word in words] == expected
        assert [bool(word["last"]) for word in words] == [False] * (len(words) - 1) + [True]


def _as_many(received: list[int], expected: list[int]) -> bool:
    return len(received) >= len(expected)
