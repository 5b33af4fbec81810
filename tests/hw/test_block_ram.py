# SPDX-License-Identifier: Apache-2.0
"""Memories from the configuration alone against those of the elaborated design."""

from dataclasses import replace

import pytest

from hw.block_ram import Ram, block_ram, block_rams, multiplexed, rams
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.memory_map import memories
from hw.network import NetworkConfig
from quantize.random_model import random_model

TINY = NetworkConfig(embed_dim=16, depth=1, num_heads=2, timesteps=2, in_channels=1, image_height=8,
                     image_width=8, num_classes=3, pool_stages=(False, False, True, True))
NAMED = {"weights", "parameters", "spikes, half 0", "spikes, half 1", "residual stream",
         "attention counters", "program"}


@pytest.mark.parametrize("options", [
    {"lanes": 8, "banks": 2}, {"lanes": 8, "banks": 1, "pairs": False, "beside": False},
    {"lanes": 16, "banks": 4, "port_bits": 64, "pairs": True}, {"lanes": 8, "parity": True},
    {"lanes": 8, "banks": 2, "port_bits": 128, "spill_residual": True, "spike_lines": (32, 32)},
])
def test_the_shapes_are_those_of_the_design(options):
    model = random_model(TINY)
    options = dict(options)
    parity = options.pop("parity", False)
    hardware = replace(HardwareConfig.for_model(model, **options), parity=parity)
    program = compile_model(model, hardware)
    # Reads without a clock are LUT RAM whatever their size.  Of a program that is known only what
    # changes is stored.
    named = NAMED if hardware.streamed else NAMED - {"program"}
    built = {(each.count, each.entries, each.bits) for each in memories(program)
             if each.name in named}
    told = {(each.count, each.depth, each.bits) for each in rams(hardware) if each.name in named}
    for one, other in zip([each for each in memories(program) if each.name == "program"],
                          [each for each in rams(hardware) if each.name == "program"], strict=True):
        assert one.bits <= other.bits
    assert {(count, bits) for count, _, bits in told} == {(count, bits) for count, _, bits in built}
    assert told - built <= {each for each in told if each[2] == 32}   # programs vary by a PLANES
    queues = [(each.entries, each.bits, each.count) for each in memories(program)
              if each.name not in NAMED]
    for each in rams(hardware):
        if each.name not in NAMED:
            found = sum(count for entries, bits, count in queues
                        if bits == each.bits and entries in (each.depth, each.depth + 1))
            assert found >= each.count, each


@pytest.mark.parametrize(("memory", "expected"), [
    (Ram("wide", 2, 1782, 256, two_reads=True, rom=True), 2 * 14.5),   # 14 of 18x2048, 1 of 9x2048
    (Ram("one", 1, 1024, 36, two_reads=True), 1),
    (Ram("half", 1, 1024, 18, two_reads=True), 0.5),
    (Ram("read and write", 4, 512, 72), 4),
    (Ram("small", 1, 32, 72), 0),           # LUT RAM
    (Ram("asked for", 1, 32, 72, block=True), 1),
    (Ram("rom", 1, 120, 300, rom=True), 0),   # logic is cheaper
])
def test_block_rams(memory, expected):
    assert block_rams(memory) == expected


def test_deep_memories_are_multiplexed():
    assert multiplexed(Ram("shallow", 2, 1024, 36, two_reads=True)) == 0
    assert multiplexed(Ram("deep", 2, 3000, 36, two_reads=True)) == 2 * 2 * 36 * 2


def test_more_weights_take_more():
    model = random_model(TINY)
    few, many = (block_ram(HardwareConfig.for_model(model, 8, 1, port_bits=64, weight_rows=rows))
                 for rows in (2048, 8192))
    assert few < many
