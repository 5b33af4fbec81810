# SPDX-License-Identifier: Apache-2.0
"""Tensors that random data never brings, each on hardware with and without shared additions.

Each case first shows by the golden model that it is what its name says.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.generate import accelerator_verilog
from hw.model import ResidualFormat
from hw.network import Kind, Output
from quantize.golden import GoldenModel, lif
from sim.benches.models import EVEN, measured_model, random_inputs
from sim.compare import compare
from sim.run import Simulator

NETWORK = replace(EVEN, timesteps=4, image_height=4, image_width=4, mlp_ratio=1.0)
RESIDUAL = ResidualFormat(12, 4)
HARDWARE = {"alone": {"lanes": 8, "banks": 2, "pairs": False, "beside": False},
            "shared": {"lanes": 8, "banks": 3, "pairs": True, "beside": True}}


def with_tensors(model, change):
    """`change(layer, tensors, weight, bias, threshold)` writes into copies of the tensors."""
    tensors = {}
    for layer in model.network.layers():
        if layer.has_weights:
            old = model.tensors[layer.name]
            weight, bias = old.weight.copy(), old.bias.copy()
            threshold = None if old.threshold is None else old.threshold.copy()
            change(layer, old, weight, bias, threshold)
            tensors[layer.name] = replace(old, weight=weight, bias=bias, threshold=threshold)
    return replace(model, tensors=tensors)


def base(**changes):
    return replace(measured_model(replace(NETWORK, **changes), 0.5, 0.3), residual=RESIDUAL)


def spikes_of(results):
    """Of all layers but attention, whose spikes follow from the others."""
    return {each.name: each.spikes for each in results
            if each.spikes is not None and each.layer.kind is not Kind.ATTENTION}


def far_above(layer, old, weight, bias, threshold):
    if threshold is not None:
        bias[:] = 1 << 15 - (old.shift is not None) * 2
        threshold[:] = 1


def far_below(layer, old, weight, bias, threshold):
    if threshold is not None:
        bias[:] = -(1 << 15)


# A threshold that two currents of 5 reach and one does not.
TWICE = {2.0: 7, 1.5: 13}


def alternating(layer, old, weight, bias, threshold, tau=2.0):
    if layer.output is Output.SPIKES:
        weight[:], bias[:], threshold[:] = 0, 5, TWICE[tau]


def one_channel(layer, old, weight, bias, threshold):
    """Channel 0 fires wherever channel 0 did, no other ever."""
    weight[:] = 0
    if threshold is not None:
        weight[0, 0], bias[:], threshold[:] = 100, -1, 60 << old.bias_shift
        if old.shift is not None:
            threshold[:] = 1
            bias[1:] = -(1 << 14)


def most_negative(layer, old, weight, bias, threshold):
    weight[:] = -128


def one_bank(layer, old, weight, bias, threshold):
    """Only channels of one bank fire, always: its queue is full, all others are empty."""
    if threshold is not None:
        bias[:], threshold[:] = -(1 << 15), 1
        bias[::6] = 1 << 13


def residual_to_the_ends(layer, old, weight, bias, threshold):
    """Even channels grow beyond the largest value, odd ones below the smallest."""
    if layer.output is Output.RESIDUAL:
        bias[::2], bias[1::2] = 1 << 20, -(1 << 20)


CASES = {"all spikes": far_above, "no spikes": far_below, "alternating": alternating,
         "one-hot": one_channel, "most negative weights": most_negative, "one bank": one_bank,
         "residual at its ends": residual_to_the_ends}


class Exactly(GoldenModel):
    """Puts each threshold where the first current of a channel is: there, or one above it."""

    def _fire(self, layer, x):
        first = x[0, 0, :, 0, 0].numpy() * (1 if self.model.network.tau == 2 else 2)
        threshold = self.model.tensors[layer.name].threshold
        threshold[:] = np.maximum(first, 1)
        threshold[1::2] = np.maximum(first[1::2] + 1, 1)
        spikes = super()._fire(layer, x)
        positive = first >= 1
        fired = spikes[0, 0, :, 0, 0].numpy()
        assert fired[::2][positive[::2]].all() and not fired[1::2].any()
        self.exact = getattr(self, "exact", 0) + int(positive.sum())
        return spikes


def at_the_threshold(tau):
    model = with_tensors(base(tau=tau), lambda *_: None)
    golden = Exactly(model)
    for _ in golden.steps(random_inputs(model, 1)):
        pass
    assert golden.exact > 50
    return model


def models():
    made = {name: with_tensors(base(), change) for name, change in CASES.items()}
    made["at the threshold"] = at_the_threshold(2.0)
    made["at the threshold, tau 1.5"] = at_the_threshold(1.5)
    made["alternating, tau 1.5"] = with_tensors(base(tau=1.5),
                                                    partial(alternating, tau=1.5))
    return made


MODELS = models()


@pytest.fixture(scope="module")
def simulators():
    """One for each hardware, large enough for all cases."""
    made = {}
    for name, options in HARDWARE.items():
        hardware = HardwareConfig.for_models(list(MODELS.values()), port_bits=64, **options)
        programs = {case: compile_model(model, hardware) for case, model in MODELS.items()}
        first = next(iter(programs.values()))
        made[name] = (programs, Simulator.build(
            first, cocotb=False, verilog=accelerator_verilog(first, trace=True)))
    return made


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("case", MODELS)
def test_every_value(simulators, case, hardware):
    programs, simulator = simulators[hardware]
    model = MODELS[case]
    inputs = random_inputs(model, 2)
    inputs[1] = 0
    inputs[1].flat[3] = model.input.maximum
    golden = GoldenModel(model).run(inputs)
    for run in ({}, {"gaps": 5, "stalls": 7, "latency": 3}):
        for inference, results in zip(simulator.of(programs[case]).run(inputs, **run), golden):
            comparison = compare(inference, results)
            assert comparison.equal, "\n".join(comparison.lines())


def golden(case):
    return GoldenModel(MODELS[case]).run(random_inputs(MODELS[case], 1))[0]


def test_the_cases_are_what_their_names_say():
    assert all(spikes.all() for spikes in spikes_of(golden("all spikes")).values())
    assert not any(spikes.any() for spikes in spikes_of(golden("no spikes")).values())
    for case in ("alternating", "alternating, tau 1.5"):
        for each in golden(case):
            if each.layer.output is Output.SPIKES and each.layer.kind is not Kind.ATTENTION:
                assert not each.spikes[::2].any() and each.spikes[1::2].all()
    for name, spikes in spikes_of(golden("one-hot")).items():
        assert not spikes[:, 1:].any(), name
    assert spikes_of(golden("one-hot"))["patch_embed.block0"].any()
    for spikes in spikes_of(golden("one bank")).values():
        assert spikes[:, ::6].all() and not np.delete(spikes, np.s_[::6], 1).any()
    stream = [each.residual for each in golden("residual at its ends")
              if each.residual is not None]
    for values in stream:
        assert (values[:, ::2] == RESIDUAL.maximum).all()
        assert (values[:, 1::2] == -RESIDUAL.maximum - 1).all()
    assert sum(each.saturations for each in golden("residual at its ends")) > 0
    for tensors in MODELS["most negative weights"].tensors.values():
        assert (tensors.weight == -128).all()


def test_lif_fires_at_the_threshold_and_not_one_below():
    for tau, limit in TWICE.items():
        x = torch.full((2, 1), 5)
        reached = lif(x, torch.tensor(limit), tau)[:, 0].tolist()
        assert reached == [False, True]
        assert not lif(x, torch.tensor(limit + 1), tau).any()
