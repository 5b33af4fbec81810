# SPDX-License-Identifier: Apache-2.0
"""Whole accelerators of many shapes, every value of every layer against the golden model.

Random weights, extreme and random inputs, pauses on both streams, two inferences without a reset.
"""

from dataclasses import replace

import numpy as np
import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.model import InputFormat, ResidualFormat
from hw.network import Classifier, Kind
from quantize.golden import GoldenModel
from sim.benches.models import SMALL, random_inputs, random_model
from sim.compare import compare
from sim.run import simulate


def check(network, lanes, banks, **formats):
    model = random_model(network, **formats)
    program = compile_model(model, HardwareConfig.for_model(model, lanes=lanes, banks=banks))
    inputs = random_inputs(model, 2)
    golden = GoldenModel(model).run(inputs)
    for inference, results in zip(simulate(program, inputs, gaps=9), golden):
        comparison = compare(inference, results)
        assert comparison.equal, "\n".join(comparison.lines())
        # A dead network would prove nothing; attention may be silent in a tiny one.
        assert all(result.spikes.any() for result in results
                   if result.spikes is not None and result.layer.kind is not Kind.ATTENTION)


def test_small():
    check(SMALL, 8, 2)


@pytest.mark.slow
def test_events_tau_and_spiking_head():
    check(replace(SMALL, static_input=False, tau=1.5, classifier=Classifier.SN_AVGPOOL_FC), 32, 4)


@pytest.mark.slow
def test_sizes_that_divide_by_nothing():
    check(replace(SMALL, embed_dim=24, num_heads=3, in_channels=3, num_classes=7, image_height=7,
                  image_width=9, pool_stages=(True, True, False, True)), 16, 4, weight_bits=4)


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "lanes", "banks", "formats"), [
    ({"embed_dim": 48, "num_heads": 3, "in_channels": 3}, 16, 4, {}),
    ({"embed_dim": 24, "num_heads": 1, "in_channels": 1, "num_classes": 11}, 8, 8, {}),
    ({"embed_dim": 16, "in_channels": 1}, 12, 1, {}),
    ({"embed_dim": 64, "num_heads": 1, "num_classes": 1}, 16, 4, {}),
    ({"classifier": Classifier.SN_FC_AVGPOOL}, 8, 1, {}),
    ({"classifier": Classifier.FC_AVGPOOL, "timesteps": 1, "depth": 2}, 24, 2, {"weight_bits": 4}),
    ({"timesteps": 16, "tau": 1.5, "static_input": False}, 8, 2, {}),
    ({"image_height": 1, "image_width": 1}, 8, 2, {"weight_bits": 6}),
    ({}, 16, 2, {"input_format": InputFormat(8, False, 1.0, (0.0,) * 2, (1.0,) * 2),
                 "residual": ResidualFormat(24, 8)}),
], ids=["48x3", "head24", "lanes12", "head64", "sn-fc", "fc-avg-T1", "T16", "1x1", "wide"])
def test_many_shapes(changes, lanes, banks, formats):
    check(replace(SMALL, **changes), lanes, banks, **formats)


@pytest.mark.slow
def test_a_wrong_weight_is_found_in_its_layer():
    model = random_model(SMALL)
    tensors = dict(model.tensors)
    weight = tensors["block.0.mlp.mlp1"].weight.copy()
    weight[:8] = np.where(weight[:8] == -128, 127, -weight[:8])
    tensors["block.0.mlp.mlp1"] = replace(tensors["block.0.mlp.mlp1"], weight=weight)
    program = compile_model(replace(model, tensors=tensors),
                            HardwareConfig.for_model(model, lanes=8, banks=2))
    inputs = random_inputs(model, 1)
    comparison = compare(simulate(program, inputs)[0], GoldenModel(model).run(inputs)[0])
    assert comparison.mismatches[0].layer == "block.0.mlp.mlp1"
