# SPDX-License-Identifier: Apache-2.0
"""Logits: bit planes and biases of the classifier against Python's integers."""

import numpy as np
import pytest

from hw.current import ParamRow
from hw.logits import Logits
from tests.hw.harness import Bench, every_idle, small_hardware

HARDWARE = small_hardware()
BEATS = HARDWARE.geometry.beats
LOW, HIGH = -(1 << HARDWARE.acc_width - 1), (1 << HARDWARE.acc_width - 1) - 1
PARAM_WIDTH = HARDWARE.param_width


def biases_of(channels, seed=0):
    limit = 1 << 2 * PARAM_WIDTH - 2
    biases = np.random.default_rng(seed).integers(-limit, limit, channels)
    biases[:2] = -limit, limit - 1
    return biases


def row_of(hardware, biases):
    """Parameters of a beat, whose biases take two fields each."""
    low = (1 << PARAM_WIDTH) - 1
    params = [{"bias": int(b) & low, "threshold": int(b) >> PARAM_WIDTH} for b in biases]
    params = [{name: value - (value >> PARAM_WIDTH - 1 << PARAM_WIDTH if value >= 0 else 0)
               for name, value in param.items()} for param in params]
    return ParamRow(hardware).const({"params": params})


def process(hardware, groups, biases, signed=False, accumulate=False, idle=0):
    """(channel, value) of what comes out of sums [groups, channels], and their cycles."""
    neurons = hardware.geometry.neurons
    rng = np.random.default_rng(7)
    bench = Bench(dut := Logits(hardware))
    bench.instruction(accumulate=accumulate)

    async def drive(ctx):
        await ctx.tick().repeat(3)
        for number, sums in enumerate(groups):
            for beat in range(len(sums) // neurons):
                part = slice(beat * neurons, (beat + 1) * neurons)
                ctx.set(dut.i.payload, {
                    "values": sums[part].tolist(),
                    "tag": {"beat": beat, "channel_beat": beat, "fresh": number == 0,
                            "subtract": signed and number == 0,
                            "emit": number == len(groups) - 1}})
                ctx.set(dut.i.valid, 1)
                for cycle in range(neurons + int(rng.integers(idle + 1))):
                    await ctx.tick()
                    ctx.set(dut.i.valid, 0)
                    if cycle == 0:
                        ctx.set(dut.row, row_of(hardware, biases[part]))
            if len(sums) < 4:   # groups keep a distance
                await ctx.tick().repeat(4 - len(sums))
    bench.sim.add_testbench(drive)
    sent = bench.record(dut.i.valid & dut.i.payload.tag.emit)
    got = bench.record(dut.o.valid, dut.o.payload)
    bench.run(extra=6)
    firsts = [cycle for cycle, _ in got][::neurons]
    assert firsts == [cycle + Logits.LATENCY for cycle, in sent]
    return [(p["channel"], p["value"]) for _, p in got]


@every_idle
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
@pytest.mark.parametrize("planes", [1, 2, 4])
@pytest.mark.parametrize(("neurons", "beats"), [(2, 1), (2, BEATS), (4, 2), (1, 3)])
def test_bit_planes(neurons, beats, planes, signed, idle):
    """sum = 2 * sum + plane, the first plane subtracting."""
    hardware = small_hardware(neurons=neurons)
    channels = neurons * beats
    sums = np.random.default_rng(2).integers(LOW // 2, HIGH // 2, (planes, channels))
    sums[:, 0] = LOW
    biases = biases_of(max(2, channels))
    total = np.zeros(channels, int)
    for plane, values in enumerate(sums):
        total = 2 * total + (-values if signed and plane == 0 else values)
    got = process(hardware, sums, biases, signed, idle=idle)
    assert got == [(c, (int(total[c]) << HARDWARE.fraction) + int(biases[c]))
                   for c in range(channels)]


@every_idle
def test_accumulate_adds_up_the_whole_layer(idle):
    channels = BEATS * HARDWARE.geometry.neurons
    sums = np.random.default_rng(3).integers(LOW, HIGH + 1, (12, channels))
    biases = biases_of(channels, 1)
    got = process(HARDWARE, sums, biases, accumulate=True, idle=idle)
    assert got == [(c, (int(total) << HARDWARE.fraction) + int(biases[c]))
                   for c, total in enumerate(sums.sum(0))]
