# SPDX-License-Identifier: Apache-2.0
"""Current: biases and AC counts against Python's integers."""

import numpy as np
import pytest

from hw.current import Current, ParamRow
from hw.isa import Emit
from hw.tiles import PARAM_SLOTS
from tests.hw.harness import Bench, every_idle, small_hardware

HARDWARE = small_hardware()
NEURONS, BEATS = HARDWARE.geometry.neurons, HARDWARE.geometry.beats
SLOTS = PARAM_SLOTS * BEATS   # rows of streamed parameters on chip
PARAM_BASE, PARAM_ROWS = 3, 10
LOW, HIGH = -(1 << HARDWARE.acc_width - 1), (1 << HARDWARE.acc_width - 1) - 1


def random_params(seed=0):
    """(bias, threshold, shift) of each neuron, and how many are real, of each row."""
    rng = np.random.default_rng(seed)
    limit = 1 << HARDWARE.param_width - 1
    rows = [([{"bias": int(rng.integers(-limit, limit)), "threshold": int(rng.integers(-limit,
              limit)), "shift": int(rng.integers(16))} for _ in range(NEURONS)],
             int(rng.integers(NEURONS + 1))) for _ in range(PARAM_ROWS)]
    rows[PARAM_BASE] = ([{"bias": limit - 1, "threshold": limit - 1, "shift": 15},
                         {"bias": -limit, "threshold": -limit, "shift": 0}], NEURONS)
    return rows


def image_of(rows):
    layout = ParamRow(HARDWARE)
    return [layout.const({"params": params, "real": real}).as_bits() for params, real in rows]


def beat(number, values, *, channel_beat=None, events=0, **tag):
    return {"values": list(values), "events": events,
            "tag": {"beat": number, "param": PARAM_BASE + (number if channel_beat is None
                                                           else channel_beat), **tag}}


def process(beats, rows, idle=0, clear=None, **fields):
    """Beats that come out, and the AC counter after the last one."""
    bench = Bench(dut := Current(HARDWARE, image_of(rows)))
    bench.instruction(**fields)
    bench.source(dut.i, beats, idle)
    if clear is not None:
        bench.pulse(dut.clear, clear)
    sent = bench.record(dut.i.valid)
    fields = fields | {"emit": fields.get("emit", Emit.SPIKES)}
    got = bench.record(dut.o.valid, dut.o.payload)
    acs = bench.record(1, dut.acs)
    bench.run(extra=5)
    assert [cycle for cycle, _ in got] == (
        [] if fields["emit"] is Emit.LOGITS else [cycle + Current.LATENCY for cycle, in sent])
    return [p for _, p in got], acs[-1][1]


def bias_of(rows, channel_beat, n):
    return rows[PARAM_BASE + channel_beat][0][n]["bias"]


@every_idle
@pytest.mark.parametrize("emit", [Emit.SPIKES, Emit.RESIDUAL])
def test_single_groups(emit, idle):
    rows, rng = random_params(1), np.random.default_rng(1)
    values = [[LOW, HIGH], [HIGH, LOW], [0, -1], [1, 0]]
    values += rng.integers(LOW, HIGH + 1, (8, NEURONS)).tolist()
    beats = [beat(i % BEATS, v, channel_beat=i % 7, fresh=1, emit=1, residual=i)
             for i, v in enumerate(values)]
    got, _ = process(beats, rows, idle, emit=emit)
    assert [p["values"] for p in got] == [
        [(v << HARDWARE.fraction) + bias_of(rows, i % 7, n)
         for n, v in enumerate(pair)] for i, pair in enumerate(values)]
    assert [p["params"] for p in got] == [rows[PARAM_BASE + i % 7][0] for i in range(len(values))]
    assert [p["tag"]["residual"] for p in got] == list(range(len(values)))


@every_idle
@pytest.mark.parametrize("neurons", [1, 2, 4])
def test_acs_are_events_times_real_channels(neurons, idle):
    hardware = small_hardware(neurons=neurons, spike_word=4)
    layout, rng = ParamRow(hardware), np.random.default_rng(5)
    real = [neurons, 0, *rng.integers(0, neurons + 1, 4).tolist()]
    image = [layout.const({"real": count}).as_bits() for count in [0] * PARAM_BASE + real]
    events = [0, 1, 65535, *rng.integers(0, 65536, 20).tolist()]
    bench = Bench(dut := Current(hardware, image))
    bench.source(dut.i, [
        {"events": count, "tag": {"param": PARAM_BASE + i % len(real), "emit": i % 2, "fresh": 1}}
        for i, count in enumerate(events)], idle, period=1 + idle)
    acs = bench.record(1, dut.acs)
    bench.run(extra=5)
    assert acs[-1][1] == sum(count * real[i % len(real)] for i, count in enumerate(events))


@every_idle
def test_streamed_parameters_are_written_while_others_are_used(idle):
    """As many rows as a tile has beats for each slot; a tile uses one while the others change."""
    hardware = small_hardware(port_bits=64)
    layout, rng = ParamRow(hardware), np.random.default_rng(6)
    limit = 1 << hardware.param_width - 1
    rows = [[int(rng.integers(-limit, limit)) for _ in range(NEURONS)] for _ in range(2 * SLOTS)]
    bench = Bench(dut := Current(hardware, []))
    # The rows of all slots but one are there from the start, the others follow tile by tile.
    early, period = SLOTS - BEATS, 1 + idle

    async def write(ctx):
        for number, biases in enumerate(rows):
            if number >= early:
                await ctx.tick().repeat(period)
            ctx.set(dut.params.address, number % SLOTS)
            ctx.set(dut.params.data, layout.const(
                {"params": [{"bias": bias} for bias in biases], "real": NEURONS}).as_bits())
            ctx.set(dut.params.en, 1)
            if number < early:
                await ctx.tick()
        await ctx.tick()
        ctx.set(dut.params.en, 0)
    bench.sim.add_testbench(write)
    bench.source(dut.i, [{"tag": {"param": i % SLOTS, "beat": i % BEATS, "fresh": 1,
                                  "emit": 1}} for i in range(len(rows))], period=period,
                 first=early)
    got = bench.record(dut.o.valid, dut.o.payload)
    bench.run(extra=5)
    assert [payload["values"] for _, payload in got] == rows


def test_clear_restarts_the_count():
    rows = [(params, NEURONS) for params, _ in random_params()]
    beats = [beat(0, [0, 0], events=9, fresh=1)] * 3
    assert process(beats, rows)[1] == 27 * NEURONS
    assert process(beats, rows, clear=20)[1] == 0
