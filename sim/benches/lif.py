# SPDX-License-Identifier: Apache-2.0
"""LIF against its equation, first at the edges of the threshold, then on random currents."""

import random
from collections.abc import Mapping
from typing import Any

import cocotb
from cocotb.handle import SimHandleBase

from hw.lif import LIF, FireBeat
from hw.residual import NeuronBeat
from sim.benches.models import hardware_for, instruction_bits
from sim.streams import Bench, pack, parameters, unpack

TIMESTEPS = 6


def unit(setup: Mapping[str, Any]) -> LIF:
    return LIF(hardware_for(setup["lanes"], tau=setup["tau"]))


def reference(currents: list[int], threshold: int, tau: float) -> list[int]:
    """Spikes of one neuron over time (`hw.model.LayerTensors`)."""
    spikes, v = [], 0
    for x in currents:
        h = v + x if tau == 2.0 else v + 2 * x
        spikes.append(int(h >= threshold))
        v = 0 if spikes[-1] else h >> 1 if tau == 2.0 else h // 3
    return spikes


@cocotb.test()
async def spikes(dut: SimHandleBase) -> None:
    setup = parameters()
    hardware, tau = hardware_for(setup["lanes"], tau=setup["tau"]), setup["tau"]
    geometry, rng = hardware.geometry, random.Random(setup["lanes"])
    shape, fired = NeuronBeat(hardware), FireBeat(hardware)
    limit = (1 << min(hardware.state_width, hardware.current_width, hardware.param_width) - 4) - 1
    step = 1 if tau == 2.0 else 2
    payloads, expected = [], []
    for round_number in range(30):
        columns = []
        for _ in range(geometry.beats * geometry.neurons):
            threshold = rng.randint(1, limit)
            near = [threshold // step + d for d in (-1, 0, 1)]
            edges = [*near, 0, -limit, limit]
            choose = (lambda e=edges: rng.choice(e)) if round_number < 10 else (
                lambda: rng.randint(-limit, limit))
            columns.append(([choose() for _ in range(TIMESTEPS)], threshold))
        answers = [reference(currents, threshold, tau) for currents, threshold in columns]
        for t in range(TIMESTEPS):
            for beat in range(geometry.beats):
                part = slice(beat * geometry.neurons, (beat + 1) * geometry.neurons)
                payloads.append(pack(shape, {
                    "values": [currents[t] for currents, _ in columns[part]],
                    "thresholds": [threshold for _, threshold in columns[part]],
                    "tag": {"beat": beat, "first_timestep": t == 0}}))
                expected.append(sum(answer[t] << n for n, answer in enumerate(answers[part])))
            # The same beat comes again after 3 cycles at the earliest.
            payloads += [None] * max(0, 3 - geometry.beats)
    bench = Bench(dut)
    await bench.start({"instruction": instruction_bits(hardware, slow_tau=tau == 1.5)})
    received = bench.watch("o")
    await bench.drive("i", payloads, setup["pause"])
    await bench.cycles(5)
    assert [unpack(fired, bits)["spikes"] for bits in received] == expected
