# SPDX-License-Identifier: Apache-2.0
"""Windowed maps: rows from and to external memory, through rings that never lose a row in use."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from hw.axi import block_bytes
from hw.window import MapWindow, RowLoader, RowStorer
from sim.benches.maps import LINE, StoredMap
from tests.hw.axi_memory import AxiMemory, Pauses
from tests.hw.harness import Bench, plain, small_hardware

BASE_ADDRESS = 0x2000
# A 3x3 convolution reads the row that it took last and the two above.
HELD = 3
PAUSES = {"at-once": Pauses(), "late": Pauses((30, 90)), "late-and-stalls": Pauses((5, 60), 0.6)}
every_pause = pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES.keys())
# The port's width, and words of a line: a line that fills a part of a beat, one, or several.
PORTS = {"64-16": (64, 4), "64-256": (64, 64), "128-128": (128, 32), "128-256": (128, 64)}
every_port = pytest.mark.parametrize("port", PORTS.values(), ids=PORTS.keys())


@dataclass(frozen=True)
class External:
    """A map in external memory: a chunk of whole bursts for each row and block, by block."""

    stored: StoredMap
    port_bits: int
    word_bits: int
    place: int = 0

    @property
    def line_bytes(self):
        """Bytes that a line takes: whole beats."""
        return -(-LINE * self.word_bits // self.port_bits) * self.port_bits // 8

    @property
    def chunk(self):
        size = self.stored.block_lines * self.line_bytes
        return -(-size // block_bytes(self.port_bits)) * block_bytes(self.port_bits)

    @property
    def size(self):
        return self.stored.blocks * self.stored.height * self.chunk

    def fields(self, end):
        """Fields of the instruction for the end "source" or "target"."""
        fields = {f"{end}_window": 1, f"{end}_place": self.place, f"{end}_chunk": self.chunk,
                  f"{end}_beats": self.stored.block_lines * self.line_bytes * 8 // self.port_bits}
        if end == "source":
            return fields | self.stored.source() | {
                "source_block": self.stored.height * self.chunk, "height": self.stored.height,
                "width": self.stored.width}
        return fields | self.stored.target()

    def where(self, y, x, step, word):
        """Address of the line that holds a word, and its first bit in it."""
        _, bank, line = replace(self.stored, rows=0, base=0).read(0, x, step, word)
        block, line = divmod(line, self.stored.block_lines)
        chunk = (block * self.stored.height + y) * self.chunk
        return BASE_ADDRESS + self.place + chunk + line * self.line_bytes, bank * self.word_bits

    def put(self, contents, words):
        """Write words by (y, x, step, word)."""
        for index, word in words.items():
            address, shift = self.where(*index)
            part = slice(address, address + self.line_bytes)
            line = int.from_bytes(contents[part], "little")
            line &= ~((1 << self.word_bits) - 1 << shift)
            contents[part] = (line | word << shift).to_bytes(self.line_bytes, "little")

    def get(self, contents):
        words = {}
        for index in self.stored.indices():
            address, shift = self.where(*index)
            line = int.from_bytes(contents[address:address + self.line_bytes], "little")
            words[index] = line >> shift & (1 << self.word_bits) - 1
        return words


def random_words(stored, bits, seed):
    rng = np.random.default_rng(seed)
    return {index: int.from_bytes(rng.bytes(8), "little") & (1 << bits) - 1
            for index in stored.indices()}


def hardware_of(port_bits, word_bits):
    return small_hardware(lanes=2 * word_bits, spike_word=word_bits, port_bits=port_bits,
                          spills_maps=True)


def memory_of(hardware, size, pauses):
    """A memory of noise with room for maps of so many bytes."""
    noise = np.random.default_rng(7).bytes(BASE_ADDRESS + size + 4096)
    return AxiMemory(hardware.port_bits, bytearray(noise), pauses)


def take_rows(bench, dut, contents, stored, words, tiles, wait):
    """A layer that takes row after row; rows that were not whole to the end of their use.

    wait: at most so many cycles between two rows
    """
    lost = []

    async def layer(ctx):
        for tile in range(tiles):
            for y in range(stored.height):
                await ctx.tick().until(dut.row_here)
                idle = int(bench.rng.integers(wait + 1))
                if idle:
                    await ctx.tick().repeat(idle)
                ctx.set(dut.take_row, 1)
                await ctx.tick()
                ctx.set(dut.take_row, 0)
                # The rows in use, as late as the next one may be taken.
                await ctx.tick().repeat(1 + int(bench.rng.integers(wait + 1)))
                lost.extend((tile, index) for index, word in words.items()
                            if y - HELD < index[0] <= y
                            and contents.get(stored.read(*index, tile)) != word)
    bench.sim.add_testbench(layer)
    return lost


SOURCES = {   # map, tiles
    "4-of-5": (StoredMap(1, 3, 5, 4, rows=4), 1),
    "4-of-5-1x": (StoredMap(0, 0, 5, 1, rows=4), 3),
    "4-of-7-blocks-2-2-1": (StoredMap(1, 2, 7, 6, 1, 5, True, 2, 4), 2),
    "5-of-6-2steps": (StoredMap(0, 1, 6, 5, 2, 2, True, 1, 5), 2),
    "7-of-8": (StoredMap(1, 0, 8, 9, rows=7), 2)}
every_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES.keys())


@every_pause
@every_source
@pytest.mark.parametrize("wait", [0, 60], ids=["hasty", "slow"])
def test_rows_come_in_order_and_stay_as_long_as_they_are_read(source, wait, pauses):
    stored, tiles = source
    hardware = hardware_of(64, 4)
    external = External(stored, 64, 4, 3 * 512)
    words = random_words(stored, 4, 1)
    bench = Bench(dut := RowLoader(hardware), seed=wait, max_cycles=20_000)
    bench.instruction(tiles=tiles, **external.fields("source"))
    bench.hold(dut.address, BASE_ADDRESS)
    memory = memory_of(hardware, external.place + external.size, pauses)
    external.put(memory.contents, words)
    memory.serve_reads(bench, dut.port)
    contents = {}
    writes = bench.spike_write(dut.write, contents)
    here = bench.record(1, dut.row_here)
    bench.pulse(dut.start)
    lost = take_rows(bench, dut, contents, stored, words, tiles, wait)
    bench.run(extra=300)
    assert not here[-1][1], "a row more than there are"
    assert not lost and not memory.faults
    # Every line once for each tile, and nothing is here that does not exist.
    assert len(writes) == tiles * stored.height * stored.row_lines * LINE
    chunks = tiles * stored.height * stored.blocks
    assert sum(burst.beats for burst in memory.read) == chunks * external.fields(
        "source")["source_beats"]


@every_port
def test_lines_of_every_width(port):
    """A line takes a part of a beat, or several; 9 columns, so that the last line is not full."""
    port_bits, word_bits = port
    stored = StoredMap(1, 4, 6, 9, 2, 3, True, 2, 4)
    hardware = hardware_of(port_bits, word_bits)
    external = External(stored, port_bits, word_bits, block_bytes(port_bits))
    words = random_words(stored, word_bits, 2)
    bench = Bench(dut := RowLoader(hardware), max_cycles=20_000)
    bench.instruction(tiles=1, **external.fields("source"))
    bench.hold(dut.address, BASE_ADDRESS)
    memory = memory_of(hardware, external.place + external.size, Pauses((9, 20), 0.3))
    external.put(memory.contents, words)
    memory.serve_reads(bench, dut.port)
    contents = {}
    bench.spike_write(dut.write, contents)
    bench.pulse(dut.start)
    lost = take_rows(bench, dut, contents, stored, words, 1, 5)
    bench.run(extra=50)
    assert not lost and not memory.faults


def test_rows_are_loaded_ahead_as_far_as_the_ring_has_room():
    """All rows of the ring without a row taken; then one more for each that is out of use."""
    stored = StoredMap(0, 0, 9, 5, rows=5)
    external = External(stored, 64, 4)
    bench = Bench(dut := RowLoader(hardware_of(64, 4)))
    bench.instruction(tiles=1, **external.fields("source"))
    memory = memory_of(hardware_of(64, 4), external.size, Pauses())
    memory.serve_reads(bench, dut.port)
    writes = bench.spike_write(dut.write, {})
    bench.pulse(dut.start)
    loaded = []

    async def take(ctx):
        for _ in range(stored.height):
            await ctx.tick().repeat(200)
            loaded.append(len(writes) / (LINE * stored.row_lines))
            ctx.set(dut.take_row, 1)
            await ctx.tick()
            ctx.set(dut.take_row, 0)
    bench.sim.add_testbench(take)
    bench.run()
    assert loaded == [5, 5, 5, 5, 6, 7, 8, 9, 9]


def test_maps_one_after_another_and_layers_without():
    """A layer whose source is on chip loads nothing; `start` forgets the layer before."""
    first = External(StoredMap(1, 2, 5, 3, 1, 2, True, 1, 4), 64, 4)
    second = External(StoredMap(0, 1, 7, 6, rows=5), 64, 4, first.size)
    bench = Bench(dut := RowLoader(hardware_of(64, 4)), max_cycles=20_000)
    bench.hold(dut.address, BASE_ADDRESS)
    memory = memory_of(hardware_of(64, 4), first.size + second.size, Pauses((3, 9), 0.2))
    memory.serve_reads(bench, dut.port)
    contents, here = {}, bench.record(dut.row_here)
    writes = bench.spike_write(dut.write, contents)
    got, seen = [], []

    async def layers(ctx):
        for external, tiles in ((first, 1), (None, 2), (second, 2), (first, 1)):
            fields = external.fields("source") if external else first.stored.source()
            ctx.set(dut.instruction, {"tiles": tiles, **fields})
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            if external is None:
                seen.append((len(here), len(writes)))
                await ctx.tick().repeat(200)
                seen.append((len(here), len(writes)))
                continue
            words, stored = external.get(memory.contents), external.stored
            for tile in range(tiles):
                for y in range(stored.height):
                    await ctx.tick().until(dut.row_here)
                    ctx.set(dut.take_row, 1)
                    await ctx.tick()
                    ctx.set(dut.take_row, 0)
                    await ctx.tick()
                    got.append(all(contents[stored.read(*index, tile)] == word
                                   for index, word in words.items() if index[0] == y))
            await ctx.tick().repeat(100)
    bench.sim.add_testbench(layers)
    bench.run()
    assert got == [True] * (5 + 14 + 5) and not memory.faults
    assert seen[0] == seen[1]


def serve_shared(bench, dut, contents):
    """Spike memory whose half another client reads whenever it takes `may_read` away."""
    noise = np.random.default_rng(9)
    stolen = []

    async def serve(ctx):
        async for _, _, en, half, addresses, free in ctx.tick().sample(
                dut.read.en, dut.read.half, dut.read.addresses, dut.may_read):
            lines = plain(addresses) * LINE
            if en and not free:
                stolen.append(lines)
            if en:
                ctx.set(dut.read.data, [contents.get((half, bank, line), 0)
                                        for bank, line in enumerate(lines)])
            elif not free:
                ctx.set(dut.read.data, noise.integers(16, size=LINE).tolist())
    bench.sim.add_testbench(serve, background=True)
    return stolen


def take_away(bench, dut, share):
    """`may_read` is 0 in a share of cycles, singly and in runs."""
    rng = np.random.default_rng(4)

    async def drive(ctx):
        left, free = 0, True
        while True:
            if not left:
                free, left = rng.random() >= share, int(rng.choice([1, 2, 9]))
            left -= 1
            ctx.set(dut.may_read, free)
            await ctx.tick()
    bench.sim.add_testbench(drive, background=True)


def make_rows(bench, dut, contents, stored, words, wait, overlap, stored_all):
    """A layer that fills row after row of every tile, taking as long as it likes.

    overlap: a row begins before the one before it is complete, as max-pooling has it
    stored_all: is called when all rows are said to be in memory
    """
    tiles = stored.blocks
    rows = [(tile, y) for tile in range(tiles) for y in range(stored.height)]

    def of_row(tile, y):
        return {stored.write(*index): word for index, word in words.items()
                if index[0] == y and index[3] // stored.block_words == tile}

    async def layer(ctx):
        unfinished = []

        async def finish(keep):
            while len(unfinished) > keep:
                idle = int(bench.rng.integers(wait + 1))
                if idle:
                    await ctx.tick().repeat(idle)
                contents.update(unfinished.pop(0))
                ctx.set(dut.row_done, 1)
                await ctx.tick()
                ctx.set(dut.row_done, 0)
        await ctx.tick().repeat(5)   # after `start`
        for row in rows:
            await ctx.tick().until(dut.row_free)
            ctx.set(dut.begin_row, 1)
            await ctx.tick()
            ctx.set(dut.begin_row, 0)
            # What is not complete yet is anything but the row that was there.
            contents.update(dict.fromkeys(of_row(*row), 0))
            unfinished.append(of_row(*row))
            await finish(overlap)
        await finish(0)
        await ctx.tick().until(~dut.busy)
        stored_all()
    bench.sim.add_testbench(layer)


TARGETS = {
    "4-of-5": StoredMap(1, 3, 5, 4, rows=4), "4-of-6-1x": StoredMap(0, 0, 6, 1, rows=4),
    "4-of-5-blocks-2-2-1": StoredMap(1, 2, 5, 6, 1, 5, True, 2, 4),
    "3-of-7-2steps": StoredMap(0, 1, 7, 5, 2, 2, True, 1, 3)}
every_target = pytest.mark.parametrize("stored", TARGETS.values(), ids=TARGETS.keys())


def store(bench, dut, hardware, external, words, pauses, share, wait, overlap):
    """Run a layer into memory; what memory holds when `busy` falls, and the memory."""
    bench.instruction(tiles=external.stored.blocks, **external.fields("target"))
    bench.hold(dut.address, BASE_ADDRESS)
    memory = memory_of(hardware, external.place + external.size, pauses)
    memory.serve_writes(bench, dut.port)
    contents, ended = {}, []
    stolen = serve_shared(bench, dut, contents)
    take_away(bench, dut, share)
    bench.pulse(dut.start)

    make_rows(bench, dut, contents, external.stored, words, wait, overlap,
              lambda: ended.append(external.get(memory.contents)))
    bench.run(extra=50)
    assert not stolen and not memory.faults
    return ended[0], memory


@every_pause
@every_target
@pytest.mark.parametrize(("share", "overlap"), [(0.0, 0), (0.5, 1)], ids=["alone", "shared"])
def test_finished_rows_leave_before_others_take_their_place(stored, share, overlap, pauses):
    hardware = hardware_of(64, 4)
    external = External(stored, 64, 4, 2 * 512)
    words = random_words(stored, 4, 3)
    for wait in (0, 30):
        bench = Bench(dut := RowStorer(hardware), seed=wait, max_cycles=20_000)
        got, memory = store(bench, dut, hardware, external, words, pauses, share, wait, overlap)
        assert got == words
        assert len(memory.written) == memory.answered == stored.blocks * stored.height
        beats = external.fields("target")["target_beats"]
        assert [burst.beats for burst in memory.written] == [beats] * len(memory.written)


@every_port
def test_lines_of_every_width_are_stored(port):
    port_bits, word_bits = port
    stored = StoredMap(1, 4, 5, 9, 2, 3, True, 2, 4)
    hardware = hardware_of(port_bits, word_bits)
    external = External(stored, port_bits, word_bits, block_bytes(port_bits))
    words = random_words(stored, word_bits, 4)
    # The last block has one word: its lines are as many as those of the others.
    bench = Bench(dut := RowStorer(hardware), max_cycles=20_000)
    got, _ = store(bench, dut, hardware, external, words, Pauses((2, 30), 0.4), 0.3, 4, 1)
    assert got == words


def test_no_row_begins_where_the_ring_is_full():
    """`row_free` falls with as many rows as the ring has, until one is in memory."""
    stored = StoredMap(1, 0, 9, 5, rows=4)
    external = External(stored, 64, 4)
    bench = Bench(dut := RowStorer(hardware_of(64, 4)))
    bench.instruction(tiles=1, **external.fields("target"))
    memory = memory_of(hardware_of(64, 4), external.size, Pauses())
    memory.serve_writes(bench, dut.port)
    bench.spike_read(dut.read, {})
    bench.hold(dut.may_read, 1)
    bench.pulse(dut.start)
    free = []

    async def layer(ctx):
        await ctx.tick().repeat(5)
        for signal in [dut.begin_row] * 4 + [dut.row_done, dut.begin_row, dut.row_done,
                                             dut.row_done]:
            ctx.set(signal, 1)
            await ctx.tick()
            ctx.set(signal, 0)
            await ctx.tick().repeat(60)
            free.append((ctx.get(dut.row_free), ctx.get(dut.busy)))
    bench.sim.add_testbench(layer)
    bench.run()
    assert free == [(1, 1)] * 3 + [(0, 1), (1, 1), (0, 1), (1, 1), (1, 1)]


def test_layers_whose_target_stays_on_chip_store_nothing():
    stored = StoredMap(1, 0, 5, 5)
    bench = Bench(dut := RowStorer(hardware_of(64, 4)))
    bench.instruction(tiles=1, **stored.target())
    bench.pulse(dut.start)
    bench.pulse(dut.begin_row, 5)
    bench.pulse(dut.row_done, 9)
    bench.hold(dut.may_read, 1)
    active = bench.record(dut.busy | dut.read.en | dut.port.aw.valid)
    bench.run(extra=50)
    assert not active


@every_pause
def test_both_ends_at_once(pauses):
    """A layer from one windowed map to another, each with its own place and ring."""
    hardware = hardware_of(64, 4)
    source = External(StoredMap(0, 1, 6, 5, 1, 3, True, 2, 4), 64, 4, 512)
    target = External(StoredMap(1, 2, 5, 7, 2, 4, True, 2, 4), 64, 4, 512 + source.size)
    tiles = target.stored.blocks
    words = random_words(source.stored, 4, 5), random_words(target.stored, 4, 6)
    bench = Bench(dut := MapWindow(hardware), seed=2, max_cycles=20_000)
    bench.instruction(tiles=tiles, **source.fields("source"), **target.fields("target"))
    bench.hold(dut.address, BASE_ADDRESS)
    memory = memory_of(hardware, target.place + target.size, pauses)
    source.put(memory.contents, words[0])
    memory.serve_reads(bench, dut.port.read)
    memory.serve_writes(bench, dut.port.write)
    contents = {}
    bench.spike_write(dut.write, contents)
    stolen = serve_shared(bench, dut, contents)
    take_away(bench, dut, 0.4)
    bench.pulse(dut.start)
    lost = take_rows(bench, dut, contents, source.stored, words[0], tiles, 20)
    got = []
    make_rows(bench, dut, contents, target.stored, words[1], 20, 1,
              lambda: got.append(target.get(memory.contents)))
    bench.run(extra=20)
    assert not lost and not stolen and not memory.faults
    assert got == [words[1]]
    assert source.get(memory.contents) == words[0]
