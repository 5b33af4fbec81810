# SPDX-License-Identifier: Apache-2.0
"""A simulation and what is said of it, on a small network."""

import json
from dataclasses import replace

import numpy as np
import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from quantize.golden import GoldenModel
from sim import simulation
from sim.benches.models import SMALL, random_inputs, random_model
from sim.load import Inputs

MODEL = random_model(SMALL)
PROGRAM = compile_model(MODEL, HardwareConfig.for_model(MODEL, 8, 2))
INPUTS = random_inputs(MODEL, 2)


@pytest.fixture(scope="module")
def done():
    right = int(GoldenModel(MODEL).logits(INPUTS[1:2]).argmax())
    return simulation.simulate(PROGRAM, Inputs(INPUTS, (None, right)), gaps=3)


def test_every_value_is_compared(done):
    assert done.comparison.equal and done.comparison.values > 1000
    assert done.predicted.tolist() == GoldenModel(MODEL).logits(INPUTS).argmax(1).tolist()
    assert [row.layer for row in done.rows][-1] == "total"
    assert done.rows[-1].cycles == pytest.approx(np.mean(
        [sum(layer.cycles for layer in each.layers) for each in done.inferences]))


def test_lines_and_figures(done):
    lines = done.lines()
    assert len(lines) == 2 and "true label" not in lines[0]
    assert f"predicted {done.predicted[1]}, true label {done.predicted[1]}; " in lines[1]
    figures = done.to_dict()
    assert (figures["mismatches"], figures["values"]) == (0, done.comparison.values)
    assert figures["images"][0]["label"] is None and figures["faults"] == []
    again = replace(done, inputs=Inputs(INPUTS, (done.predicted[0], -1)))
    assert again.lines()[-1] == "1 of 2 labels predicted"


def test_a_difference_is_found(done, monkeypatch):
    golden_run = GoldenModel.run

    def run(self, inputs):
        results = golden_run(self, inputs)
        results[1][-1] = replace(results[1][-1], logits=results[1][-1].logits + 1)
        return results

    monkeypatch.setattr(GoldenModel, "run", run)
    wrong = simulation.simulate(PROGRAM, Inputs(INPUTS, (None, None)))
    assert not wrong.comparison.equal
    figures = json.loads(json.dumps(wrong.comparison.to_dict()))
    assert figures["mismatches"] == SMALL.num_classes
    assert figures["first_mismatches"][0].startswith("head: logit of class 0 must be ")
