# SPDX-License-Identifier: Apache-2.0
"""Dispatch: every spike becomes one event of its bank, groups never mix, nothing is lost."""

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import cocotb
from cocotb.handle import SimHandleBase
from cocotb.triggers import ReadOnly

from hw.config import HardwareConfig
from hw.dispatch import Dispatch, Events
from hw.gather import EventLine
from sim.benches.maps import LINE
from sim.benches.models import hardware_for, instruction_bits
from sim.streams import Bench, pack, parameters, unpack

INTERVAL = 5


def configuration(setup: Mapping[str, Any]) -> HardwareConfig:
    return hardware_for(setup["lanes"], setup["banks"], ports=setup["ports"])


def unit(setup: Mapping[str, Any]) -> Dispatch:
    return Dispatch(configuration(setup))


@cocotb.test()
async def events(dut: SimHandleBase) -> None:
    setup = parameters()
    hardware = configuration(setup)
    word_bits, banks, ports = hardware.geometry.spike_word, setup["banks"], setup["ports"]
    slices = word_bits // banks
    stride = 2 * slices
    rng = random.Random(setup["lanes"] + banks)
    lines, expected = [], []
    for group in range(60):
        wanted: Counter[tuple[int, int]] = Counter()
        density = rng.choice([0.0, 0.02, 0.2, 1.0])
        count = 1 if group % 7 == 0 else rng.randint(1, 6)
        for index in range(count):
            words = [sum((rng.random() < density) << c for c in range(word_bits))
                     for _ in range(LINE)]
            first = rng.randrange(LINE)
            row = rng.randrange(1, hardware.weight_rows - LINE * stride)
            # Channel c is in bank c % banks, its weight row is c // banks further on.
            wanted.update((c % banks, row + (n - first) % LINE * stride + c // banks)
                          for n, word in enumerate(words) for c in range(word_bits)
                          if word >> c & 1)
            lines.append(pack(EventLine(hardware), {"words": words, "row": row, "first": first,
                                                    "last": index == count - 1}))
        expected.append(wanted)
    bench = Bench(dut)
    await bench.start({"instruction": instruction_bits(
        hardware, planes=1, interval=INTERVAL, last_interval=INTERVAL, word_stride=stride)})
    bench.drive("i", lines, setup["pause"])
    got: list[Counter[tuple[int, int]]] = [Counter()]
    closes: list[int] = []
    for cycle in range(20000):
        await bench.cycles()
        await ReadOnly()
        beat = unpack(Events(hardware), int(dut.o__payload.value))
        assert not beat["shift"]
        if beat["close"]:
            closes.append(cycle)
            got.append(Counter())
        rows = [(slot // ports, row) for slot, row in enumerate(beat["rows"]) if row]
        assert beat["count"] == len(rows), f"count in cycle {cycle}"
        got[-1].update(rows)
        if len(closes) == len(expected) and cycle > closes[-1] + 20:
            break
    assert got == [*expected, Counter()]
    # One finished group may wait, so that two follow each other at once.
    assert min(b - a for a, b in zip(closes, closes[2:], strict=False)) >= INTERVAL
    if not setup["pause"]:
        # No slower than the busiest bank, the lines and the interval of each group together.
        work = sum(max(Counter(bank for bank, _ in group.elements()).values(), default=0) // ports
                   + INTERVAL for group in expected)
        assert closes[-1] <= work + 2 * len(lines)
