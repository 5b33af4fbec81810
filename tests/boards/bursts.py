# SPDX-License-Identifier: Apache-2.0
"""What the tests of the DRAM controllers share: bursts that are read, and a reset within them."""

from collections.abc import Sequence
from typing import Any

from amaranth import ResetInserter, Signal

from tests.hw.harness import Bench

RESET_CYCLES = 16   # that the controllers ask for


def read(bench: Bench, dut: Any, bits: int, bursts: Sequence[tuple[int, int]],
         gaps: tuple[int, int] = (0, 0)) -> tuple[list[dict[str, int]], list[Any], list[Any]]:
    """What comes, and in which cycles it was asked for and came.

    bursts: address in bytes, and beats
    """
    bench.source(dut.axi.ar, [{"addr": address, "len": beats - 1, "burst": 1,
                               "size": 3 + bits // 128} for address, beats in bursts], gaps[0])
    got = bench.sink(dut.axi.r, sum(beats for _, beats in bursts), gaps[1] * 5)
    return (got, bench.record(dut.axi.ar.valid & dut.axi.ar.ready),
            bench.record(dut.axi.r.valid & dut.axi.r.ready))


def expected(bits: int, bursts: Sequence[tuple[int, int]], chip: Any) -> list[dict[str, int]]:
    """The beats of `read` by the contents of a chip of 16 bits."""
    words = bits // 16
    return [{"data": sum(chip.word(address // 2 + n * words + k) << 16 * k for k in range(words)),
             "resp": 0, "last": int(n == beats - 1)}
            for address, beats in bursts for n in range(beats)]


def read_after_reset(dut: Any, chip: Any, moment: int, address: int, writes: tuple[int, int, int],
                     max_cycles: int) -> list[int]:
    """64 words of 64 bits that a controller at 50 MHz reads after a reset in cycle `moment`.

    It reads a burst of them again and again, and writes to an address in the cycles between two:
    `writes`, address first.
    """
    target, first, end = writes
    reset = Signal()
    bench = Bench(ResetInserter(reset)(dut), max_cycles=max_cycles)
    chip.serve(bench, dut.pins, 20)
    seen: list[int] = []

    async def master(ctx):
        cycle = 0
        async for _, _, valid, data in ctx.tick().sample(dut.axi.r.valid, dut.axi.r.payload.data):
            cycle += 1
            ctx.set(reset, moment <= cycle < moment + RESET_CYCLES)
            ctx.set(dut.axi.r.ready, 1)
            ctx.set(dut.axi.ar.payload, {"addr": address, "len": 63, "burst": 1, "size": 3})
            ctx.set(dut.axi.ar.valid, 1)
            ctx.set(dut.writes.payload, {"address": target, "data": cycle})
            ctx.set(dut.writes.valid, first < cycle < end)
            if valid and cycle > moment + RESET_CYCLES + 4:
                seen.append(data)
            if len(seen) == 64:
                return
    bench.sim.add_testbench(master)
    bench.run()
    return seen
