# SPDX-License-Identifier: Apache-2.0
"""cocotb test of `Tally` in test_units.py: the testbench's helpers at work on a known unit."""

import cocotb
from amaranth import signed
from amaranth.lib import data

from sim.streams import PAUSES, Bench, pack, parameters, unpack

LAYOUT = data.StructLayout({"value": signed(8), "tag": data.ArrayLayout(2, 2)})


@cocotb.test()
async def running_sum(dut):
    setup = parameters()
    pause_in, pause_out = PAUSES[setup["pauses"]]
    values = [-128, 127, 0, -1, *range(-20, 20)]
    bench = Bench(dut, seed=1)
    await bench.start({"offset": 3})
    received = bench.watch("o", pause_out)
    bench.drive("i", [pack(LAYOUT, {"value": v, "tag": [v & 3, 1]}) for v in values], pause_in)
    cycles = await bench.until(lambda: len(received) == len(values), 1000, "every sum out")
    await bench.cycles(20)
    expected, total = [], 0
    for value in values:
        total += value + 3
        expected.append({"value": (total + 128) % 256 - 128, "tag": [value & 3, 1]})
    assert [unpack(LAYOUT, bits) for bits in received] == expected
    if setup["pauses"] == "continuous":
        assert cycles <= len(values) + 3
