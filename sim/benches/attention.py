# SPDX-License-Identifier: Apache-2.0
"""Attention against LIF(Q (K^T V) / 8) in plain integers, from and to a model of spike memory."""

import random
from collections.abc import Mapping
from typing import Any

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase

from hw.attention import Attention
from hw.config import HardwareConfig
from hw.layout import head_channels
from hw.network import NetworkConfig
from sim.benches.maps import StoredMap
from sim.benches.memory import SpikeMemoryModel
from sim.benches.models import SMALL, hardware_for, instruction_bits
from sim.streams import Bench, parameters

FIRE = {2.0: 8, 1.5: 12}
HEIGHT, WIDTH = 3, 2


def configuration(setup: Mapping[str, Any]) -> tuple[HardwareConfig, NetworkConfig]:
    changes = {"embed_dim": setup["embed_dim"], "num_heads": setup["num_heads"],
               "tau": setup["tau"]}
    network = NetworkConfig.from_dict(SMALL.to_dict() | changes)
    return hardware_for(8, 2, engines=setup["engines"], **changes), network


def unit(setup: Mapping[str, Any]) -> Attention:
    return Attention(configuration(setup)[0])


def reference(q: np.ndarray, k: np.ndarray, v: np.ndarray, heads: int, tau: float) -> np.ndarray:
    """Spikes bool [T, N, D] of q, k, v likewise (paper Eq. 9 to 11, scale 1/8, threshold 1/2)."""
    timesteps, tokens, channels = q.shape
    spikes = np.zeros(q.shape, bool)
    state = np.zeros((tokens, channels), np.int64)
    for t in range(timesteps):
        split = [x[t].reshape(tokens, heads, -1).transpose(1, 0, 2).astype(np.int64)
                 for x in (q, k, v)]
        total = (split[0] @ split[1].transpose(0, 2, 1) @ split[2]).transpose(1, 0, 2)
        total = total.reshape(tokens, channels)
        h = state + (total if tau == 2.0 else 2 * total)
        spikes[t] = h >= FIRE[tau]
        state = np.where(spikes[t], 0, h >> 1 if tau == 2.0 else h // 3)
    return spikes


@cocotb.test()
async def attention(dut: SimHandleBase) -> None:
    setup = parameters()
    hardware, network = configuration(setup)
    tau, heads, timesteps = setup["tau"], network.num_heads, network.timesteps
    order, word_bits = np.array(head_channels(network)), hardware.geometry.spike_word
    words, tokens = -(-len(order) // word_bits), HEIGHT * WIDTH
    maps = [StoredMap(0, base, HEIGHT, WIDTH, timesteps, words, False) for base in (0, 50, 100)]
    target = StoredMap(1, 7, HEIGHT, WIDTH, timesteps, words, False)
    shape = (HEIGHT, WIDTH, timesteps, words, word_bits)
    bench = Bench(dut)
    await bench.start()
    memory = SpikeMemoryModel(bench, hardware, reads=("read",), writes=("write",))
    rng = np.random.default_rng(5)
    # Silence, everything at once (all counters saturate), then densities in between.
    for density in (0.0, 1.0, 0.05, 0.3):
        q, k, v = (rng.random((timesteps, tokens, network.embed_dim)) < density for _ in range(3))
        for each, spikes in zip(maps, (q, k, v)):
            padded = np.zeros((timesteps, tokens, words * word_bits), bool)
            padded[..., np.flatnonzero(order >= 0)] = spikes[..., order[order >= 0]]
            memory.store(each, padded.transpose(1, 0, 2).reshape(shape))
        memory.written.clear()
        dut.clear.value = 1
        await bench.cycles(random.Random(density).randint(1, 3))
        dut.clear.value = 0
        padded_head = len(order) // heads
        dut.instruction.value = instruction_bits(
            hardware, **maps[0].source(), **target.target(), key_base=maps[1].base,
            value_base=maps[2].base, height=HEIGHT, width=WIDTH, timesteps=timesteps,
            head_dim=network.head_dim,
            head_mask=hardware.attention_lanes - 1 & ~(padded_head - 1), slow_tau=tau == 1.5)
        dut.start.value = 1
        await bench.cycles()
        dut.start.value = 0
        await bench.until(lambda: bool(int(dut.done.value)), 100_000, "done")
        await bench.cycles(3)
        got = memory.load(target, word_bits).reshape(tokens, timesteps, -1).transpose(1, 0, 2)
        expected = reference(q, k, v, heads, tau)
        real = order >= 0
        assert np.array_equal(got[..., np.flatnonzero(real)], expected[..., order[real]])
        assert not got[..., len(order):].any()
        assert int(dut.acs.value) == int(k.sum() + q.sum()) * network.head_dim
        assert len(memory.written) == tokens * timesteps * words == len(set(memory.written))
