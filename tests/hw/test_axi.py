# SPDX-License-Identifier: Apache-2.0
"""Reader and Writer against a memory with latency and pauses, which is strict about AXI4."""

import numpy as np
import pytest

from hw.axi import BURST, READ_AHEAD, Reader, Writer, block_bytes
from tests.hw.axi_memory import AxiMemory, Pauses
from tests.hw.harness import Bench, every_gap

PAUSES = {"at once": Pauses((1, 1)), "late": Pauses((40, 90)), "stalls": Pauses((1, 9), 0.4),
          "late and stalls": Pauses((1, 200), 0.6)}
every_pause = pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES.keys())
every_width = pytest.mark.parametrize("bits", [64, 128])
# (first block, beats) of runs one after the other; blocks 7 and 8 lie on both sides of 4 KB.
RUNS = {"short": [(3, 1), (1, 0), (0, 5), (4, 0), (0, 0), (2, 63), (4, 64), (9, 65)],
        "long": [(5, 300), (0, 128), (7, 193)]}
every_run = pytest.mark.parametrize("runs", RUNS.values(), ids=RUNS.keys())
BLOCKS = 12


def memory_of(bits, pauses, seed=0):
    size = BLOCKS * block_bytes(bits)
    return AxiMemory(bits, bytearray(np.random.default_rng(seed).bytes(size)), pauses)


def drive(bench, dut, bits, runs):
    """Start each run once the one before it is over; returns (cycle, start, busy) of each cycle."""
    async def start(ctx):
        await ctx.tick()
        for block, beats in runs:
            ctx.set(dut.address, block * block_bytes(bits))
            ctx.set(dut.beats, beats)
            ctx.set(dut.start, 1)
            await ctx.tick()
            # Taken with `start` only.
            ctx.set(dut.start, 0)
            ctx.set(dut.address, 0xDEAD_BE00)
            ctx.set(dut.beats, 0xDEAD)
            await ctx.tick().until(~dut.busy)
    bench.sim.add_testbench(start)
    return bench.record(1, dut.start, dut.busy)


def duration(times):
    """Cycles of the only run."""
    return sum(busy for _, _, busy in times)


