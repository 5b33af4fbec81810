# SPDX-License-Identifier: Apache-2.0
"""What the unit tests of the RTL share: small hardware, stream drivers with gaps, safe stepping.

Testbenches only drive and collect.  Tests compare after the run, since an assertion inside one of
several concurrent testbenches can take pytest down with it on Python 3.11.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

import numpy as np
import pytest
from amaranth import Const, Value
from amaranth.lib import data
from amaranth.sim import Simulator

from hw.config import HardwareConfig
from hw.layout import Geometry
from sim.benches.maps import LINE, Place

# Largest random gap in front of an item on the source's side, and on the sink's.
GAPS = {"continuous": (0, 0), "idle": (3, 0), "backpressure": (0, 3), "both": (3, 3)}
every_gap = pytest.mark.parametrize("gaps", GAPS.values(), ids=GAPS.keys())
every_idle = pytest.mark.parametrize("idle", [0, 3], ids=["continuous", "idle"])


def small_hardware(lanes: int = 8, banks: int = 2, spike_word: int = 4, neurons: int = 2,
                   ports: int = 2, **changes: Any) -> HardwareConfig:
    """Hardware that simulates fast; any field of `HardwareConfig` can be changed by name."""
    hardware = HardwareConfig(
        geometry=Geometry(lanes, banks, spike_word, neurons, ports), weight_bits=4, fraction=2,
        acc_width=9, plane_width=14, current_width=14, state_width=17, param_width=13,
        shift_left=2, shift_width=4, residual_width=8, token_sum_width=14, input_width=2,
        in_channels=2, spike_lines=(256, 256), residual_words=256, token_sum_words=16,
        logit_words=16, weight_rows=256, param_rows=32, channel_beats=32, program_layers=6,
        max_timesteps=4, attention_lanes=spike_word, slow_tau=True)
    return replace(hardware, **changes)


def plain(value: Any) -> Any:
    """Sampled Amaranth values as Python ones: structs as dictionaries, arrays as lists.

    Members of enumerations become numbers.
    """
    if isinstance(value, data.Const):
        layout = value.shape()
        if isinstance(layout, data.ArrayLayout):
            return [plain(value[i]) for i in range(layout.length)]
        return {name: plain(value[name]) for name, _ in layout}
    return value.value if isinstance(value, Enum) else value


def signed(value: int, width: int) -> int:
    """Two's complement of the low `width` bits."""
    value &= (1 << width) - 1
    return value - (value >> width - 1 << width)


def by_bank(values: Sequence[int]) -> list[int]:
    """Addresses or words of a port of the spike memory, by bank."""
    return [values[bank % len(values)] for bank in range(LINE)]


