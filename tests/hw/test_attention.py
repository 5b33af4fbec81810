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
from sim.benches.maps import LINE, StoredMap
from tests.hw.harness import Bench, every_gap, small_hardware
from tests.hw.reference import attention, attention_sums, lif

WORD = 4
BASES, TARGET = (3, 70, 140), 11   # of q, k, v and of the result
SOURCE_HALF, TARGET_HALF = 0, 1


def stored_map(spikes, heads, half, base):
    """Where a map [T, D, N] lies, every head padded to a power of two of channels."""
    timesteps, channels, tokens = spikes.shape
    words = -(-heads * padded_head_dim(channels // heads) // WORD)
    return StoredMap(half, base, 1, tokens, timesteps, words, False)


def place(spikes, heads, half, base):
    """Words of the map by their places."""
    timesteps, channels, tokens = spikes.shape
    d = channels // heads
    target = stored_map(spikes, heads, half, base)
    stored = np.zeros((timesteps, heads, padded_head_dim(d), tokens), bool)
    stored[:, :, :d] = spikes.reshape(timesteps, heads, d, tokens)
    stored = stored.reshape(timesteps, -1, tokens)
    stored = np.pad(stored, ((0, 0), (0, target.words * WORD - stored.shape[1]), (0, 0)))
    return {target.read(0, n, t, w):
            int(sum(1 << c for c in np.flatnonzero(stored[t, w * WORD:(w + 1) * WORD, n])))
            for _, n, t, w in target.indices()}


def attend(q, k, v, heads, tau, grid=None, runs=1, engines=1):
    """Memory contents of the result and ACs, by the RTL."""
    timesteps, channels, tokens = q.shape
    head_dim = channels // heads
    padded = padded_head_dim(head_dim)
    lanes = max(WORD, padded)
    hardware = small_hardware(attention_lanes=lanes, attention_engines=engines,
                              max_timesteps=timesteps)
    height, width = grid or (1, tokens)
    contents = {}
    for base, spikes in zip(BASES, (q, k, v)):
        contents |= place(spikes, heads, SOURCE_HALF, base)
    source = stored_map(q, heads, SOURCE_HALF, BASES[0])
    target = stored_map(q, heads, TARGET_HALF, TARGET)
    bench = Bench(dut := Attention(hardware), max_cycles=20_000)
    fields = source.source() | target.target()
    bench.instruction(**{name: fields[name] for name in fields if name != "steps"}, height=height,
                      width=width, key_base=BASES[1], value_base=BASES[2], timesteps=timesteps,
                      head_dim=head_dim, head_mask=lanes - 1 & ~(padded - 1),
                      slow_tau=tau == 1.5)
    # Words that do not exist are full of spikes.
    bench.spike_read(dut.read, contents)
    written = {}
    writes = bench.spike_write(dut.write, written)
    traces = bench.record(dut.write.en != 0, dut.write.en, dut.position, dut.timestep, dut.word)
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
    # Every word is written once, and the traces say which one it is.
    places = [target.read(0, n, t, w) for _, n, t, w in target.indices()]
    assert sorted(where for _, where, _ in writes) == sorted(runs * places)
    named = [target.read(0, position, t, word + bank) for _, en, position, t, word in traces
             for bank in range(LINE) if en >> bank & 1]
    assert [where for _, where, _ in writes] == named
    return written, [a for _, a in acs]


def check(q, k, v, heads=1, tau=2.0, **kwargs):
    got, acs = attend(q, k, v, heads, tau, **kwargs)
    expected = attention(q, k, v, heads, tau)
    assert got == place(expected, heads, TARGET_HALF, TARGET)
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
@pytest.mark.parametrize("queries", [1, 2, 4])
@pytest.mark.parametrize("tokens", [2, 3, 4, 9])
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


SHAPES = {  # heads, channels, T, height, width, engines
    "one-head-one-word": (1, 4, 2, 1, 9, 1), "two-heads-in-a-word": (2, 4, 2, 3, 3, 1),
    "four-heads-of-one-channel": (4, 4, 3, 1, 20, 1), "two-words-of-two-heads": (4, 8, 2, 2, 4, 1),
    "two-heads-of-a-word": (2, 8, 2, 2, 5, 1),
    "head-larger-than-a-word": (1, 8, 2, 2, 3, 1), "two-heads-of-two-words": (2, 16, 1, 2, 3, 1),
    "head-of-a-line": (1, 16, 2, 2, 2, 1),
    "head-of-3-padded-to-4": (2, 6, 2, 3, 3, 1), "head-of-6-padded-to-8": (2, 12, 2, 2, 2, 1),
    "head-of-1-in-half-a-word": (2, 2, 3, 4, 4, 1), "one-token": (1, 8, 4, 1, 1, 1),
    "column": (2, 8, 2, 5, 1, 1), "five-words": (5, 20, 2, 1, 4, 1),
    "2-engines-one-line": (4, 16, 2, 2, 3, 2), "4-engines-one-line": (4, 16, 2, 2, 3, 4),
    "2-engines-of-heads-of-two-words": (2, 16, 2, 1, 5, 2),
    "2-engines-one-of-3-words-missing": (3, 12, 2, 2, 2, 2),
    "4-engines-one-word": (1, 4, 2, 1, 9, 4), "4-engines-7-words": (7, 28, 1, 2, 3, 4),
    "2-engines-9-words": (9, 36, 2, 1, 3, 2), "2-engines-heads-of-6": (3, 18, 2, 1, 4, 2),
    "4-engines-of-two-heads-each": (8, 16, 2, 3, 3, 4)}


@taus
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_random_maps(shape, tau):
    heads, channels, timesteps, height, width, engines = shape
    tokens = height * width
    fired = []
    for seed, density in enumerate((0.3, 0.95)):
        q, k, v = random_spikes((timesteps, channels, tokens), density, seed)
        fired.append(check(q, k, v, heads, tau, grid=(height, width), engines=engines).mean())
    if tokens * (channels // heads) >= 16:
        assert fired[-1] > 0.2, "attention must have spiked"


@taus
@pytest.mark.parametrize("engines", [1, 2, 4])
def test_all_and_no_spikes(engines, tau):
    """A channel of few tokens with everything set, beside heads that are silent."""
    shape = (2, 20, 5)
    assert check(*np.ones((3, *shape), bool), 5, tau, engines=engines).all()
    assert not check(*np.zeros((3, *shape), bool), 5, tau, engines=engines).any()
    q, k, v = np.ones((3, *shape), bool)
    q[:, 8:], k[:, :8], v[:, 4:12] = False, False, False
    check(q, k, v, 5, tau, engines=engines)


def cycles_of(q, words, engines=1):
    """Cycles of attention on queries [1, D, N] without keys, with so many words of the line."""
    tokens = q.shape[2]
    bench = Bench(dut := Attention(small_hardware(attention_engines=engines, max_timesteps=1)))
    bench.instruction(key_base=80, value_base=160, height=1, width=tokens, timesteps=1,
                      step_lines=1, last_mask=(1 << words) - 1, head_mask=3, target_step=1)
    bench.spike_read(dut.read, place(q, 4, 0, 0), other=0)
    bench.pulse(dut.start)
    done = bench.record(dut.done)
    bench.wait(dut.done)
    bench.run()
    return done[0][0]


@pytest.mark.parametrize("engines", [1, 2, 4])
def test_an_entry_takes_as_long_as_its_fullest_engine(engines):
    """A query without events, with one in a single engine, with all in all of them."""
    cycles = []
    for events in (0, 1, 16):
        q = np.zeros((1, 16, 40), bool)
        q[:, :events] = True
        cycles.append(cycles_of(q, 4, engines))
    groups = 4 // engines
    # A query of one event needs two cycles, as one of none does; of four events four.
    assert cycles[1] == cycles[0]
    assert abs(cycles[2] - cycles[1] - 2 * 40 * groups) <= 2 * groups
    # To clear, an entry every second cycle.
    assert cycles[0] <= groups * (4 + 4 * 40 + 14) + 5


def test_groups_of_words_that_do_not_exist_take_no_time():
    cycles = [cycles_of(np.zeros((1, 16, 9), bool), words) for words in (1, 2, 3, 4)]
    assert len(set(np.diff(cycles))) == 1 and cycles[1] >= 1.8 * cycles[0]


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
                ctx.set(dut.last, t == 2)
                await ctx.tick()
                ctx.set(dut.step, 0)
                got.append(ctx.get(dut.spikes))
    bench.sim.add_testbench(drive)
    bench.run()
    spikes = np.array([[word >> n & 1 for n in range(WORD)] for word in got], bool)
    spikes = spikes.reshape(-1, 3, WORD).transpose(1, 0, 2).reshape(3, -1)
    assert (spikes == lif(x, FIRE if tau == 2 else FIRE_SLOW, tau)).all()


def test_key_value_events_on_one_row_need_a_cycle_between_them():
    """Events of another row may fill it."""
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
        for row, values in ((0, 0b0011), (1, 0b0000), (0, 0b0101), (1, 0b1000), (0, 0b0001),
                            (1, 0b0000), (0, 0b0010), (1, 0b0100)):
            ctx.set(dut.row, row)
            ctx.set(dut.values, values)
            await ctx.tick()
        ctx.set(dut.keys, 0)
        for row in (0, 1):
            ctx.set(dut.row, row)
            await ctx.tick()
            read.append(([ctx.get(dut.o[c]) for c in range(WORD)], ctx.get(dut.o_valid)))
    bench.sim.add_testbench(drive)
    bench.run()
    assert read == [([3, 2, 1, 0], 1), ([0, 0, 1, 1], 1)]


@every_gap
@pytest.mark.parametrize("keys", [True, False], ids=["keys-and-values", "queries"])
@pytest.mark.parametrize(("lanes", "engines", "words", "line", "bank"), [
    (4, 1, 1, 0, 0), (4, 1, 6, 1, 1), (4, 2, 4, 0, 2), (8, 1, 9, 1, 0), (8, 2, 4, 0, 0)])
def test_fetch(lanes, engines, words, line, bank, keys, gaps):
    T, height, width = 2, 2, 3
    maps = [StoredMap(SOURCE_HALF, base, height, width, T, words, False) for base in BASES]
    rng = np.random.default_rng(lanes)
    contents = {(SOURCE_HALF, bank, line): int(rng.integers(16)) for bank in range(LINE)
                for line in range(256)}
    bench = Bench(dut := AttentionFetch(small_hardware(
        attention_lanes=lanes, attention_engines=engines, max_timesteps=T)))
    bench.instruction(source_half=SOURCE_HALF, source_base=BASES[0], key_base=BASES[1],
                      value_base=BASES[2], step_lines=maps[0].step_lines, height=height,
                      width=width, timesteps=T)
    bench.hold(dut.keys, keys)
    bench.hold(dut.line, line)
    bench.hold(dut.bank, bank)
    bench.spike_read(dut.memory, contents)
    bench.pulse(dut.start, 3)
    entries = T * height * width
    got = bench.sink(dut.o, entries, gaps[1])
    after = bench.record(dut.o.valid & dut.o.ready)
    bench.run(extra=20)
    assert len(after) == entries
    if not gaps[1]:
        # Every cycle an entry of queries, every second one of keys with their values.
        assert np.diff([cycle for cycle, in after]).tolist() == [1 + keys] * (entries - 1)
    places = [(y, x, t) for y in range(height) for x in range(width) for t in range(T)]

    def entry(number, at):
        """The words of an entry, also those of its last line that do not exist."""
        _, _, address = maps[number].read(*at, line * LINE)
        return sum(contents[SOURCE_HALF, bank + w, address] << WORD * w
                   for w in range(lanes * engines // WORD))

    assert [e["events"] for e in got] == [entry(1 if keys else 0, at) for at in places]
    if keys:
        assert [e["values"] for e in got] == [entry(2, at) for at in places]
    assert [(e["position"], e["timestep"]) for e in got] == [
        (n, t) for n in range(height * width) for t in range(T)]
    assert [e["last"] for e in got] == [0] * (entries - 1) + [1]
