# SPDX-License-Identifier: Apache-2.0
"""Every cycle is spent on one thing: by layer and over the inference, nothing is lost."""

from dataclasses import replace

import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.layout import Walk
from hw.model import Activity
from hw.network import Kind
from sim.activity import Span, Spent, read_spans
from sim.benches.models import SMALL, random_inputs, random_model
from sim.run import Simulator

MODEL = random_model(SMALL)
# Neighbours that share much are taken two by two, those of narrow layers beside each other.
_EVEN = random_model(replace(SMALL, image_height=4, image_width=8))
PAIRED = replace(_EVEN, activity={layer.name: Activity(0.5, 0.4)
                                  for layer in _EVEN.network.layers()})


def test_spans(tmp_path):
    path = tmp_path / "activity"
    path.write_text("10 109 40 30 20 10\n0 300 0 0 0 0\n")
    assert read_spans(path) == [Span(100, Spent(40, 30, 20, 10)), Span(0, Spent())]
    assert (Spent(1, 2, 3, 4) + Spent(idle=10)) == Spent(11, 2, 3, 4)


@pytest.mark.parametrize(("two", "port_bits", "latency"),
                         [pytest.param(False, 0, 40, marks=pytest.mark.slow),
                          pytest.param(False, 64, 40, marks=pytest.mark.slow),
                          (False, 64, 2000), pytest.param(True, 64, 40, marks=pytest.mark.slow)],
                         ids=["on chip", "streamed", "starved", "two positions"])
def test_the_parts_sum_up(two, port_bits, latency):
    model = PAIRED if two else MODEL
    program = compile_model(model, HardwareConfig.for_model(
        model, lanes=32 if two else 8, banks=2, neurons=4, port_bits=port_bits))
    walks = {plan.layer.name: plan.walk for plan in program.plan.layers}
    assert set(walks.values()) == (set(Walk) if two else {Walk.ALONE})
    simulator = Simulator.build(program, cocotb=False, preload=True)
    slots = program.hardware.geometry.slots
    for inference in simulator.run(random_inputs(model, 2), latency=latency):
        spent = sum((run.spent for run in inference.layers), Spent())
        for run in inference.layers:
            assert run.spent.total == run.cycles
            # As many additions per event as the layer has outputs, in tiles of as many lanes.
            tiles = -(-run.layer.out_channels // program.hardware.geometry.lanes)
            if run.layer.kind is Kind.ATTENTION:
                assert run.events == 0 < run.spent.compute
            else:
                walk = walks[run.layer.name]
                executed = run.events * run.layer.out_channels / tiles
                if walk is Walk.BESIDE:   # in both halves, zeros of structure among them
                    assert executed < run.acs <= 2 * executed
                elif walk is Walk.PAIRS:
                    assert executed < run.acs
                else:
                    assert executed == run.acs
                assert run.events / slots <= run.spent.compute <= run.events
        # Beside the layers there are the input, the cycle after each of them, and the output.
        span = inference.span
        assert span.spent.total == span.cycles <= inference.cycles
        assert span.spent == spent + Spent(idle=span.spent.idle - spent.idle)
        assert span.cycles - spent.total > len(inference.layers)
        if not two:
            assert (spent.weight_wait > 0) == (latency > 1000)
