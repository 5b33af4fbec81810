# SPDX-License-Identifier: Apache-2.0
"""Random models keep firing, whatever their shape."""

from dataclasses import replace

import numpy as np
import pytest

from hw.isa import Instruction
from hw.network import Kind
from quantize.golden import GoldenModel
from sim.benches.models import (
    SMALL,
    hardware_for,
    instruction_bits,
    random_inputs,
    random_model,
)


@pytest.mark.parametrize("changes", [
    {}, {"tau": 1.5}, {"static_input": False}, {"embed_dim": 64, "num_heads": 1}])
@pytest.mark.parametrize("bits", [8, 4])
def test_every_layer_fires(changes, bits):
    network = replace(SMALL, **changes)
    model = random_model(network, weight_bits=bits)
    for result in GoldenModel(model).run(random_inputs(model, 2))[1]:
        if result.spikes is not None and result.layer.kind is not Kind.ATTENTION:
            assert 0.01 < result.spikes.mean() < 0.95, result.name


def test_seeded():
    first, again, other = (random_model(SMALL, seed) for seed in (1, 1, 2))
    weight = "patch_embed.block2"
    assert np.array_equal(first.tensors[weight].weight, again.tensors[weight].weight)
    assert not np.array_equal(first.tensors[weight].weight, other.tensors[weight].weight)
    assert np.array_equal(random_inputs(first, 2), random_inputs(again, 2))


def test_instruction():
    hardware = hardware_for(8, 2)
    layout = Instruction(hardware)
    bits = instruction_bits(hardware, height=5, target_half=1)
    assert bits == 5 << layout["height"].offset | 1 << layout["target_half"].offset
