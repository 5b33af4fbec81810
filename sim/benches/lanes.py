# SPDX-License-Identifier: Apache-2.0
"""Weight banks and lanes: sums of groups of rows, and how many events went into each."""

import random
from collections.abc import Mapping
from typing import Any

import cocotb
from cocotb.handle import SimHandleBase

from hw.dispatch import Events
from hw.lanes import LaneArray, Sums
from sim.benches.models import hardware_for
from sim.streams import Bench, pack, parameters, unpack


def weights(setup: Mapping[str, Any]) -> list[list[list[int]]]:
    """Weights by bank, row and lane; row 0 is zero, row 1 and 2 are the extremes."""
    hardware, rng = hardware_for(setup["lanes"], setup["banks"]), random.Random(setup["lanes"])
    limit, lanes = 1 << hardware.weight_bits - 1, setup["lanes"]
    return [[[0] * lanes, [-limit] * lanes, [limit - 1] * lanes,
             *([rng.randint(-limit, limit - 1) for _ in range(lanes)]
               for _ in range(hardware.weight_rows - 3))] for _ in range(setup["banks"])]


def unit(setup: Mapping[str, Any]) -> LaneArray:
    hardware = hardware_for(setup["lanes"], setup["banks"])
    bits = hardware.weight_bits
    images = [[sum((weight & (1 << bits) - 1) << lane * bits for lane, weight in enumerate(row))
               for row in bank] for bank in weights(setup)]
    return LaneArray(hardware, images)


@cocotb.test()
async def sums(dut: SimHandleBase) -> None:
    setup = parameters()
    hardware, stored = hardware_for(setup["lanes"], setup["banks"]), weights(setup)
    lanes, banks, rng = setup["lanes"], setup["banks"], random.Random(3)
    limit = (1 << hardware.acc_width - 1) - 1
    payloads, expected = [], []
    close = 0
    for group in range(40):
        total, events = [0] * lanes, 0
        # A group without events is a cycle without rows.
        for _ in range(rng.choice([1, 1, 2, 5, 9])):
            rows = [0] * banks
            for bank in range(banks):
                if group != 7 and rng.random() < 0.7:
                    row = rng.choice([1, 2, rng.randrange(3, hardware.weight_rows)])
                    after = [t + w for t, w in zip(total, stored[bank][row])]
                    if all(-limit <= value <= limit for value in after):
                        rows[bank], total, events = row, after, events + 1
            count = sum(row != 0 for row in rows)
            payloads.append(pack(Events(hardware), {"rows": rows, "count": count, "close": close}))
            close = 0
        expected.append({"sums": total, "events": events})
        close = 1
    payloads.append(pack(Events(hardware), {"rows": [0] * banks, "count": 0, "close": 1}))
    bench = Bench(dut)
    await bench.start()
    received = bench.watch("o")
    for payload in payloads:
        await bench.cycles()
        dut.i__payload.value = payload
    await bench.cycles()
    dut.i__payload.value = 0
    await bench.cycles(8)
    # The first close ends what stood in the accumulators before, which is nothing.
    assert [unpack(Sums(hardware), bits) for bits in received] == expected
