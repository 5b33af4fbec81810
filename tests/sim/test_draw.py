# SPDX-License-Identifier: Apache-2.0
"""Combinations follow from seed and number, and reach every value of every dimension."""

from collections import Counter

import pytest

from hw.config import HardwareConfig
from sim import draw as module
from sim.draw import BLOCK, DIMENSIONS, dealt, draw


@pytest.mark.parametrize("seed", [0, 7])
def test_each_value_comes_as_often_as_the_others(seed):
    blocks = [[dealt(seed, number) for number in range(first, first + BLOCK)]
              for first in (0, BLOCK)]
    for block in blocks:
        for name, choices in DIMENSIONS.items():
            counts = Counter(each[name] for each in block)
            assert set(counts) == set(choices)
            shares = [counts[value] / choices.count(value) for value in set(choices)]
            assert max(shares) - min(shares) <= 1
    assert blocks[0] != blocks[1]


def test_a_number_is_always_the_same():
    one, other = draw(3, 9), draw(3, 9)
    assert one.program.stream == other.program.stream and one.program.memory == other.program.memory
    assert (one.latency, one.stalls, one.gaps) == (other.latency, other.stalls, other.gaps)
    assert str(one) == str(other) != str(draw(4, 9))


def test_what_is_dealt_is_built():
    for number in (1, 6, 17):
        drawn = draw(0, number)
        network, hardware = drawn.program.model.network, drawn.program.hardware
        for name in ("depth", "timesteps", "tau", "static_input", "embed_dim", "classifier"):
            assert getattr(network, name) == drawn.chosen[name]
        assert hardware.geometry.lanes == drawn.chosen["lanes"]
        assert hardware.geometry.ports == drawn.chosen["ports"]
        assert hardware.queue_depth == drawn.chosen["queue_depth"]
        assert hardware.port_bits == drawn.chosen["port_bits"]
        assert 0 < drawn.latency < 200 and drawn.stalls and drawn.gaps


def test_memories_that_are_asked_for():
    """As built: small maps stay on chip."""
    seen = set()
    for number in range(16):
        drawn = draw(0, number)
        hardware, memory = drawn.program.hardware, drawn.chosen["memory"]
        seen.add(memory)
        assert hardware.spills_residual == (memory == "residual outside")
        assert hardware.spills_maps == (memory == "maps outside")
        if memory == "tight ring":
            roomy = HardwareConfig.for_model(drawn.program.model, hardware.geometry.lanes,
                                             hardware.geometry.banks, port_bits=64)
            assert hardware.streamed and hardware.weight_rows < roomy.weight_rows
    assert seen == set(DIMENSIONS["memory"])


def test_a_combination_that_cannot_be_built_says_why(monkeypatch):
    def refuse(*_):
        raise ValueError("lanes must be few")

    monkeypatch.setattr(module, "_hardware", refuse)
    monkeypatch.setattr(module, "ATTEMPTS", 2)
    with pytest.raises(ValueError, match=r"^combination 0 of seed 1 must be possible to build, but "
                                         r"the last of 2 draws was refused: lanes must be few$"):
        draw(1, 0)
