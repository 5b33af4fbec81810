# SPDX-License-Identifier: Apache-2.0
"""Finish: the units in a row, from sums to memory, at the fastest pace that Dispatch allows."""

from dataclasses import dataclass

import numpy as np
import pytest

from hw.config import MIN_INTERVAL, POOL_ROWS
from hw.current import ParamRow
from hw.drain import repeat_interval
from hw.finish import Finish
from hw.isa import Emit
from sim.benches.maps import StoredMap
from tests.hw.harness import Bench, every_idle, small_hardware
from tests.hw.reference import lif, pool, requantize

HARDWARE = small_hardware()
GEOMETRY, FRACTION = HARDWARE.geometry, HARDWARE.fraction
WORD, NEURONS = GEOMETRY.spike_word, GEOMETRY.neurons


@dataclass
class Layer:
    """Constants of the channels of a layer, and what the RTL is told about them."""

    bias: np.ndarray
    threshold: np.ndarray
    shift: np.ndarray
    real: int

    @classmethod
    def random(cls, channels, seed, real=None, low=1, high=60):
        rng = np.random.default_rng(seed)
        return cls(rng.integers(-20, 20, channels), rng.integers(low, high, channels),
                   rng.integers(-HARDWARE.shift_left, 4, channels), real or channels)

    def image(self):
        layout = ParamRow(HARDWARE)
        rows = []
        for first in range(0, len(self.bias), NEURONS):
            params = [{"bias": int(self.bias[c]), "threshold": int(self.threshold[c]),
                       "shift": int(self.shift[c]) + HARDWARE.shift_left}
                      for c in range(first, first + NEURONS)]
            real = max(0, min(NEURONS, self.real - first))
            rows.append(layout.const({"params": params, "real": real}).as_bits())
        return rows


@dataclass
class Result:
    memory: dict
    spikes: list
    residuals: list
    logits: list
    acs: int
    saturations: int
    done: list
    rows: list


