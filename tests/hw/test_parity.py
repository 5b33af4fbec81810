# SPDX-License-Identifier: Apache-2.0
"""Parity of weights and residual stream: every flipped bit that is read is told, and no other."""

import numpy as np
import pytest
from amaranth.lib.memory import Memory

from hw import residual
from hw.isa import Emit
from hw.parity import CheckedLanes, WeightParity
from hw.residual import Residual
from tests.hw.harness import Bench, small_hardware
from tests.hw.test_lanes import ROWS, events_of, image_of, weights_of

FLIPPED = 5   # row


@pytest.mark.parametrize("lanes, ports", [(8, 1), (8, 2), (32, 2)])
@pytest.mark.parametrize("bank", [0, 1])
def test_a_flipped_weight_is_told_whenever_it_is_read(lanes, ports, bank):
    hardware = small_hardware(lanes=lanes, ports=ports, parity=True, weight_rows=ROWS)
    meant = image_of(weights_of(2, lanes))
    held = [list(rows) for rows in meant]
    held[bank][FLIPPED] ^= 1 << lanes * 4 - 3
    dut = CheckedLanes(hardware, held)
    dut._check = WeightParity(hardware, meant)
    rng = np.random.default_rng(lanes + bank)
    events = [events_of(rng.integers(0, ROWS, 2 * ports).tolist(), "") for _ in range(100)]
    bench = Bench(dut)
    bench.feed(dut.i.payload, events, first=5)
    errors = bench.record(dut.error)
    bench.run(extra=8)
    reads = [cycle for cycle, event in enumerate(events)
             if FLIPPED in event["rows"][bank * ports:(bank + 1) * ports]]
    assert reads
    offset = errors[0][0] - reads[0]
    assert [cycle for cycle, in errors] == [cycle + offset for cycle in reads]


def test_whole_weights_tell_nothing():
    hardware = small_hardware(parity=True, weight_rows=ROWS)
    image = image_of(weights_of(2, 8))
    bench = Bench(dut := CheckedLanes(hardware, image))
    bench.feed(dut.i.payload, [events_of([row, 0, 0, row], "") for row in range(ROWS)], first=5)
    errors = bench.record(dut.error)
    bench.run(extra=8)
    assert errors == []


@pytest.mark.parametrize("flip", [False, True])
def test_streamed_weights(flip):
    """Rows are checked as they were written, not those that are shown while a port writes."""
    hardware = small_hardware(parity=True, weight_rows=ROWS, port_bits=64, param_rows=0,
                              program_words=64)
    dut = WeightParity(hardware, [])
    slots, bits = hardware.geometry.slots, 32
    rng = np.random.default_rng(2)
    memory = {(bank, row): 0 for bank in range(2) for row in range(ROWS)}
    bench = Bench(dut)
    bench.hold(dut.clearing, 0)

    async def drive(ctx):
        shown = [0] * slots
        for cycle in range(300):
            bank, row = int(rng.integers(2)), int(rng.integers(1, ROWS))
            value, writes = int(rng.integers(1 << bits)), cycle < 200 and bool(rng.integers(2))
            rows = [int(each) for each in rng.integers(0, ROWS, slots)]
            ctx.set(dut.weights, [value_of(shown, slot, cycle) for slot in range(slots)])
            ctx.set(dut.rows, rows)
            for name, each in (("en", writes), ("select", bank), ("address", row), ("data", value)):
                ctx.set(getattr(dut.load, name), each)
            shown = [memory[slot // 2, rows[slot]] for slot in range(slots)]
            wrote = writes << bank
            if writes:   # the second port of that bank shows the row that it writes
                shown[2 * bank + 1] = int(rng.integers(1 << bits))
                memory[bank, row] = value
            await ctx.tick()
            ctx.set(dut.wrote, wrote)

    def value_of(shown, slot, cycle):
        return shown[slot] ^ (flip and cycle == 250 and slot == 2) << 7
    bench.sim.add_testbench(drive)
    errors = bench.record(dut.error)
    bench.run()
    assert [cycle for cycle, in errors] == [252] * flip


@pytest.mark.parametrize("bit", [0, 15, 16], ids=["first", "last", "parity"])
def test_a_flipped_residual_word_is_told_when_it_is_added_to(monkeypatch, bit):
    memories = []

    class Recorded(Memory):
        def __init__(self, **options):
            super().__init__(**options)
            memories.append(self)
    monkeypatch.setattr(residual, "Memory", Recorded)
    hardware = small_hardware(parity=True)
    bench = Bench(dut := Residual(hardware))
    rng = np.random.default_rng(bit)
    found = []

    async def drive(ctx):
        for turn, add in enumerate((0, 1, 1, 0)):
            ctx.set(dut.instruction, {"emit": Emit.RESIDUAL, "add_residual": add})
            if turn == 2:
                word = memories[0].data[FLIPPED]
                ctx.set(word, ctx.get(word) ^ 1 << bit)
            seen = []
            for address in [*range(10), 0, 0, 0]:
                ctx.set(dut.address, address)
                await ctx.tick()
                ctx.set(dut.i.payload, {
                    "values": [int(each) for each in rng.integers(-9, 9, 2)],
                    "params": [{"shift": 2}] * 2, "tag": {"residual": address}})
                ctx.set(dut.i.valid, len(seen) < 10)
                seen.append(ctx.get(dut.error))
            found.append(sum(seen))
    bench.sim.add_testbench(drive)
    bench.run()
    assert found == [0, 0, 1, 0]
