# SPDX-License-Identifier: Apache-2.0
"""Every cycle is spent on one thing: by layer and over the inference, nothing is lost."""

import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.network import Kind
from sim.activity import Span, Spent, read_spans
from sim.benches.models import SMALL, random_inputs, random_model
from sim.run import Simulator

MODEL = random_model(SMALL)


def test_spans(tmp_path):
    path = tmp_path / "activity"
    path.write_text("10 109 40 30 20 10\n0 300 0 0 0 0\n")
    assert read_spans(path) == [Span(100, Spent(40, 30, 20, 10)), Span(0, Spent())]
    assert (Spent(1, 2, 3, 4) + Spent(idle=10)) == Spent(11, 2, 3, 4)


@pytest.mark.parametrize(("port_bits", "latency"), [(0, 40), (64, 40), (64, 2000)],
                         ids=["on chip", "streamed", "starved"])
def test_the_parts_sum_up(port_bits, latency):
    program = compile_model(
        MODEL, HardwareConfig.for_model(MODEL, lanes=8, banks=2, port_bits=port_bits))
    simulator = Simulator.build(program, cocotb=False, preload=True)
    slots = program.hardware.geometry.slots
    for inference in simulator.run(random_inputs(MODEL, 2), latency=latency):
        spent = sum((run.spent for run in inference.layers), Spent())
        for run in inference.layers:
            assert run.spent.total == run.cycles
            # As many additions per event as the layer has outputs, in tiles of as many lanes.
            tiles = -(-run.layer.out_channels // program.hardware.geometry.lanes)
            if run.layer.kind is Kind.ATTENTION:
                assert run.events == 0 < run.spent.compute
            else:
                assert run.events * run.layer.out_channels == run.acs * tiles
                assert run.events / slots <= run.spent.compute <= run.events
        # Beside the layers there are the input, the cycle after each of them, and the output.
        span = inference.span
        assert span.spent.total == span.cycles <= inference.cycles
        assert span.spent == spent + Spent(idle=span.spent.idle - spent.idle)
        assert span.cycles - spent.total > len(inference.layers)
        assert (spent.weight_wait > 0) == (latency > 1000)
