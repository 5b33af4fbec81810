# SPDX-License-Identifier: Apache-2.0
"""Attention: saturating counters and masked heads against unbounded sums."""

import numpy as np
import pytest

from hw.attention import (
    FIRE,
    FIRE_SLOW,
    LIMIT,
    Attention,
    AttentionFetch,
    AttentionLIF,
    KeyValue,
)
from hw.layout import padded_head_dim
from tests.hw.harness import Bench, every_gap, small_hardware
from tests.hw.reference import attention, attention_sums, lif

WORD = 4
Q_BASE, K_BASE, V_BASE, TARGET = 3, 70, 140, 11
SOURCE_HALF, TARGET_HALF = 0, 1


def place(spikes, base, heads):
    """Words of a map [T, D, N] with every head padded to a power of two of channels."""
    timesteps, channels, tokens = spikes.shape
    d = channels // heads
    padded = padded_head_dim(d)
    stored = np.zeros((timesteps, heads, padded, tokens), bool)
    stored[:, :, :d] = spikes.reshape(timesteps, heads, d, tokens)
    stored = stored.reshape(timesteps, heads * padded, tokens)
    words = -(-heads * padded // WORD)
    stored = np.pad(stored, ((0, 0), (0, words * WORD - heads * padded), (0, 0)))
    return {base + (n * timesteps + t) * words + w:
            int(sum(1 << c for c in np.flatnonzero(stored[t, w * WORD:(w + 1) * WORD, n])))
            for n in range(tokens) for t in range(timesteps) for w in range(words)}, words


def attend(q, k, v, heads, tau, grid=None, runs=1):
    """Memory contents of the result, ACs, and what the trace ports said, by the RTL."""
    timesteps, channels, tokens = q.shape
    head_dim = channels // heads
    padded = padded_head_dim(head_dim)
    lanes = max(WORD, padded)
    hardware = small_hardware(attention_lanes=lanes, max_timesteps=timesteps)
    height, width = grid or (1, tokens)
    contents = {}
    for base, spikes in ((Q_BASE, q), (K_BASE, k), (V_BASE, v)):
        stored, words = place(spikes, base, heads)
        contents |= {(SOURCE_HALF, address): word for address, word in stored.items()}
    bench = Bench(dut := Attention(hardware), max_cycles=20_000)
    bench.instruction(
        source_half=SOURCE_HALF, source_base=Q_BASE, key_base=K_BASE, value_base=V_BASE,
        source_words=words, height=height, width=width, timesteps=timesteps, head_dim=head_dim,
        head_mask=lanes - 1 & ~(padded - 1), slow_tau=tau == 1.5, target_half=TARGET_HALF,
        target_base=TARGET, target_words=words)
    bench.spike_read(dut.read, contents)
    written = {}
    writes = bench.spike_write(dut.write, written)
    traces = bench.record(dut.write.en, dut.position, dut.timestep, dut.word, dut.write.address)
    acs = bench.record(dut.done, dut.acs)

    async def control(ctx):
        await ctx.tick().repeat(2)
        for _ in range(runs):
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            await ctx.tick().until(dut.done)
            await ctx.tick()
            ctx.set(dut.clear, 1)
            await ctx.tick()
            ctx.set(dut.clear, 0)
    bench.sim.add_testbench(control)
    bench.run(extra=5)
    assert len(writes) == runs * timesteps * tokens * words
    assert all(half == TARGET_HALF for _, half, _, _ in writes)
    assert all(address == TARGET + (position * timesteps + t) * words + word
               for _, position, t, word, address in traces)
    return {address: word for (_, address), word in written.items()}, [a for _, a in acs]


def check(q, k, v, heads=1, tau=2.0, **kwargs):
    got, acs = attend(q, k, v, heads, tau, **kwargs)
    expected = attention(q, k, v, heads, tau)
    assert got == place(expected, TARGET, heads)[0]
    assert set(acs) == {q.shape[1] // heads * int(q.sum() + k.sum())}
    return expected


def random_spikes(shape, density, seed):
    return np.random.default_rng(seed).random((3, *shape)) < density


taus = pytest.mark.parametrize("tau", [2.0, 1.5])


@taus
@pytest.mark.parametrize("count", [*range(1, LIMIT + 3), 16, 17, 20])
def test_key_value_counters_stop_at_the_limit(count, tau):
    """`count` tokens with K and V set and one query bit: A is count, saturated or not."""
    q, k, v = np.zeros((3, 2, 4, count), bool)
    k[:, 1] = v[:, 2] = True
    q[:, 1, 0] = q[:, 1, -1] = True
    expected = check(q, k, v, tau=tau)
    assert expected[0, 2, 0] == (count >= 8 if tau == 2 else 2 * count >= 12)
    assert expected[:, [0, 1, 3]].sum() == 0


@taus
@pytest.mark.parametrize("queries", [1, 2, 3, 4])
@pytest.mark.parametrize("tokens", [2, 3, 4, 7, 9])
def test_sums_of_rows_stop_at_the_limit(queries, tokens, tau):
    """Several query bits add rows of `tokens` each, to far beyond 4 bits."""
    q, k, v = np.zeros((3, 3, 4, tokens), bool)
    k[:], v[:, 0] = True, True
    q[:, :queries] = True
    expected = check(q, k, v, tau=tau)
    sums = attention_sums(q, k, v, 1)
    assert sums.max() == queries * tokens
    assert (expected[0, 0] == (sums[0, 0] >= (8 if tau == 2 else 6))).all()


@pytest.mark.parametrize("words", [[0], [1], [15], [8, 1], [2, 0]])
def test_nothing_in_nothing_out(words):
    """No queries, no keys or no values: no spikes, but every word is written."""
    spikes = np.ones((2, 4, len(words)), bool)
    none = np.zeros_like(spikes)
    for q, k, v in ((none, spikes, spikes), (spikes, none, spikes), (spikes, spikes, none)):
        assert not check(q, k, v).any()


SHAPES = {  # heads, channels, T, height, width
    "one-head-one-word": (1, 4, 2, 1, 9), "two-heads-in-a-word": (2, 4, 2, 3, 3),
    "four-heads-of-one-channel": (4, 4, 3, 1, 20), "two-words-of-two-heads": (4, 8, 2, 2, 4),
    "two-heads-of-a-word": (2, 8, 2, 2, 5),
    "head-larger-than-a-word": (1, 8, 2, 2, 3), "two-heads-of-two-words": (2, 16, 1, 2, 3),
    "head-of-3-padded-to-4": (2, 6, 2, 3, 3), "head-of-6-padded-to-8": (2, 12, 2, 2, 2),
    "head-of-1-in-half-a-word": (2, 2, 3, 4, 4), "one-token": (1, 8, 4, 1, 1),
    "column": (2, 8, 2, 5, 1)}


@taus
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_random_maps(shape, tau):
    heads, channels, timesteps, height, width = shape
    tokens = height * width
    fired = []
    for seed, density in enumerate((0.3, 0.6, 0.95)):
        q, k, v = random_spikes((timesteps, channels, tokens), density, seed)
        fired.append(check(q, k, v, heads, tau, grid=(height, width)).mean())
    if tokens * (channels // heads) >= 16:
        assert fired[-1] > 0.2, "attention must have spiked"


@taus
def test_heads_do_not_see_each_other(tau):
    """All spikes of Q and K in head 0, all of V in head 1: nothing may come out."""
    q, k, v = np.zeros((3, 2, 4, 9), bool)
    q[:, :2], k[:, :2], v[:, 2:] = True, True, True
    assert not check(q, k, v, heads=2, tau=tau).any()
    v[:, 0] = True
    expected = check(q, k, v, heads=2, tau=tau)
    assert expected[:, 0].all() and not expected[:, 1:].any()


@taus
def test_two_inferences_without_reset(tau):
    q, k, v = random_spikes((3, 8, 4), 0.6, 5)
    check(q, k, v, heads=2, tau=tau, runs=3)


@taus
def test_lif_for_every_sequence_of_sums(tau):
    """All 13**3 sequences of A in 0 to 12, on 4 lanes at a time, in unbounded integers."""
    values = np.arange(13)
    x = np.stack(np.meshgrid(values, values, values, indexing="ij")).reshape(3, -1)
    x = np.pad(x, ((0, 0), (0, -x.shape[1] % WORD)))
    bench = Bench(dut := AttentionLIF(small_hardware(attention_lanes=WORD)), max_cycles=40_000)
    bench.instruction(slow_tau=tau == 1.5)
    got = []

    async def drive(ctx):
        for first in range(0, x.shape[1], WORD):
            for t in range(3):
                rest = x[t, first:first + WORD]
                # In two rows, as counters of at most 8 come.
                for row in (np.minimum(rest, LIMIT), np.maximum(rest - LIMIT, 0)):
                    ctx.set(dut.row, row.tolist())
                    ctx.set(dut.add, 1)
                    await ctx.tick()
                ctx.set(dut.add, 0)
                ctx.set(dut.step, 1)
                ctx.set(dut.first, t == 0)
                await ctx.tick()
                ctx.set(dut.step, 0)
                got.append(ctx.get(dut.spikes))
    bench.sim.add_testbench(drive)
    bench.run()
    spikes = np.array([[word >> n & 1 for n in range(WORD)] for word in got], bool)
    spikes = spikes.reshape(-1, 3, WORD).transpose(1, 0, 2).reshape(3, -1)
    assert (spikes == lif(x, FIRE if tau == 2 else FIRE_SLOW, tau)).all()


def test_key_value_events_on_one_row_follow_at_once():
    """A read in the cycle of a write to the same row must see the new counters."""
    bench = Bench(dut := KeyValue(small_hardware(attention_lanes=WORD)))
    bench.instruction(head_mask=0)
    read = []

    async def drive(ctx):
        for row in range(2):
            ctx.set(dut.row, row)
            ctx.set(dut.clear, 1)
            await ctx.tick()
        ctx.set(dut.clear, 0)
        ctx.set(dut.event, 1)
        ctx.set(dut.keys, 1)
        for row, values in ((0, 0b0011), (0, 0b0101), (0, 0b0001), (1, 0b1000), (0, 0b0010)):
            ctx.set(dut.row, row)
            ctx.set(dut.values, values)
            await ctx.tick()
        ctx.set(dut.keys, 0)
        for row in (1, 0):
            ctx.set(dut.row, row)
            await ctx.tick()
            read.append(([ctx.get(dut.o[c]) for c in range(WORD)], ctx.get(dut.o_valid)))
    bench.sim.add_testbench(drive)
    bench.run()
    assert read == [([0, 0, 0, 1], 1), ([3, 2, 1, 0], 1)]


@every_gap
@pytest.mark.parametrize("keys", [True, False], ids=["keys-and-values", "queries"])
@pytest.mark.parametrize(("lanes", "source_words", "group"), [(4, 1, 0), (4, 3, 2), (8, 4, 2)])
def test_fetch(lanes, source_words, group, keys, gaps):
    T, height, width = 2, 2, 3
    rng = np.random.default_rng(lanes)
    contents = {(SOURCE_HALF, address): int(rng.integers(16)) for address in range(256)}
    bench = Bench(dut := AttentionFetch(small_hardware(attention_lanes=lanes, max_timesteps=T)))
    bench.instruction(source_half=SOURCE_HALF, source_base=Q_BASE, key_base=K_BASE,
                      value_base=V_BASE, source_words=source_words, height=height, width=width,
                      timesteps=T)
    bench.hold(dut.keys, keys)
    bench.hold(dut.group, group)
    bench.spike_read(dut.memory, contents)
    bench.pulse(dut.start, 3)
    entries = T * height * width
    got = bench.sink(dut.o, entries, gaps[1])
    after = bench.record(dut.o.valid & dut.o.ready)
    bench.run(extra=20)
    assert len(after) == entries

    def word(base, entry):
        first = base + entry * source_words + group
        return sum(contents[SOURCE_HALF, first + w] << WORD * w for w in range(lanes // WORD))

    assert [e["events"] for e in got] == [word(K_BASE if keys else Q_BASE, i)
                                          for i in range(entries)]
    if keys:
        assert [e["values"] for e in got] == [word(V_BASE, i) for i in range(entries)]
    assert [(e["position"], e["timestep"]) for e in got] == [
        (n, t) for n in range(height * width) for t in range(T)]
    assert [e["last"] for e in got] == [0] * (entries - 1) + [1]
