# SPDX-License-Identifier: Apache-2.0
"""Weight banks and lanes: sums of groups of rows, and how many events went into each."""

import random
from collections.abc import Mapping
from typing import Any

import cocotb
from cocotb.handle import SimHandleBase

from hw.config import HardwareConfig
from hw.dispatch import Events
from hw.lanes import LaneArray, Sums
from sim.benches.models import hardware_for
from sim.streams import Bench, pack, parameters, unpack


def configuration(setup: Mapping[str, Any]) -> HardwareConfig:
    return hardware_for(setup["lanes"], setup["banks"], ports=setup["ports"])


def weights(setup: Mapping[str, Any]) -> list[list[list[int]]]:
    """Weights by bank, row and lane; row 0 is zero, row 1 and 2 are the extremes."""
    hardware, rng = configuration(setup), random.Random(setup["lanes"])
    limit, lanes = 1 << hardware.weight_bits - 1, setup["lanes"]
    return [[[0] * lanes, [-limit] * lanes, [limit - 1] * lanes,
             *([rng.randint(-limit, limit - 1) for _ in range(lanes)]
               for _ in range(hardware.weight_rows - 3))] for _ in range(setup["banks"])]


def unit(setup: Mapping[str, Any]) -> LaneArray:
    hardware = configuration(setup)
    bits = hardware.weight_bits
    images = [[sum((weight & (1 << bits) - 1) << lane * bits for lane, weight in enumerate(row))
               for row in bank] for bank in weights(setup)]
    return LaneArray(hardware, images)


@cocotb.test()
async def sums(dut: SimHandleBase) -> None:
    setup = parameters()
    hardware, stored = configuration(setup), weights(setup)
    lanes, banks, ports, rng = setup["lanes"], setup["banks"], setup["ports"], random.Random(3)
    limit = (1 << hardware.acc_width - 1) - 1
    payloads, expected = [], []
    controls: dict[str, int] = {}
    for group in range(40):
        total, events = [0] * lanes, 0
        # A group without events is a cycle without rows; every third one has bit planes.
        for cycle in range(rng.choice([1, 1, 2, 5, 9])):
            if group % 3 == 0 and cycle:
                factor = rng.choice([1, 2, -2])
                if all(-limit <= factor * value <= limit for value in total):
                    total = [factor * value for value in total]
                    controls = {"shift": abs(factor) == 2, "negate": factor == -2}
            rows = [0] * banks * ports
            for slot in range(banks * ports):
                if group != 7 and rng.random() < 0.7:
                    row = rng.choice([1, 2, rng.randrange(3, hardware.weight_rows)])
                    after = [t + w for t, w in zip(total, stored[slot // ports][row])]
                    if all(-limit <= value <= limit for value in after):
                        rows[slot], total, events = row, after, events + 1
            count = sum(row != 0 for row in rows)
            payloads.append(pack(Events(hardware), {"rows": rows, "count": count, **controls}))
            controls = {}
        expected.append({"sums": total, "events": events})
        controls = {"close": 1}
    payloads.append(pack(Events(hardware), {"rows": [0] * banks * ports, "close": 1}))
    bench = Bench(dut)
    await bench.start({"interval": 1})
    received = bench.watch("o")
    for payload in payloads:
        await bench.cycles()
        dut.i__payload.value = payload
    await bench.cycles()
    dut.i__payload.value = 0
    await bench.cycles(12)
    # The first close ends what stood in the accumulators before, which is nothing.
    assert [unpack(Sums(hardware), bits) for bits in received] == expected
