# SPDX-License-Identifier: Apache-2.0
"""Residual adder: rounding, saturation and its count, against the equations of the model."""

import random
from collections.abc import Mapping
from typing import Any

import cocotb
from amaranth import Module
from amaranth.lib import wiring
from cocotb.handle import SimHandleBase

from hw.config import HardwareConfig
from hw.current import CurrentBeat
from hw.isa import Emit
from hw.residual import NeuronBeat, Residual
from sim.benches.models import hardware_for, instruction_bits
from sim.streams import Bench, pack, parameters, unpack


class Early(wiring.Component):
    """Residual behind a register, so that it has a beat's address one cycle before the beat."""

    def __init__(self, hardware: HardwareConfig) -> None:
        self._residual = Residual(hardware)
        ports = dict(self._residual.signature.members)
        del ports["address"]
        super().__init__(ports)

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.residual = residual = self._residual
        m.d.sync += [residual.i.payload.eq(self.i.payload), residual.i.valid.eq(self.i.valid)]
        m.d.comb += [residual.address.eq(self.i.payload.tag.residual),
                     residual.instruction.eq(self.instruction), residual.clear.eq(self.clear),
                     self.o.payload.eq(residual.o.payload), self.o.valid.eq(residual.o.valid),
                     self.saturations.eq(residual.saturations)]
        return m


def unit(setup: Mapping[str, Any]) -> Early:
    return Early(hardware_for(setup["lanes"]))


def requantize(y: int, shift: int) -> int:
    """r of `hw.model.LayerTensors`."""
    return y << -shift if shift <= 0 else (y + (1 << shift - 1)) >> shift


@cocotb.test()
async def stream(dut: SimHandleBase) -> None:
    setup = parameters()
    hardware, rng = hardware_for(setup["lanes"]), random.Random(1)
    neurons, maximum = hardware.geometry.neurons, (1 << hardware.residual_width - 1) - 1
    shape, beats = CurrentBeat(hardware), min(20, hardware.residual_words)
    limit = (1 << hardware.current_width - 1) - 1
    bench = Bench(dut)
    await bench.start()
    received = bench.watch("o")
    kept = [[0] * neurons for _ in range(beats)]
    expected, saturations = [], 0
    for adds in (0, 1, 1, 1):
        dut.instruction.value = instruction_bits(hardware, emit=Emit.RESIDUAL, add_residual=adds)
        payloads = []
        for beat in range(beats):
            values, params = [], []
            for n in range(neurons):
                shift = rng.randint(0, (1 << hardware.shift_width) - 1)
                # Halves, where rounding decides, then sums that saturate, then anything.
                unit_half = 1 << max(0, shift - hardware.shift_left - 1)
                y = rng.choice([unit_half, -unit_half, unit_half - 1, 3 * unit_half, limit, -limit,
                                rng.randint(-limit, limit), rng.randint(-200, 200)])
                y = max(-limit, min(limit, y))
                values.append(y)
                params.append({"bias": 0, "threshold": n, "shift": shift})
                total = (kept[beat][n] if adds else 0) + requantize(y, shift - hardware.shift_left)
                kept[beat][n] = max(-maximum - 1, min(maximum, total))
                saturations += kept[beat][n] != total
            expected.append(list(kept[beat]))
            payloads.append(pack(shape, {"values": values, "params": params,
                                         "tag": {"residual": beat, "emit": 1}}))
        await bench.drive("i", payloads, setup["pause"])
        await bench.cycles(6)
    results = [unpack(NeuronBeat(hardware), bits) for bits in received]
    assert [result["values"] for result in results] == expected
    assert all(result["thresholds"] == list(range(neurons)) for result in results)
    assert int(dut.saturations.value) == saturations > 0


@cocotb.test()
async def other_layers_pass(dut: SimHandleBase) -> None:
    """Currents of layers that feed a LIF go through unchanged and touch no memory."""
    hardware, rng = hardware_for(parameters()["lanes"]), random.Random(2)
    neurons, limit = hardware.geometry.neurons, (1 << hardware.current_width - 1) - 1
    bench = Bench(dut)
    await bench.start({"instruction": instruction_bits(hardware, emit=Emit.SPIKES)})
    received = bench.watch("o")
    expected = [[rng.randint(-limit - 1, limit) for _ in range(neurons)] for _ in range(20)]
    params = [{"bias": 0, "threshold": 0, "shift": 1}] * neurons
    await bench.drive("i", [pack(CurrentBeat(hardware), {
        "values": values, "params": params, "tag": {"emit": 1}}) for values in expected])
    await bench.cycles(5)
    assert [unpack(NeuronBeat(hardware), bits)["values"] for bits in received] == expected