def finish(layer, sums, events, target=None, idle=0, flush=0, **fields):
    """Send sums [tiles, positions, steps, planes, lanes] and collect everything.

    flush: also write the token sums as bit planes of this many bits.
    """
    fields |= target.target() if target else {}
    interval = max(GEOMETRY.beats, MIN_INTERVAL)
    if fields.get("emit") is Emit.LOGITS:
        interval = max(MIN_INTERVAL, min(GEOMETRY.lanes, layer.real))
    if fields.get("pool"):
        interval = max(interval, POOL_ROWS * GEOMETRY.lanes // WORD)
    repeat = fields.get("repeat", 0)
    rng = np.random.default_rng(9)
    bench = Bench(dut := Finish(HARDWARE, layer.image()), max_cycles=20_000)
    bench.instruction(interval=interval, **fields)
    memory = {}
    bench.spike_read(dut.pool_read, memory)
    bench.spike_write(dut.pool_write, memory)
    bench.spike_write(dut.plane_write, memory)
    groups = sums.reshape(-1, GEOMETRY.lanes)
    counts = events.reshape(-1)
    finished = []

    async def lanes(ctx):
        ctx.set(dut.start, 1)
        await ctx.tick()
        ctx.set(dut.start, 0)
        await ctx.tick().repeat(4)
        for i, values in enumerate(groups):
            ctx.set(dut.i.payload, {"sums": values.tolist(), "events": int(counts[i])})
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
            if i == len(groups) - 1:
                break
            held = interval
            if repeat and i % sums.shape[3] == sums.shape[3] - 1:
                held = fields["timesteps"] * repeat_interval(GEOMETRY.beats, interval)
            await ctx.tick().repeat(held - 1 + int(rng.integers(idle + 1)))
        await ctx.tick().until(dut.done)
        finished.append(dict(memory))   # `done` promises that memory is complete
        if flush:
            ctx.set(dut.instruction, {
                "planes": flush, "residual_stride": fields["residual_stride"],
                **planes_map(flush, fields["residual_stride"] * NEURONS // WORD).target()})
            ctx.set(dut.start_planes, 1)
            await ctx.tick()
            ctx.set(dut.start_planes, 0)
            await ctx.tick().until(dut.done)
    bench.sim.add_testbench(lanes)
    traces = [bench.record(port.valid, port.payload)
              for port in (dut.spikes, dut.residuals, dut.logits)]
    counters = bench.record(1, dut.acs, dut.saturations)
    done = bench.record(dut.done)
    rows = bench.record(dut.row_done)
    bench.run(extra=20)
    result = Result(memory, *([p for _, p in trace] for trace in traces),
                    counters[-1][1], counters[-1][2], [cycle for cycle, in done],
                    [cycle for cycle, in rows])
    if not flush:
        assert finished == [memory]
    assert len(result.done) == 1 + bool(flush)
    return result


def random_sums(tiles, positions, steps, planes=1, seed=0, limit=40):
    rng = np.random.default_rng(seed)
    shape = (tiles, positions, steps, planes, GEOMETRY.lanes)
    return rng.integers(-limit // 2, limit, shape), rng.integers(0, 300, shape[:-1])


def channels_last(values, tiles):
    """[tiles, positions, T, lanes] to [T, channels, positions]."""
    return values.transpose(2, 0, 3, 1).reshape(values.shape[2], tiles * GEOMETRY.lanes, -1)


def map_of(memory, target):
    """Spikes [T, C, H, W] that are at `target`, which must be all that is in memory."""
    spikes = np.zeros((target.steps, target.words * WORD, target.height, target.width), bool)
    for y, x, t, w in target.indices():
        word = memory[target.write(y, x, t, w)]
        spikes[t, w * WORD:(w + 1) * WORD, y, x] = [word >> c & 1 for c in range(WORD)]
    assert len(memory) == len(list(target.indices()))
    return spikes


def target_of(height, width, T, channels, grid=True):
    return StoredMap(1, 6, height, width, T, channels // WORD, grid, GEOMETRY.tile_words)


def planes_map(planes, words):
    return StoredMap(1, 2, 1, 1, planes, words, False)


@every_idle
@pytest.mark.parametrize("pooling", [False, True], ids=["plain", "pool"])
@pytest.mark.parametrize(("tiles", "T", "tau"), [(1, 1, 2.0), (1, 3, 1.5), (2, 2, 2.0)])
def test_spikes(tiles, T, pooling, tau, idle):
    height, width, channels = 3, 6, tiles * GEOMETRY.lanes
    low, high = (90, 300) if pooling else (1, 60)
    layer = Layer.random(channels, T, channels - 1, low, high)
    sums, events = random_sums(tiles, height * width, T, seed=tiles)
    target = target_of(2, 3, T, channels) if pooling else target_of(
        height, width, T, channels, tau == 2.0)
    result = finish(layer, sums, events, target, idle, height=height, width=width, timesteps=T,
                    planes=1, tiles=tiles, last_beats=GEOMETRY.beats, fire=1, pool=pooling,
                    slow_tau=tau == 1.5, emit=Emit.SPIKES)
    current = channels_last((sums[:, :, :, 0] << FRACTION), tiles) + layer.bias[:, None]
    spikes = lif(current, layer.threshold[:, None], tau).reshape(T, channels, height, width)
    expected = pool(spikes) if pooling else spikes
    assert (map_of(result.memory, target) == expected).all()
    assert len(result.rows) == tiles * target.height and result.rows[-1] <= result.done[0]
    assert expected.any() and not expected.all()
    assert len(result.spikes) == tiles * height * width * T * GEOMETRY.lanes // WORD
    # An event adds a weight to every real channel of its tile.
    reals = [GEOMETRY.lanes] * (tiles - 1) + [GEOMETRY.lanes - 1]
    assert result.acs == sum(int(events[tile].sum()) * real for tile, real in enumerate(reals))
    assert (result.saturations, result.residuals, result.logits) == (0, [], [])


@every_idle
@pytest.mark.parametrize(("planes", "T"), [(1, 2), (3, 1), (3, 4)])
def test_static_input_repeats_its_sum(planes, T, idle):
    """The planes of samples have come together in the lanes."""
    positions, channels = 3, GEOMETRY.lanes
    layer = Layer.random(channels, 5)
    sums, events = random_sums(1, positions, 1, seed=planes)
    target = target_of(1, positions, T, channels)
    result = finish(layer, sums, events, target, idle, height=1, width=positions, timesteps=T,
                    planes=planes, samples=1, tiles=1, last_beats=GEOMETRY.beats,
                    fire=1, repeat=T > 1, signed_input=1, emit=Emit.SPIKES)
    total = sums[0, :, 0, 0].T
    current = np.repeat(((total << FRACTION) + layer.bias[:, None])[None], T, 0)
    assert (map_of(result.memory, target)[:, :, 0]
            == lif(current, layer.threshold[:, None], 2.0)).all()
    assert result.acs == int(events.sum()) * channels


@every_idle
@pytest.mark.parametrize("fire", [1, 0], ids=["with-lif", "last-layer"])
def test_residual_stream_and_token_sums(fire, idle):
    tiles, height, width, T, planes = 2, 2, 2, 2, 11
    channels, positions = tiles * GEOMETRY.lanes, height * width
    layer = Layer.random(channels, 8)
    sums, events = random_sums(tiles, positions, T, seed=8, limit=250)
    target = target_of(height, width, T, channels, False)
    result = finish(layer, sums, events, target, idle, 0 if fire else planes, height=height,
                    width=width, timesteps=T, planes=1, tiles=tiles, last_beats=GEOMETRY.beats,
                    fire=fire, emit=Emit.RESIDUAL, token_sum=1 - fire,
                    residual_stride=channels // NEURONS)
    current = channels_last(sums[:, :, :, 0] << FRACTION, tiles) + layer.bias[:, None]
    exact = np.array([requantize(frame, layer.shift) for frame in current])
    stream = np.clip(exact, -128, 127)
    got = np.full_like(stream, 999)
    for beat in result.residuals:
        tag = beat["tag"]
        first = tag["channel_beat"] * NEURONS
        got[tag["timestep"], first:first + NEURONS, tag["position"]] = beat["values"]
    assert (got == stream).all()
    assert 0 < result.saturations == int((stream != exact).sum()) < stream.size
    if fire:
        got = map_of(result.memory, target).reshape(stream.shape)
        assert (got == lif(stream, layer.threshold[:, None], 2.0)).all()
        return
    totals, words = stream.sum((0, 2)), channels // WORD
    assert result.spikes == []
    sums_map = planes_map(planes, words)
    assert result.memory == {
        sums_map.write(0, 0, plane, w): sum(
            (int(totals[w * WORD + c]) >> planes - 1 - plane & 1) << c for c in range(WORD))
        for _, _, plane, w in sums_map.indices()}


@every_idle
def test_residual_is_added_to_what_the_layer_before_left(idle):
    """Two layers on one stream, the second with `add_residual`."""
    positions, T, channels = 2, 2, GEOMETRY.lanes
    layer = Layer.random(channels, 11)
    layer.shift[:] = 2
    sums, events = random_sums(1, 2 * positions, T, seed=11, limit=60)
    bench_fields = {"height": 1, "width": positions, "timesteps": T, "planes": 1, "tiles": 1,
                    "last_beats": GEOMETRY.beats, "emit": Emit.RESIDUAL,
                    "residual_stride": GEOMETRY.beats, "interval": GEOMETRY.beats}
    bench = Bench(dut := Finish(HARDWARE, layer.image()))
    rng = np.random.default_rng(2)

    async def lanes(ctx):
        for run in range(2):
            ctx.set(dut.instruction, {**bench_fields, "add_residual": run})
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            for values in sums[0, run * positions:(run + 1) * positions].reshape(
                    -1, GEOMETRY.lanes):
                ctx.set(dut.i.payload, {"sums": values.tolist()})
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)
                await ctx.tick().repeat(GEOMETRY.beats - 1 + int(rng.integers(idle + 1)))
            await ctx.tick().repeat(20)
    bench.sim.add_testbench(lanes)
    got = bench.record(dut.residuals.valid, dut.residuals.payload)
    bench.run()
    current = (sums[0, :, :, 0] << FRACTION) + layer.bias
    rounded = requantize(current.reshape(-1, channels).T, layer.shift).T.reshape(
        2, positions, T, channels)
    first = np.clip(rounded[0], -128, 127)
    second = np.clip(first + rounded[1], -128, 127)
    expected = np.array([first, second]).reshape(-1, NEURONS)
    assert [p["values"] for _, p in got] == expected.tolist()


@every_idle
@pytest.mark.parametrize("accumulate", [False, True], ids=["planes", "spiking-head"])
@pytest.mark.parametrize(("channels", "tiles", "last_beats"), [
    (GEOMETRY.lanes + 2, 2, 1), (GEOMETRY.lanes - 3, 1, GEOMETRY.beats - 1)])
def test_logits(channels, tiles, last_beats, accumulate, idle):
    """Of a beat with padding, the next group may come as soon as its classes are through."""
    layer = Layer.random(tiles * GEOMETRY.lanes, 12, real=channels)
    positions, T, planes = (3, 2, 1) if accumulate else (1, 1, 4)
    sums, events = random_sums(tiles, positions, T, planes, seed=12)
    result = finish(layer, sums, events, None, idle, height=1, width=positions, timesteps=T,
                    planes=planes, tiles=tiles, last_beats=last_beats, accumulate=accumulate,
                    signed_input=not accumulate, emit=Emit.LOGITS)
    weights = np.array([1 << planes - 1 - p for p in range(planes)])
    if not accumulate:
        weights[0] = -weights[0]
    totals = (sums * weights[:, None]).sum((1, 2, 3)).reshape(-1)
    bias = (layer.threshold << HARDWARE.param_width) + (
        layer.bias & (1 << HARDWARE.param_width) - 1)
    expected = (totals << FRACTION) + bias
    got = [(logit["channel"], logit["value"]) for logit in result.logits]
    assert got[:channels] == list(enumerate(expected[:channels].tolist()))
    assert len(got) == ((tiles - 1) * GEOMETRY.beats + last_beats) * NEURONS
    assert result.memory == {} and result.residuals == [] and result.spikes == []
