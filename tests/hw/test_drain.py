# SPDX-License-Identifier: Apache-2.0
"""Drain: every beat with the tag that plain loops over tile, position, timestep and plane give."""

from dataclasses import dataclass

import numpy as np
import pytest

from hw.drain import Drain, repeat_interval
from hw.network import pooled
from hw.tiles import PARAM_SLOTS
from sim.benches.maps import StoredMap
from tests.hw.harness import Bench, every_idle, small_hardware

GEOMETRY = small_hardware().geometry
PER_WORD = GEOMETRY.spike_word // GEOMETRY.neurons
PARAM_BASE = 2


@dataclass(frozen=True)
class Job:
    """One layer, as the compiler would describe it.

    grid, pair: of the target, else it is a TOKEN map; rows: of the target on chip, 0: all
    samples: the planes of a sum have joined in the lanes
    two:    "pairs" or "beside", how two positions are taken at a time; "": one by one
    last_beats: of one position
    """

    height: int = 1
    width: int = 1
    timesteps: int = 1
    planes: int = 1
    tiles: int = 1
    last_beats: int = GEOMETRY.beats
    pool: bool = False
    repeat: bool = False
    accumulate: bool = False
    signed_input: bool = False
    samples: bool = False
    grid: bool = True
    rows: int = 0
    pair: bool = False
    two: str = ""
    lanes: int = GEOMETRY.lanes

    @property
    def hardware(self):
        return small_hardware(self.lanes, pairs=bool(self.two or self.pair),
                              beside=bool(self.two), **(
            {"port_bits": 64, "spills_maps": True} if self.rows else {}))

    @property
    def interval(self):
        return max(4, self.tile_beats)

    @property
    def tile_beats(self):
        return self.lanes // GEOMETRY.neurons

    @property
    def beats(self):
        """Beats of all channels."""
        return (self.tiles - 1) * self.tile_beats + self.last_beats

    @property
    def target(self):
        words = -(-self.beats // PER_WORD)
        size = (pooled(self.height), pooled(self.width)) if self.pool else (self.height, self.width)
        return StoredMap(1, 3, *size, self.timesteps, words, self.grid,
                         min(words, self.lanes // GEOMETRY.spike_word), self.rows, self.pair)

    def pair_fields(self):
        """Of positions that take turns: modulo the address, from one to the other and back."""
        memory, stride = self.hardware, self.beats
        addresses = {"residual": (memory.residual_words, self.timesteps * stride, stride)}
        target = self.target.target()
        line = self.target.write(0, 0)[2]
        odd = 0 if self.pool else self.target.write(0, 1)[2] - line
        addresses["target"] = (max(memory.spike_lines), odd, target["target_step"])
        fields = {"pairs": 1}
        for name, (largest, odd, step) in addresses.items():
            fields |= {f"{name}_odd": odd,
                       f"{name}_even": (step - odd) % (1 << largest.bit_length())}
        # A pair shares lines, or it is two positions further to the next one.
        shared = self.grid or self.pair
        return fields | {"target_column": target["target_column"] * (1 if shared else 2)}

    def fields(self):
        return {"height": self.height, "width": self.width, "timesteps": self.timesteps,
                "planes": self.planes, "tiles": self.tiles,
                "last_beats": self.last_beats * (1 + (self.two == "beside")),
                "pool": self.pool, "repeat": self.repeat, "accumulate": self.accumulate,
                "signed_input": self.signed_input, "samples": self.samples,
                "interval": self.interval,
                "residual_stride": self.beats, "param_base": PARAM_BASE, **self.target.target(),
                **({"target_window": 1} if self.rows else {}),
                **(self.pair_fields() if self.two == "pairs" else {}),
                **({"beside": 1} if self.two == "beside" else {})}

    def groups(self):
        """Sums that come in: (tile, y, x, timestep, plane), x of the even one of two beside."""
        steps = 1 if self.repeat else self.timesteps
        planes = 1 if self.samples else self.planes
        turns = 2 if self.two == "pairs" else 1
        return [(tile, y, x + turn, t, plane) for tile in range(self.tiles)
                for y in range(self.height)
                for x in range(0, self.width, 2 if self.two else 1) for t in range(steps)
                for turn in range(turns) for plane in range(planes)]

    def expected(self):
        """Beats that go out: number of the group, beat of it, and the tag's fields."""
        beats, target, halves = [], self.target, 2 if self.two == "beside" else 1
        for index, (tile, y, first_x, t, plane) in enumerate(self.groups()):
            count = self.last_beats if tile == self.tiles - 1 else self.tile_beats
            last_plane = self.samples or plane == self.planes - 1
            repeats = self.timesteps if self.repeat and last_plane else 1
            for again, half, channel in np.ndindex(repeats, halves, count):
                step, x, beat = t + again, first_x + half, half * count + channel
                position = y * self.width + x
                row, column = (y // 2, x // 2) if self.pool else (y, x)
                ring = (tile * target.height + row) % self.rows if self.rows else row
                last = (position == self.height * self.width - 1
                        and step == self.timesteps - 1)
                emit = last if self.accumulate else last_plane
                channel_beat = tile * self.tile_beats + channel
                _, bank, line = target.write(row, column, step, channel_beat // PER_WORD)
                tag = {
                    "beat": beat, "channel_beat": channel_beat,
                    # Streamed parameters take turns in their slots.
                    "param": tile % PARAM_SLOTS * self.tile_beats + channel if self.rows
                    else PARAM_BASE + channel_beat,
                    "fresh": (position == 0 and step == 0) if self.accumulate else plane == 0,
                    "repeated": again > 0,
                    "subtract": self.signed_input and not self.samples and plane == 0,
                    "emit": emit,
                    "first_timestep": step == 0, "first_token": position == 0 and step == 0,
                    "target": line, "bank": bank,
                    "left": x == 0, "top": y == 0,
                    "column": self.pool and x % 2 == 1 and x < self.width - 1,
                    "row": self.pool and y % 2 == 1 and y < self.height - 1,
                    "around": ring == target.chip_rows - 1,
                    # A row of windows ends with its last row, or with the map.
                    "row_end": emit and channel == count - 1 and x == self.width - 1
                    and step == self.timesteps - 1
                    and (not self.pool or y % 2 == 1 or y == self.height - 1),
                    "position": position, "timestep": step}
                if halves == 1:   # no layer beside another adds to the residual stream
                    tag["residual"] = ((position * self.timesteps + step) * self.beats
                                       + channel_beat)
                if self.two == "pairs":
                    tag["odd"] = x % 2 == 1
                beats.append((index, beat, tag))
        return beats


JOBS = {
    "one-beat": Job(last_beats=1),
    "one-group": Job(),
    "short-last-tile": Job(tiles=2, last_beats=2),
    "short-last-tile-2x3": Job(2, 3, 2, tiles=3, last_beats=2),
    "token-9-words": Job(2, 3, 2, tiles=5, last_beats=2, grid=False),
    "token-1x5": Job(1, 5, 1, tiles=2, grid=False),
    "classifier-ends-after-its-classes": Job(tiles=2, last_beats=1),
    "timesteps": Job(1, 6, 4),
    "planes": Job(1, 2, 1, 3, signed_input=True),
    "planes-and-timesteps": Job(2, 1, 3, 2, signed_input=True),
    "unsigned-planes": Job(1, 2, 2, 3),
    "samples-events": Job(2, 5, 3, 4, signed_input=True, samples=True),
    "repeat": Job(2, 2, 3, repeat=True),
    "repeat-samples": Job(1, 3, 4, 2, repeat=True, signed_input=True, samples=True),
    "repeat-two-tiles-pool": Job(3, 3, 2, 2, 2, 2, pool=True, repeat=True, samples=True),
    "accumulate": Job(2, 2, 3, accumulate=True),
    "accumulate-two-tiles": Job(1, 3, 2, tiles=2, last_beats=3, accumulate=True),
    "pool-1x1": Job(pool=True),
    "pool-1x9": Job(1, 9, 2, pool=True),
    "pool-5x1": Job(5, 1, pool=True),
    "pool-even": Job(4, 4, 2, pool=True),
    "pool-odd": Job(3, 5, 1, pool=True),
    "pool-two-tiles": Job(3, 4, 2, tiles=2, last_beats=2, pool=True),
    "two-times-two": Job(2, 2, pool=True),
    "ring-2-of-5": Job(5, 2, 1, tiles=3, last_beats=2, rows=2),
    "ring-4-of-6": Job(6, 5, 1, tiles=2, rows=4),
    "ring-pool-2-of-4": Job(7, 3, 2, tiles=2, pool=True, rows=2),
    "ring-pool-3-of-4": Job(8, 1, tiles=3, pool=True, rows=3),
    "ring-repeat-samples": Job(3, 5, 2, 3, 2, 2, repeat=True, samples=True, rows=2),
    "pair-target": Job(2, 4, 2, tiles=2, last_beats=2, grid=False, pair=True),
    "pairs-1x2": Job(1, 2, two="pairs"),
    "pairs-grid": Job(2, 10, 3, last_beats=2, two="pairs"),
    "pairs-grid-two-tiles": Job(3, 4, 1, tiles=2, last_beats=2, two="pairs"),
    "pairs-token": Job(2, 4, 2, tiles=2, grid=False, two="pairs"),
    "pairs-token-5-words": Job(1, 4, 3, tiles=3, last_beats=2, grid=False, two="pairs"),
    "pairs-token-one-timestep": Job(2, 2, 1, grid=False, two="pairs"),
    "pairs-pair": Job(2, 4, 2, tiles=2, grid=False, pair=True, two="pairs"),
    "pairs-pair-5-words": Job(1, 6, 3, tiles=3, last_beats=2, grid=False, pair=True, two="pairs"),
    "pairs-pool": Job(4, 6, 2, pool=True, two="pairs"),
    "pairs-pool-odd-rows": Job(3, 10, 1, tiles=2, last_beats=2, pool=True, two="pairs"),
    "pairs-ring": Job(5, 4, 2, tiles=2, rows=2, two="pairs"),
    "pairs-ring-pool": Job(7, 2, 1, tiles=2, pool=True, rows=2, two="pairs"),
    "beside-1x2": Job(1, 2, last_beats=2, two="beside"),
    "beside-2-words": Job(2, 6, 2, last_beats=4, lanes=16, two="beside"),
    "beside-3-words": Job(1, 10, 1, last_beats=6, lanes=24, two="beside"),
    "beside-pool": Job(3, 6, 2, last_beats=4, pool=True, lanes=16, two="beside"),
    "beside-repeat-samples": Job(2, 4, 3, 2, last_beats=2, repeat=True, samples=True,
                                 two="beside"),
    "beside-ring": Job(5, 4, 2, last_beats=4, rows=2, lanes=16, two="beside"),
}


@every_idle
@pytest.mark.parametrize("job", JOBS.values(), ids=JOBS.keys())
def test_beats(job, idle):
    interval, beside = job.interval, job.two == "beside"
    rng = np.random.default_rng(1)
    groups = job.groups()
    sums = rng.integers(-256, 256, (len(groups), job.lanes))
    events = rng.integers(0, 500, (2, len(groups)))
    bench = Bench(dut := Drain(job.hardware))
    bench.instruction(**job.fields())
    bench.pulse(dut.start)

    # The lanes hold the sums of a group until the next one, and keep their distance.
    async def lanes(ctx):
        await ctx.tick().repeat(5)
        for i, (*_, plane) in enumerate(groups):
            ctx.set(dut.i.payload, {"sums": sums[i].tolist(), "events": int(events[0, i])}
                    | ({"odd_events": int(events[1, i])} if beside else {}))
            ctx.set(dut.i.valid, 1)
            await ctx.tick()
            ctx.set(dut.i.valid, 0)
            held = (job.timesteps * repeat_interval(job.tile_beats, interval)
                    if job.repeat and (job.samples or plane == job.planes - 1) else interval)
            await ctx.tick().repeat(held - 1 + int(rng.integers(0, idle + 1)))
    bench.sim.add_testbench(lanes)
    got = bench.record(dut.o.valid, dut.o.payload)
    done = bench.record(dut.done)
    released = bench.record(1, dut.released)
    sent = bench.record(dut.i.valid)
    bench.run(extra=20)

    expected = job.expected()
    names = expected[0][2].keys() - {"repeated"}
    assert [{name: p["tag"][name] for name in names} for _, p in got] == [
        {name: int(tag[name]) for name in names} for *_, tag in expected]
    first = [beat * GEOMETRY.neurons for _, beat, _ in expected]
    assert [p["values"] for _, p in got] == [
        sums[group, n:n + GEOMETRY.neurons].tolist()
        for (group, *_), n in zip(expected, first, strict=True)]
    ends = [number for number, (_, p) in enumerate(got) if p["tag"]["row_end"]]
    assert len(ends) == job.tiles * job.target.height or job.accumulate
    # Repetitions of a static input's current are no additions.
    assert [p["events"] for _, p in got] == [
        0 if tag["repeated"] else events[int(beside and tag["position"] % 2), group]
        for group, _, tag in expected]
    # The units behind need the interval between timesteps, repeated ones too.
    starts = [cycle for cycle, p in got if p["tag"]["beat"] == 0]
    assert all(np.diff(starts) >= interval)
    assert got[0][0] - sent[0][0] == Drain.LATENCY
    assert [cycle for cycle, in done] == [got[-1][0] - Drain.LATENCY]
    assert released[-1][1] == job.tiles


@pytest.mark.parametrize("job", [
    Job(3, 3, 2, tiles=3, last_beats=2, rows=2),
    Job(1, 4, 2, tiles=2, last_beats=2, rows=2, two="pairs")], ids=["alone", "pairs"])
def test_two_layers_in_a_row(job):
    """`start` forgets where the layer before has ended."""
    groups = job.groups()
    bench = Bench(dut := Drain(job.hardware))
    bench.instruction(**job.fields())
    bench.pulse(dut.start, 2)
    bench.pulse(dut.start, 2 + 6 * len(groups))
    bench.pulse(dut.restart, 2 + 6 * len(groups))
    for run in range(2):
        bench.source(dut.i, [{"events": i} for i in range(len(groups))], period=4,
                     first=5 + run * 6 * len(groups))
    got = bench.record(dut.o.valid, dut.o.payload.tag)
    bench.run(extra=20)
    names = job.expected()[0][2].keys() - {"repeated"}
    assert [{name: tag[name] for name in names} for _, tag in got] == 2 * [
        {name: int(tag[name]) for name in names} for *_, tag in job.expected()]


@pytest.mark.parametrize(("beats", "interval", "expected"), [(4, 4, 6), (1, 4, 5), (8, 20, 21)])
def test_repeat_interval(beats, interval, expected):
    assert repeat_interval(beats, interval) == expected
