# SPDX-License-Identifier: Apache-2.0
"""Fetch alone: what lies in memory arrives where it belongs, at the right time."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from hw.current import ParamRow
from hw.fetch import Fetch, clear_cycles
from hw.tiles import PARAM_SLOTS, encode_stream, place_tiles
from tests.hw.axi_memory import AxiMemory, Pauses
from tests.hw.harness import Bench, plain, small_hardware

# Rows that fill several beats, and none of several beats; one bank; programs longer than the ring.
SHAPES = {
    "wide": {"weight_bits": 8, "lanes": 24, "banks": 4, "spike_word": 8, "neurons": 8},
    "one beat": {"lanes": 8, "banks": 2},
    "one bank": {"lanes": 12, "banks": 1, "neurons": 4, "weight_bits": 6},
    "one beat of parameters": {"lanes": 4, "banks": 4, "neurons": 4},
}
SIZES = [3, 3, 5, 1, 1, 1, 1, 1, 1, 6, 2]
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
every_width = pytest.mark.parametrize("bits", [64, 128])
every_pause = pytest.mark.parametrize(
    "pauses", [Pauses(), Pauses((20, 120), 0.5)], ids=["at once", "late and stalls"])


@dataclass
class Delivered:
    """What Fetch delivered in one pass; tiles as (base, parameter rows, weight rows by bank)."""

    program: list[int] = field(default_factory=list)
    tiles: list[tuple] = field(default_factory=list)


def image_of(hardware, seed, words=37, sizes=SIZES):
    """(memory image, placements, what it holds) of random contents."""
    rng, geometry = np.random.default_rng(seed), hardware.geometry
    layout = ParamRow(hardware)
    row_bits = geometry.lanes * hardware.weight_bits
    row_bytes = -(-row_bits // 8)
    program = [int(word) for word in rng.integers(0, 1 << 32, words)]
    tiles, expected = [], Delivered(program)
    for placement in place_tiles(sizes, hardware.weight_rows):
        params = [int.from_bytes(rng.bytes(40), "little") % (1 << layout.size)
                  for _ in range(int(rng.integers(1, geometry.beats + 1)))]
        rows = [[int.from_bytes(rng.bytes(row_bytes), "little") % (1 << row_bits)
                 for _ in range(geometry.banks)] for _ in range(placement.rows)]
        tiles.append((placement, params, np.array(
            [[list(row.to_bytes(row_bytes, "little")) for row in bank] for bank in rows],
            np.uint8)))
        expected.tiles.append((placement.base, params, rows))
    image = encode_stream(program, tiles, hardware.port_bits, layout.size)
    return image, [placement for placement, *_ in tiles], expected


def fetch(hardware, images, pauses=None, gap=0, use=0, max_cycles=30_000):
    """One pass for each image; a tile is used for `use` cycles once it was offered, then done.

    Memories are kept as the ports write them, and a tile is read from them at its end only.
    """
    bench = Bench(dut := Fetch(hardware), seed=3, max_cycles=max_cycles)
    geometry = hardware.geometry
    beats = dut.params.address.shape().width - (PARAM_SLOTS - 1).bit_length()
    size = max(len(image) for image, *_ in images)
    size += -size % 4096
    base = 0x3000   # the image need not be at address 0
    memory = AxiMemory(hardware.port_bits, bytearray(base + len(images) * size),
                       pauses or Pauses())
    for number, (image, *_) in enumerate(images):
        memory.contents[base + number * size:base + number * size + len(image)] = image
    memory.serve_reads(bench, dut.port)
    program: dict[int, int] = {}
    params: dict[int, int] = {}
    weights: dict[tuple[int, int], int] = {}

    async def keep(ctx):
        ports = (dut.program, dut.params, dut.weights)
        async for _, _, *values in ctx.tick().sample(
                *(signal for port in ports
                  for signal in (port.en, port.select, port.address, port.data))):
            for store, at in ((program, 0), (params, 4), (weights, 8)):
                en, select, address, value = values[at:at + 4]
                if en:
                    store[(select, address) if store is weights else address] = value
    bench.sim.add_testbench(keep, background=True)
    passes: list[Delivered] = []

    async def inference(ctx):
        for number, (_, placements, expected) in enumerate(images):
            await ctx.tick().repeat(5)
            ctx.set(dut.address, base + number * size)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            ctx.set(dut.released, 0)
            await ctx.tick().until(dut.program_ready)
            passes.append(got := Delivered([program.get(address) for address in
                                            range(len(expected.program))]))
            for index, placement in enumerate(placements):
                idle = int(bench.rng.integers(0, gap + 1))
                if idle:
                    await ctx.tick().repeat(idle)
                ctx.set(dut.tile.ready, 1)
                row, = await ctx.tick().sample(dut.tile.payload).until(dut.tile.valid)
                ctx.set(dut.tile.ready, 0)
                # What comes meanwhile must leave it alone.
                await ctx.tick().repeat(1 + use)
                slot = index % PARAM_SLOTS << beats
                got.tiles.append((
                    plain(row), [params.get(slot + beat) for beat in
                                 range(len(expected.tiles[index][1]))],
                    [[weights.get((bank, row + at)) for bank in range(geometry.banks)]
                     for at in range(placement.rows)]))
                ctx.set(dut.released, index + 1)
    bench.sim.add_testbench(inference)
    bad = bench.record(dut.bad_image)
    bench.run(extra=20)
    assert not memory.faults and not bad
    # Not a beat but the image's: block 0 is read for its first beat.
    asked = sum(burst.beats for burst in memory.read)
    beat = hardware.port_bits // 8
    assert asked == sum(1 + len(image) // beat - 64 for image, *_ in images)
    return passes, memory


@every_shape
@every_width
@every_pause
@pytest.mark.parametrize("gap", [0, 9], ids=["taken at once", "taken late"])
def test_everything_arrives_in_its_place(shape, bits, pauses, gap):
    """Two passes of different images, in a ring of one tile, or several."""
    for rows, use in ((max(SIZES) + 1, 3), (40, 60)):
        hardware = small_hardware(port_bits=bits, weight_rows=rows, program_words=48, **shape)
        images = [image_of(hardware, 1), image_of(hardware, 2, words=48, sizes=SIZES[::-1])]
        passes, _ = fetch(hardware, images, pauses, gap, use)
        assert passes == [expected for *_, expected in images]


@every_width
@pytest.mark.parametrize("words", [1, 2, 3, 4, 5, 600])
def test_programs_of_every_length(bits, words):
    """The program may be much longer than the weight memory."""
    hardware = small_hardware(port_bits=bits, weight_rows=4, program_words=600)
    images = [image_of(hardware, words, words, [2, 3])]
    assert fetch(hardware, images)[0][0] == images[0][2]


@every_width
def test_a_tile_waits_until_its_place_is_free(bits):
    """It is written when `released` has reached its `wait`, neither before nor much later."""
    hardware = small_hardware(port_bits=bits, weight_rows=6, program_words=8)
    image, placements, _ = image_of(hardware, 5, words=4, sizes=[5, 5, 2, 3])
    assert [tile.wait for tile in placements] == [0, 1, 2, 2]
    bench = Bench(dut := Fetch(hardware))
    memory = AxiMemory(bits, bytearray(image), Pauses())
    memory.serve_reads(bench, dut.port)
    bench.pulse(dut.start)
    bench.hold(dut.tile.ready, 1)
    times = []

    async def release(ctx):
        for done in (1, 2):
            await ctx.tick().repeat(150)
            ctx.set(dut.released, done)
            times.append(150 * done)
        await ctx.tick().repeat(150)
    bench.sim.add_testbench(release)
    written = bench.record(dut.params.en | dut.weights.en, dut.weights.address)
    offered = bench.record(dut.tile.valid, dut.tile.payload)
    bench.run()
    assert [base for _, base in offered] == [tile.base for tile in placements]
    cycles = [cycle for cycle, _ in offered]
    assert cycles[0] < times[0] < cycles[1] < times[1] < cycles[2] < cycles[3]
    for cycle, _ in written:
        passed = sum(cycle > time for time in times)
        assert cycle <= cycles[0] or (passed and cycle <= cycles[1]) or passed == 2
    # The beats waited in the reader, so that a tile takes no more cycles than it has beats.
    row_beats = hardware.geometry.banks * placements[1].rows
    assert cycles[1] - times[0] <= row_beats + 2 * hardware.geometry.beats + 8


@every_width
def test_a_beat_per_cycle(bits):
    """Many tiles whose place is free: no pause within them, three cycles between."""
    hardware = small_hardware(port_bits=bits, weight_rows=1000, program_words=8, lanes=16)
    sizes = [40] * 12
    images = [image_of(hardware, 6, words=8, sizes=sizes)]
    bench = Bench(dut := Fetch(hardware), max_cycles=4000)
    memory = AxiMemory(bits, bytearray(images[0][0]), Pauses((100, 100)))
    memory.serve_reads(bench, dut.port)
    bench.pulse(dut.start)
    bench.hold(dut.released, len(sizes))
    bench.sink(dut.tile, len(sizes))
    bench.run()
    cycles = [cycle for cycle, _ in memory.beats][1:]
    assert len(cycles) == len(images[0][0]) // (bits // 8) - 64
    assert cycles[-1] - cycles[0] <= len(cycles) + 3 * len(sizes)


@every_shape
def test_row_0_is_zero_before_anything_is_taken(shape):
    """After reset, even if a pass starts at once and the memory answers at once."""
    hardware = small_hardware(port_bits=64, weight_rows=10, program_words=8, **shape)
    bench = Bench(dut := Fetch(hardware))
    memory = AxiMemory(64, bytearray(image_of(hardware, 7, words=8, sizes=[3])[0]), Pauses())
    memory.serve_reads(bench, dut.port)
    bench.pulse(dut.start, 1)
    written = bench.record(dut.weights.en & dut.clearing, dut.weights.select, dut.weights.address,
                           dut.weights.data)
    clearing = bench.record(dut.clearing)
    taken = bench.record(dut.port.r.valid & dut.port.r.ready)
    bench.wait(dut.program_ready)
    bench.run(extra=20)
    assert [values for _, *values in written] == [
        [bank, 0, 0] for bank in range(hardware.geometry.banks)]
    # Registers before and behind the memory: lanes must not see what was there.
    assert clearing[-1][0] == written[-1][0] + clear_cycles(hardware) - 1
    assert taken


@every_width
def test_what_is_no_image_stops_it(bits):
    hardware = small_hardware(port_bits=bits, weight_rows=10, program_words=8)
    image, *_ = image_of(hardware, 7, words=8, sizes=[3])
    for wrong in (0, 31):
        bench = Bench(dut := Fetch(hardware))
        memory = AxiMemory(bits, bytearray(image), Pauses())
        memory.contents[wrong // 8] ^= 1 << wrong % 8
        memory.serve_reads(bench, dut.port)
        bench.pulse(dut.start)
        bad = bench.record(dut.bad_image)
        other = bench.record(dut.program_ready | dut.tile.valid | dut.program.en
                             | dut.params.en | (dut.weights.en & ~dut.clearing))
        bench.wait(dut.bad_image)
        bench.run(extra=100)
        assert len(bad) >= 100 and not other
        assert [(burst.address, burst.beats) for burst in memory.read] == [(0, 1)]


def test_a_start_during_a_pass_is_taken_after_it():
    """As if an inference ended before its stream did; the program is not ready meanwhile."""
    hardware = small_hardware(port_bits=64, weight_rows=20, program_words=8)
    image, placements, _ = image_of(hardware, 8, words=8, sizes=[3, 4, 2])
    bench = Bench(dut := Fetch(hardware))
    memory = AxiMemory(64, bytearray(image), Pauses((30, 30)))
    memory.serve_reads(bench, dut.port)
    bench.pulse(dut.start)
    bench.pulse(dut.start, second := 80)   # when the body is on its way
    bench.hold(dut.released, 3)
    rows = bench.sink(dut.tile, 6)
    ready = bench.record(dut.program_ready)
    program = bench.record(dut.program.en, dut.program.address)
    heads = bench.record(dut.port.ar.valid & dut.port.ar.ready, dut.port.ar.payload.addr)
    bench.run(extra=20)
    assert rows == 2 * [tile.base for tile in placements]
    assert [address for _, address in program] == 2 * list(range(8))
    assert [address for _, address in heads].count(0) == 2
    again = [cycle for cycle, address in heads if address == 0][1]
    beats = 1 + len(image) // 8 - 64
    assert sum(cycle < second for cycle, _ in memory.beats) < beats
    assert memory.beats[beats - 1][0] < again < memory.beats[beats][0]
    assert not [cycle for cycle, in ready if second < cycle <= again]
