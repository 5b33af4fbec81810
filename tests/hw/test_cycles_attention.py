# SPDX-License-Identifier: Apache-2.0
"""Cycles of attention by the states of its machine; whole networks are in test_cycles."""

import numpy as np
import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.cycles_attention import AROUND, run
from sim.benches.models import SMALL, random_model

SHAPE = (3, 32, 3, 3)   # T, channels, tokens of SMALL
ENTRIES = 27


def attention(engines=1):
    """Hardware and plan of the attention layer: two groups of 16 channels with one engine."""
    model = random_model(SMALL)
    hardware = HardwareConfig.for_model(model, lanes=8, banks=2, attention_engines=engines)
    program = compile_model(model, hardware)
    return hardware, next(each for each in program.plan.layers if not each.layer.has_weights)


def test_without_spikes_every_entry_takes_its_least():
    hardware, plan = attention()
    silence = np.zeros(SHAPE, bool)
    ran = run(hardware, plan, silence, silence)
    clear = hardware.max_timesteps * hardware.attention_lanes
    groups = 32 // hardware.attention_lanes
    # Two cycles, but for the last ones.
    assert ran.cycles == groups * (clear + AROUND + 2 * (2 * ENTRIES - 1))
    assert (ran.busy, ran.events) == (0, 0)


def test_an_entry_takes_its_events_and_its_busiest_engine():
    one, two = attention(1), attention(2)
    spikes = np.zeros(SHAPE, bool)
    spikes[1, :5, 2, 1] = True      # 5 in the first group of channels
    spikes[1, 16:18, 2, 1] = True   # 2 in the second
    silence = np.zeros(SHAPE, bool)
    base = run(*one, silence, silence).cycles
    assert run(*one, silence, spikes).cycles == base + (5 - 2)
    assert run(*one, spikes, silence).cycles == base + (5 - 2) + (2 - 2)
    assert run(*one, spikes, spikes).busy == 2 * (5 + 2)
    both = run(*two, spikes, spikes)
    assert both.events == 2 * (5 + 2) and both.busy == 2 * 5


def test_the_last_key_is_written_before_queries_read():
    hardware, plan = attention()
    silence = np.zeros(SHAPE, bool)
    last = silence.copy()
    last[2, 0, 2, 2] = True
    assert (run(hardware, plan, silence, last).cycles
            == run(hardware, plan, silence, silence).cycles + 1)


def test_shape():
    hardware, plan = attention()
    spikes = np.zeros(SHAPE, bool)
    with pytest.raises(ValueError, match=r"^source of block.0.attn.ssa must have shape "
                                         r"\(3, 32, 3, 3\), not \(2, 32, 3, 3\)$"):
        run(hardware, plan, spikes, spikes[1:])