class Bench:
    """A unit with its drivers and monitors.

    All methods but `run` only register work and return the (still empty) list that `run` fills.
    Cycles are counted from reset, the same for all drivers and monitors.
    """

    def __init__(self, dut: Any, seed: int = 0, max_cycles: int = 5000) -> None:
        self.dut, self.rng, self.max_cycles = dut, np.random.default_rng(seed), max_cycles
        self.sim = Simulator(dut)
        self.sim.add_clock(1e-6)

    def hold(self, signal: Any, value: Any) -> None:
        """Constant input."""
        async def drive(ctx):
            ctx.set(signal, value)
        self.sim.add_testbench(drive)

    def instruction(self, **fields: Any) -> None:
        """Constant instruction; absent fields are zero."""
        self.hold(self.dut.instruction, fields)

    def pulse(self, signal: Any, cycle: int = 2) -> None:
        """1 in one cycle."""
        async def drive(ctx):
            await ctx.tick().repeat(cycle)
            ctx.set(signal, 1)
            await ctx.tick()
            ctx.set(signal, 0)
        self.sim.add_testbench(drive)

    def feed(self, signal: Any, items: Sequence[Any], first: int = 5) -> None:
        """One value a cycle, the first one in cycle `first`, and zero ever after."""
        async def drive(ctx):
            await ctx.tick().repeat(first)
            for item in items:
                ctx.set(signal, item)
                await ctx.tick()
            ctx.set(Value.cast(signal), 0)
        self.sim.add_testbench(drive)

    def source(self, port: Any, items: Sequence[Any], gap: int = 0, period: int = 1,
               first: int = 5) -> None:
        """Send items; each one waits for up to `gap` random idle cycles.

        period: at least so many cycles from item to item; first: cycle of the first one.
        """
        gaps = self.rng.integers(0, gap + 1, len(items))
        ready = Value.cast(port.ready)

        async def drive(ctx):
            await ctx.tick().repeat(first)
            for item, idle in zip(items, gaps):
                if idle:
                    await ctx.tick().repeat(int(idle))
                ctx.set(port.payload, item)
                ctx.set(port.valid, 1)
                if isinstance(ready, Const):
                    await ctx.tick()
                else:
                    await ctx.tick().until(ready)
                ctx.set(port.valid, 0)
                # What waits here must not be mistaken for the payload of an idle cycle.
                if period > 1:
                    ctx.set(Value.cast(port.payload), -int(self.rng.integers(0, 2)))
                    await ctx.tick().repeat(period - 1)
        self.sim.add_testbench(drive)

    def sink(self, port: Any, count: int, gap: int = 0) -> list[Any]:
        """Take `count` items, not ready for up to `gap` random cycles before each."""
        got: list[Any] = []
        gaps = self.rng.integers(0, gap + 1, count)

        async def take(ctx):
            for idle in gaps:
                if idle:
                    ctx.set(port.ready, 0)
                    await ctx.tick().repeat(int(idle))
                ctx.set(port.ready, 1)
                payload, = await ctx.tick().sample(port.payload).until(port.valid)
                got.append(plain(payload))
            ctx.set(port.ready, 0)
        self.sim.add_testbench(take)
        return got

    def record(self, condition: Any, *signals: Any) -> list[tuple[Any, ...]]:
        """(cycle, value of each signal) of every cycle in which the condition holds."""
        got: list[tuple[Any, ...]] = []

        async def watch(ctx):
            cycle = 0
            async for _, _, when, *values in ctx.tick().sample(condition, *signals):
                if when:
                    got.append((cycle, *map(plain, values)))
                cycle += 1
        self.sim.add_testbench(watch, background=True)
        return got

    def spike_read(self, port: Any, contents: Mapping[Place, int],
                   other: int = -1) -> list[tuple[int, tuple[int, ...]]]:
        """Serve a read port from contents[half, bank, line], all else holds `other`.

        Returns (half, line of each bank) of every read.
        """
        reads: list[tuple[int, tuple[int, ...]]] = []
        answers = hasattr(port, "data")
        word = (1 << len(Value.cast(port.data[0]))) - 1 if answers else 0

        async def serve(ctx):
            async for _, _, en, half, addresses in ctx.tick().sample(port.en, port.half,
                                                                    port.addresses):
                if en:
                    lines = by_bank(plain(addresses))
                    reads.append((half, tuple(lines)))
                    if answers:
                        ctx.set(port.data, [contents.get((half, bank, line), other & word)
                                            for bank, line in enumerate(lines)])
        self.sim.add_testbench(serve, background=True)
        return reads

    def spike_write(self, port: Any, contents: dict[Place, int]) -> list[tuple[int, Place, int]]:
        """Keep writes in contents[half, bank, line]; returns (cycle, place, word) of each."""
        writes: list[tuple[int, Place, int]] = []

        merged = getattr(port, "merge", Const(0))

        async def keep(ctx):
            cycle = 0
            async for _, _, en, half, addresses, words, merge in ctx.tick().sample(
                    port.en, port.half, port.addresses, port.data, merged):
                if en:
                    for bank, (line, word) in enumerate(zip(by_bank(plain(addresses)),
                                                            by_bank(plain(words)))):
                        if en >> bank & 1:
                            if merge >> bank & 1:
                                word |= contents[half, bank, line]
                            contents[half, bank, line] = word
                            writes.append((cycle, (half, bank, line), word))
                cycle += 1
        self.sim.add_testbench(keep, background=True)
        return writes

    def wait(self, condition: Any) -> None:
        """The run lasts at least until the condition has held once."""
        async def until(ctx):
            await ctx.tick().until(condition)
        self.sim.add_testbench(until)

    def run(self, extra: int = 0) -> None:
        """Until every driver is done, and `extra` cycles longer.

        Raises TimeoutError after max_cycles: something waits for ever.
        """
        half_cycles = 0
        while self.sim.advance():
            half_cycles += 1
            if half_cycles > 2 * self.max_cycles:
                raise TimeoutError(f"not finished after {self.max_cycles} cycles")
        for _ in range(2 * extra):
            self.sim.advance()