def bursts_of(bits, runs):
    return [(block * block_bytes(bits) + first * bits // 8, min(BURST, beats - first))
            for block, beats in runs for first in range(0, beats, BURST)]


def words(contents, bits, runs):
    size = bits // 8
    return [int.from_bytes(contents[place:place + size], "little")
            for block, beats in runs
            for place in range(block * block_bytes(bits), block * block_bytes(bits) + beats * size,
                               size)]


class TestReader:
    @every_width
    @every_pause
    @every_gap
    @every_run
    def test_beats_arrive_in_order(self, bits, pauses, gaps, runs):
        bench = Bench(dut := Reader(bits), seed=1, max_cycles=6000)
        memory = memory_of(bits, pauses)
        memory.serve_reads(bench, dut.port)
        times = drive(bench, dut, bits, runs)
        got = bench.sink(dut.o, sum(beats for _, beats in runs), gaps[1])
        bench.run(extra=10)
        assert got == words(memory.contents, bits, runs)
        assert not memory.faults
        assert [(burst.address, burst.beats) for burst in memory.read] == bursts_of(bits, runs)
        assert len(memory.beats) == len(got) and memory.refused == 0
        assert not times[-1][2]

    @every_width
    def test_a_beat_per_cycle_at_three_quarters_of_the_read_ahead(self, bits):
        """The latency is paid once, whatever it is up to there."""
        for latency in (1, 50, READ_AHEAD * 3 // 4 - 8):
            bench = Bench(dut := Reader(bits), max_cycles=3000)
            memory = memory_of(bits, Pauses((latency, latency)))
            memory.serve_reads(bench, dut.port)
            times = drive(bench, dut, bits, [(0, 11 * BURST)])
            bench.sink(dut.o, 11 * BURST)
            bench.run()
            cycles = [cycle for cycle, _ in memory.beats]
            assert cycles == list(range(cycles[0], cycles[0] + 11 * BURST))
            assert duration(times) <= 11 * BURST + latency + 5

    @every_width
    def test_what_nobody_takes_is_not_asked_for(self, bits):
        bench = Bench(dut := Reader(bits), max_cycles=4000)
        memory = memory_of(bits, Pauses((1, 5)))
        memory.serve_reads(bench, dut.port)
        runs = [(1, READ_AHEAD + 3 * BURST)]
        drive(bench, dut, bits, runs)
        levels = bench.record(1, dut.level)
        taken = []

        async def late(ctx):
            await ctx.tick().repeat(3 * READ_AHEAD)
            taken.append(len(memory.beats))
            for _ in range(runs[0][1]):   # slower than the memory
                ctx.set(dut.o.ready, 0)
                await ctx.tick().repeat(3)
                ctx.set(dut.o.ready, 1)
                value, = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
                taken.append(value)
            ctx.set(dut.o.ready, 0)
        bench.sim.add_testbench(late)
        bench.run()
        assert taken[0] == READ_AHEAD == max(level for _, level in levels)
        assert taken[1:] == words(memory.contents, bits, runs)
        assert memory.refused == 0 and not memory.faults

    def test_busy_until_the_last_beat_left(self):
        bench = Bench(dut := Reader(64))
        memory = memory_of(64, Pauses((7, 7)))
        memory.serve_reads(bench, dut.port)
        runs = [(0, 5), (1, 0), (2, 1)]
        times = drive(bench, dut, 64, runs)
        bench.sink(dut.o, 6, 6)
        left = bench.record(dut.o.valid & dut.o.ready)
        bench.run(extra=5)
        starts, ends = [], []
        for (cycle, start, busy), (_, _, after) in zip(times, times[1:]):
            if start:
                starts.append(cycle)
                assert not busy
            if busy and not after:
                ends.append(cycle)
        assert len(starts) == 3
        assert ends == [left[4][0], left[5][0]]


class TestWriter:
    @every_width
    @every_pause
    @every_gap
    @every_run
    def test_beats_arrive_in_order(self, bits, pauses, gaps, runs):
        bench = Bench(dut := Writer(bits), seed=2, max_cycles=8000)
        memory = memory_of(bits, pauses, seed=1)
        before = bytes(memory.contents)
        memory.serve_writes(bench, dut.port)
        times = drive(bench, dut, bits, runs)
        total = sum(beats for _, beats in runs)
        values = [int.from_bytes(bench.rng.bytes(bits // 8), "little") for _ in range(total)]
        bench.source(dut.i, values, gaps[0])
        bench.run(extra=10)
        expected, rest = bytearray(before), iter(values)
        for block, beats in runs:
            for beat in range(beats):
                place = block * block_bytes(bits) + beat * bits // 8
                expected[place:place + bits // 8] = next(rest).to_bytes(bits // 8, "little")
        assert memory.contents == expected
        assert not memory.faults
        assert [(burst.address, burst.beats) for burst in memory.written] == bursts_of(bits, runs)
        # Not busy means written: every burst is acknowledged.
        assert memory.answered == len(memory.written) and not times[-1][2]
        assert memory.late == 0

    @every_width
    def test_a_beat_per_cycle(self, bits):
        bench = Bench(dut := Writer(bits), max_cycles=3000)
        memory = memory_of(bits, Pauses((30, 30)))
        memory.serve_writes(bench, dut.port)
        beats = 11 * BURST
        times = drive(bench, dut, bits, [(0, beats)])
        bench.source(dut.i, range(beats), first=1)
        sent = bench.record(dut.port.w.valid & dut.port.w.ready)
        bench.run()
        cycles = [cycle for cycle, in sent]
        # The first burst is collected before it is announced; the others follow without a pause.
        assert cycles[-1] - cycles[0] <= beats + 2 * beats // BURST
        assert duration(times) <= beats + BURST + 2 * beats // BURST + 30 + 10

    def test_room_is_what_is_taken_without_waiting(self):
        bench = Bench(dut := Writer(64), max_cycles=3000)
        memory = memory_of(64, Pauses((1, 30), 0.7))
        memory.serve_writes(bench, dut.port)
        beats = 3 * READ_AHEAD - 100
        drive(bench, dut, 64, [(0, beats)])
        bench.source(dut.i, range(beats))
        seen = bench.record(1, dut.room, dut.i.ready, dut.i.valid)
        bench.run()
        rooms = [room for _, room, _, _ in seen]
        assert min(rooms) == 0 and rooms[0] == READ_AHEAD
        for place, (_, room, _, _) in enumerate(seen):
            ahead = seen[place:place + room]
            assert all(ready for _, _, ready, _ in ahead), place

    def test_beats_that_come_before_the_start_wait(self):
        bench = Bench(dut := Writer(64))
        memory = memory_of(64, Pauses())
        memory.serve_writes(bench, dut.port)
        bench.source(dut.i, range(100, 110), first=1)

        async def start(ctx):
            await ctx.tick().repeat(40)
            early = len(memory.written)
            ctx.set(dut.beats, 10)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            await ctx.tick().until(~dut.busy)
            memory.late += early
        bench.sim.add_testbench(start)
        bench.run()
        assert memory.late == 0
        assert words(memory.contents, 64, [(0, 10)]) == list(range(100, 110))
