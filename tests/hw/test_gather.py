# SPDX-License-Identifier: Apache-2.0
"""Gather: spikes and weight rows of every in-bounds tap, in groups, whatever the map's shape."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from hw.gather import Gather
from sim.benches.maps import LINE, StoredMap
from tests.hw.harness import Bench, every_gap, plain, small_hardware

HARDWARE = small_hardware()
WORD, SLICE = HARDWARE.geometry.spike_word, HARDWARE.geometry.slice_bits
WEIGHT_BASE = 7


@dataclass(frozen=True)
class Walk:
    """A layer on a stored map.

    planes: bit planes of `input_width` bit samples; 0: plain spikes
    two:    "pairs" or "beside", how two positions are taken at a time; "": one by one
    """

    source: StoredMap
    tiles: int = 1
    planes: int = 0
    hardware: dict = field(default_factory=dict)
    two: str = ""

    @property
    def tap_rows(self):
        """Weight rows of one tap in each bank."""
        return self.source.words * SLICE

    @property
    def columns(self):
        """Columns of the taps of a group."""
        return 4 if self.two == "beside" else 3

    @property
    def tile_rows(self):
        return self.tap_rows * (3 * self.columns if self.source.grid else 1)

    @property
    def bases(self):
        """First weight row of each tile."""
        return [WEIGHT_BASE + tile * self.tile_rows for tile in range(self.tiles)]

    def fields(self):
        grid, line = self.source.grid, 2 if self.source.pair else LINE
        return self.source.source() | ({self.two: 1} if self.two else {}) | {
            "height": self.source.height, "width": self.source.width, "kernel3": grid,
            "samples": self.planes > 0, "planes": max(1, self.planes), "tiles": self.tiles,
            "weight_base": WEIGHT_BASE, "tile_stride": self.tile_rows,
            "row_tap_stride": self.columns * self.tap_rows if grid else 0,
            "line_stride": SLICE if grid else line * SLICE,
            "word_stride": self.tap_rows if grid else SLICE}

    def words(self, seed=0):
        """Random words of the map by (y, x, step, word), all and no spikes among them."""
        rng = np.random.default_rng(seed)
        return {index: int(rng.choice([0, (1 << WORD) - 1, *rng.integers(1 << WORD, size=4)]))
                for index in self.source.indices()}

    def spikes(self, word, plane):
        """Spikes of a word: itself, or a bit of each of its samples, the highest first."""
        if not self.planes:
            return word
        channels = WORD // self.planes
        return sum((word >> c * self.planes + self.planes - 1 - plane & 1) << c
                   for c in range(channels))

    def taps(self, words, y, x, step, plane, base):
        """Spikes of each tap and word of a position by their row; taps outside do not occur.

        With `beside` the taps are those of x and x + 1: of four columns.
        """
        source, taps = self.source, {}
        for ky, kx in np.ndindex(3, self.columns) if source.grid else [(1, 1)]:
            v, u = y + ky - 1, x + kx - 1
            if not (0 <= v < source.height and 0 <= u < source.width):
                continue
            row = base + (self.columns * ky + kx) * self.tap_rows if source.grid else base
            taps |= {row + word * SLICE: self.spikes(words[v, u, step, word], plane)
                     for word in range(source.words)}
        return taps

    def positions(self, words, y, x, step, base):
        """The groups of the position x, or of x and x + 1, at one step."""
        planes = range(max(1, self.planes))
        if self.two != "pairs":
            return [self.taps(words, y, x, step, plane, base) for plane in planes]
        even, odd = (self.taps(words, y, each, step, 0, base) for each in (x, x + 1))
        rows = even.keys() | odd.keys()
        return [{row: split(even.get(row, 0), odd.get(row, 0)) for row in rows}
                for split in (lambda a, b: a & b, lambda a, b: a & ~b, lambda a, b: b & ~a)]

    def groups(self, words):
        """Of each group, (row, spikes) of all words with spikes, and whether it is the last tile.

        With `pairs` the taps set at both positions come first, then those at one of them only.
        """
        source = self.source
        return [(sorted((row, spikes) for row, spikes in group.items() if spikes),
                 base == self.bases[-1])
                for base in self.bases for y in range(source.height)
                for x in range(0, source.width, 1 + bool(self.two))
                for step in range(source.steps)
                for group in self.positions(words, y, x, step, base)]

    def lines(self):
        """Lines that the walk brings: those of each in-bounds kernel row."""
        source = self.source
        if not source.grid:
            lines = source.height * source.step_lines
        else:
            kernel_rows = sum(min(y + 2, source.height) - max(y - 1, 0)
                              for y in range(source.height))
            lines = kernel_rows * source.words
        lines *= self.tiles * source.width * source.steps * max(1, self.planes)
        # Three groups of two positions, or one.
        return lines * {"": 2, "pairs": 3, "beside": 1}[self.two] // 2


def grouped(lines, fields):
    """Groups in the lines that came, as `Walk.groups` gives them."""
    groups, group = [], []
    for line in lines:
        for bank, spikes in enumerate(line["words"]):
            if spikes:
                place = (bank - line["first"]) % LINE
                group.append((line["row"] + place * fields["word_stride"], spikes))
        if line["last"]:
            groups.append((sorted(group), bool(line["last_tile"])))
            group = []
    assert not group, "lines of no group"
    return groups


def grid(height, width, steps=1, words=1, block=0, rows=0):
    return StoredMap(1, 5, height, width, steps, words, True, block, rows)


def token(height, width, steps=1, words=1):
    return StoredMap(0, 9, height, width, steps, words, False)


def pair(height, width, steps=1, words=1):
    return StoredMap(0, 9, height, width, steps, words, False, pair=True)


def pairs(source, tiles=1):
    return Walk(source, tiles, hardware={"pairs": True, "beside": True}, two="pairs")


def beside(source, tiles=1, planes=0):
    return Walk(source, tiles, planes, {"pairs": True, "beside": True}, "beside")


WALKS = {
    "1x1": Walk(grid(1, 1)), "1x2": Walk(grid(1, 2)), "2x1": Walk(grid(2, 1)),
    "1x5": Walk(grid(1, 5)), "4x1": Walk(grid(4, 1)), "2x2": Walk(grid(2, 2)),
    "3x3": Walk(grid(3, 3)), "3x4": Walk(grid(3, 4)), "2x9": Walk(grid(2, 9)),
    "4x3-2words": Walk(grid(4, 3, 1, 2)), "3x2-2steps": Walk(grid(3, 2, 2)),
    "2x6-2steps-blocks-2-2-1-2tiles": Walk(grid(2, 6, 2, 5, 2), 2),
    "3x5-blocks-1-1": Walk(grid(3, 5, 1, 2, 1)),
    "1x1-3tiles": Walk(grid(1, 1), 3),
    "samples-2planes-3x5": Walk(grid(3, 5), 2, 2),
    "samples-4planes-2steps": Walk(grid(2, 3, 2), 1, 4,
                                   {"input_width": 4, "in_channels": 1}),
    "samples-1plane": Walk(grid(2, 2), 1, 1, {"input_width": 1, "in_channels": 4}),
    "token-1x1": Walk(token(1, 1)), "token-3x3": Walk(token(3, 3)),
    "token-2x3-3words": Walk(token(2, 3, 1, 3)), "token-4words": Walk(token(2, 2, 2, 4)),
    "token-5words": Walk(token(1, 3, 2, 5), 2), "token-3x1-2steps-3tiles": Walk(
        token(3, 1, 2, 2), 3),
    "pairs-1x2": pairs(grid(1, 2)), "pairs-2x4": pairs(grid(2, 4)),
    "pairs-3x6-2steps": pairs(grid(3, 6, 2)),
    "pairs-2x10-2words-2tiles": pairs(grid(2, 10, 1, 2), 2),
    "pairs-4x2-3steps-blocks-2-1": pairs(grid(4, 2, 3, 3, 2)),
    **{f"pairs-token-2x4-{words}words": pairs(pair(2, 4, 1, words)) for words in (1, 2, 4)},
    "pairs-token-1x2": pairs(pair(1, 2)),
    "pairs-token-3x2-2steps-3words-2tiles": pairs(pair(3, 2, 2, 3), 2),
    "pairs-token-1x6-3steps-5words": pairs(pair(1, 6, 3, 5)),
    "beside-1x2": beside(grid(1, 2)), "beside-3x4-2steps": beside(grid(3, 4, 2)),
    "beside-2x6-3words-2tiles": beside(grid(2, 6, 1, 3, 2), 2),
    "beside-samples-2planes-2x10": beside(grid(2, 10), 1, 2),
    "alone-where-pairs-are-possible": Walk(grid(3, 5, 2), hardware={"pairs": True, "beside": True}),
    "token-where-pairs-are-possible": Walk(token(1, 3, 2, 5), 2, hardware={"pairs": True}),
}
every_walk = pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS.keys())


def bench_of(walk, words):
    hardware = replace(HARDWARE, **walk.hardware)
    bench = Bench(dut := Gather(hardware))
    bench.instruction(**walk.fields())
    # All other words are full of spikes.
    bench.spike_read(dut.memory, {walk.source.read(*index): word for index, word in words.items()})
    return bench, dut


@every_gap
@every_walk
def test_every_tap_in_its_group(walk, gaps):
    words = walk.words()
    bench, dut = bench_of(walk, words)
    bench.pulse(dut.start)
    got = bench.sink(dut.o, walk.lines(), gaps[1])
    after = bench.record(dut.o.valid & dut.o.ready)
    bench.run(extra=10)
    assert grouped(got, walk.fields()) == walk.groups(words)
    assert len(after) == walk.lines()


@every_walk
def test_a_line_per_cycle_and_two_idle_cycles_per_row_and_one_per_tile(walk):
    bench, dut = bench_of(walk, walk.words())
    bench.hold(dut.o.ready, 1)
    bench.pulse(dut.start)
    started = bench.record(dut.start)
    lines = bench.record(dut.o.valid)
    rows = walk.tiles * walk.source.height
    bench.run(extra=walk.lines() + 2 * rows + walk.tiles + 20)
    assert len(lines) == walk.lines()
    assert lines[-1][0] - lines[0][0] + 1 == len(lines) + 2 * (rows - 1) + walk.tiles - 1
    # Tile, row, position, then the read, its words, the taps.
    assert lines[0][0] - started[0][0] == 7


def test_runs_again():
    """The second layer starts from its own bases, not from where the first one ended."""
    walk = WALKS["2x6-2steps-blocks-2-2-1-2tiles"]
    words = walk.words()
    bench, dut = bench_of(walk, words)
    bench.hold(dut.o.ready, 1)
    for run in range(2):
        bench.pulse(dut.start, 2 + run * (walk.lines() + 60))
    got = bench.record(dut.o.valid, dut.o.payload)
    bench.run(extra=walk.lines() + 60)
    assert grouped([line for _, line in got], walk.fields()) == 2 * walk.groups(words)


@pytest.mark.parametrize("wait", [0, 40])
def test_streamed_tiles_bring_their_place_along(wait):
    """A tile begins when its first weight row is given, which may be anywhere."""
    walk = WALKS["token-3x1-2steps-3tiles"]
    words, bases = walk.words(), [40, 3, 90]
    bench = Bench(dut := Gather(small_hardware(port_bits=64)))
    bench.instruction(**walk.fields() | {"weight_base": 0, "tile_stride": 0})
    bench.spike_read(dut.memory, {walk.source.read(*index): word for index, word in words.items()})
    bench.pulse(dut.start)
    bench.source(dut.tile, bases, period=1 + wait)
    taken = bench.record(dut.tile.valid & dut.tile.ready)
    got = bench.sink(dut.o, walk.lines())
    bench.run(extra=10)
    moved = []
    for number, (group, last) in enumerate(walk.groups(words)):
        tile = number * walk.tiles // len(walk.groups(words))
        moved.append((sorted((row - walk.bases[tile] + bases[tile], spikes)
                             for row, spikes in group), last))
    assert grouped(got, walk.fields()) == moved
    assert len(taken) == walk.tiles


# Rows that a layer may still need when it has taken row n, itself included.
HELD = 3

RINGS = {
    "4-of-6": Walk(grid(6, 3, 1, 1, rows=4), 2), "4-of-5-blocks": Walk(grid(5, 5, 2, 3, 2, 4), 3),
    "5-of-7-samples": Walk(grid(7, 2, rows=5), 2, 2), "8-of-9": Walk(grid(9, 1, rows=8), 2),
    "pairs-4-of-5": pairs(grid(5, 4, 1, 3, 2, 4), 2), "beside-5-of-6": beside(
        grid(6, 2, rows=5), 2)}


@every_gap
@pytest.mark.parametrize("walk", RINGS.values(), ids=RINGS.keys())
def test_rows_pass_through_a_ring(walk, gaps):
    """A row is read when it is there, and none that the ring has overwritten since."""
    source, words = walk.source, walk.words()
    hardware = small_hardware(port_bits=64, spills_maps=True, **walk.hardware)
    bench = Bench(dut := Gather(hardware), seed=1, max_cycles=20_000)
    bench.instruction(**walk.fields(), source_window=1)
    contents = {}
    bench.spike_read(dut.memory, contents)
    bench.pulse(dut.start)
    bench.source(dut.tile, walk.bases)
    rng, rows = np.random.default_rng(3), walk.tiles * source.height
    events = []

    async def ring(ctx):
        """Brings rows as early as the ring has room, or later."""
        loaded = taken = wait = 0
        async for _, _, take in ctx.tick().sample(dut.take_row):
            taken += take
            events.append((loaded, taken))
            if wait:
                wait -= 1
            elif loaded < rows and loaded - max(0, taken - HELD) < source.rows:
                tile, y = divmod(loaded, source.height)
                for index, word in words.items():
                    if index[0] == y:
                        contents[source.read(*index, tile)] = word
                loaded += 1
                wait = int(rng.integers(0, 1 + 60 * (gaps[0] > 0)))
            ctx.set(dut.row_here, loaded != taken)
    bench.sim.add_testbench(ring, background=True)
    got = bench.sink(dut.o, walk.lines(), gaps[1])
    bench.run(extra=30)
    assert grouped(got, walk.fields()) == walk.groups(words)
    assert events[-1] == (rows, rows)
    assert all(taken <= loaded for loaded, taken in events)


@pytest.mark.parametrize("pool", [False, True], ids=["plain", "pool"])
@pytest.mark.parametrize("height", [1, 2, 5, 6])
def test_rows_wait_for_room_in_the_target(height, pool):
    """Each row of the target is begun once, before the first line whose results enter it."""
    walk = Walk(grid(height, 3), 2)
    words = walk.words()
    bench = Bench(dut := Gather(small_hardware(port_bits=64, spills_maps=True)), seed=height)
    bench.instruction(**walk.fields(), target_window=1, pool=pool)
    bench.spike_read(dut.memory, {walk.source.read(*index): word for index, word in words.items()})
    bench.pulse(dut.start)
    bench.source(dut.tile, walk.bases)
    bench.hold(dut.o.ready, 1)
    got, begun = [], []

    async def room(ctx):
        free, wait = False, 20
        async for _, _, begin, valid, line in ctx.tick().sample(dut.begin_row, dut.o.valid,
                                                               dut.o.payload):
            if begin:
                begun.append((free, sum(each["last"] for each in got)))
                free, wait = False, int(bench.rng.integers(0, 40))
            elif not free:
                wait -= 1
                free = wait < 0
            ctx.set(dut.row_free, free)
            if valid:
                got.append(plain(line))
    bench.sim.add_testbench(room, background=True)
    bench.run(extra=1000)
    assert grouped(got, walk.fields()) == walk.groups(words)
    # Windows begin with the first source row and with each odd one that another one follows.
    starts = [y for y in range(height) if not pool or y == 0 or (y % 2 and y < height - 1)]
    assert [free for free, _ in begun] == [True] * 2 * len(starts)
    # Groups that are out when a row begins, but for the two on their way.
    groups = [(tile * height + y) * 3 for tile in range(2) for y in starts]
    assert all(groups[i] - 2 <= out <= groups[i] for i, (_, out) in enumerate(begun))
