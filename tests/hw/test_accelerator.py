# SPDX-License-Identifier: Apache-2.0
"""The whole accelerator: every value of every layer against the numpy reference."""

from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest

from hw.compiler import Program, compile_model
from hw.config import HardwareConfig
from hw.model import Activity, FixedPointModel, InputFormat
from hw.network import Classifier, Kind, NetworkConfig
from tests.hw import reference
from tests.hw.axi_memory import Pauses
from tests.hw.harness import GAPS
from tests.hw.whole import infer

LAST_POOL = (False, False, False, True)
NO_POOL, EVERY_POOL = (False,) * 4, (True,) * 4


@dataclass(frozen=True)
class Case:
    """A network, the hardware for it, and which rare thing must happen on the way."""

    network: NetworkConfig
    hardware: dict = field(default_factory=dict)
    model: dict = field(default_factory=dict)
    gaps: str = "continuous"
    scale_up: str = ""      # this layer has far larger weights than all others
    saturates: bool = False
    few_tokens: bool = False    # too few for attention sums of 8
    pauses: Pauses | None = None
    rows: set = field(default_factory=set)   # that windowed maps have on chip
    pairs: int = 0          # so many layers share additions between neighbouring positions
    beside: int = 0         # so many take them at once


CASES = {
    "static": Case(NetworkConfig(16, 1, 2, 2, 1, 6, 6, 10, pool_stages=LAST_POOL),
                   {"lanes": 16, "banks": 4}, gaps="both"),
    "events-tau1.5": Case(
        NetworkConfig(16, 2, 2, 3, 2, 5, 5, 3, tau=1.5, pool_stages=(True, False, False, True),
                      static_input=False), {"lanes": 8, "banks": 2},
        {"input_format": InputFormat(3, False, 1.0, (0.0,) * 2, (1.0,) * 2)}, "both"),
    "odd-24-signed-saturating": Case(
        NetworkConfig(24, 1, 3, 2, 3, 5, 5, 5, pool_stages=(False, False, True, True),
                      mlp_ratio=2.0), {"lanes": 32, "banks": 4, "attention_engines": 8},
        {"input_format": InputFormat(6, True, 1 / 16, (0.0,) * 3, (1.0,) * 3),
         "residual_width": 8, "branch_density": 0.75}, "idle", saturates=True),
    "heads-of-6-padded-to-8": Case(
        NetworkConfig(24, 1, 4, 1, 1, 4, 4, 33, pool_stages=LAST_POOL),
        {"lanes": 16, "banks": 8, "neurons": 8, "attention_engines": 4},
        {"branch_density": 0.75}, "backpressure"),
    "spiking-head": Case(
        NetworkConfig(16, 1, 1, 4, 1, 4, 4, 20, pool_stages=LAST_POOL,
                      classifier=Classifier.SN_AVGPOOL_FC),
        {"lanes": 16, "banks": 1, "neurons": 2}, beside=1),
    "head-larger-than-a-word": Case(
        NetworkConfig(16, 1, 1, 2, 1, 3, 3, 4, pool_stages=NO_POOL, mlp_ratio=2.0),
        {"lanes": 8, "banks": 8}, {"branch_density": 0.4}),
    "all-pools-4bit": Case(
        NetworkConfig(16, 1, 2, 1, 1, 9, 8, 4, pool_stages=EVERY_POOL),
        {"lanes": 24, "banks": 4, "neurons": 8}, {"bits": 4}, few_tokens=True),
    "16-banks-6bit": Case(
        NetworkConfig(40, 1, 5, 2, 1, 3, 4, 4, pool_stages=LAST_POOL, mlp_ratio=2.0),
        {"lanes": 32, "banks": 16, "attention_engines": 2}, {"bits": 6, "branch_density": 0.75},
        beside=1),
    "fc-avgpool-one-token": Case(
        NetworkConfig(8, 1, 1, 2, 1, 2, 3, 2, pool_stages=EVERY_POOL, mlp_ratio=1.0,
                      classifier=Classifier.FC_AVGPOOL), {"lanes": 4, "banks": 2, "neurons": 2},
        {"input_format": InputFormat(4, False, 1 / 16, (0.0,), (1.0,))}, few_tokens=True),
    "spiking-head-tau1.5": Case(
        NetworkConfig(8, 1, 2, 2, 1, 3, 3, 3, tau=1.5, pool_stages=NO_POOL, mlp_ratio=1.0,
                      classifier=Classifier.SN_FC_AVGPOOL), {"lanes": 8, "banks": 2}),
    "widest-sums-in-the-head": Case(
        NetworkConfig(8, 1, 1, 1, 1, 3, 3, 4, pool_stages=NO_POOL, mlp_ratio=1.0),
        {"lanes": 8, "banks": 2}, scale_up="head"),
    "widest-sums-in-the-encoder": Case(
        NetworkConfig(8, 1, 1, 1, 2, 3, 3, 4, pool_stages=NO_POOL, mlp_ratio=1.0),
        {"lanes": 8, "banks": 2},
        {"input_format": InputFormat(4, True, 1.0, (0.0,) * 2, (1.0,) * 2)},
        scale_up="patch_embed.block0"),
    "windowed": Case(
        NetworkConfig(16, 1, 2, 1, 1, 11, 6, 3, pool_stages=(True, False, True, True),
                      mlp_ratio=1.0),
        {"lanes": 8, "banks": 2, "port_bits": 64, "spike_lines": (18, 5)}, gaps="both",
        pauses=Pauses((5, 60), 0.3), rows={9, 5}, few_tokens=True),
    "windowed-and-spilled-events": Case(
        NetworkConfig(8, 1, 2, 2, 1, 7, 3, 3, tau=1.5, static_input=False, mlp_ratio=1.0,
                      pool_stages=(False, True, True, True), classifier=Classifier.SN_AVGPOOL_FC),
        {"lanes": 8, "banks": 2, "port_bits": 128, "spill_residual": True,
         "spike_lines": (10, 8)}, gaps="idle", pauses=Pauses((20, 40)), rows={5, 4},
        few_tokens=True),
    "pairs-3-banks": Case(
        NetworkConfig(16, 1, 2, 3, 2, 8, 8, 10, pool_stages=LAST_POOL),
        {"lanes": 16, "banks": 3}, gaps="both", pairs=8),
    "pairs-wide-maps": Case(
        NetworkConfig(24, 1, 2, 2, 1, 6, 12, 5, pool_stages=(False, True, False, False),
                      mlp_ratio=2.0), {"lanes": 8, "banks": 2, "neurons": 2},
        {"branch_density": 0.75}, pairs=9),
    "pairs-events-tau1.5": Case(
        NetworkConfig(16, 2, 2, 3, 2, 6, 8, 3, tau=1.5, pool_stages=(True, False, True, False),
                      static_input=False, mlp_ratio=2.0), {"lanes": 16, "banks": 5},
        {"input_format": InputFormat(3, False, 1.0, (0.0,) * 2, (1.0,) * 2)}, pairs=13),
    "pairs-one-timestep-odd-rows": Case(
        NetworkConfig(16, 1, 2, 1, 1, 7, 4, 4, pool_stages=(False, True, False, False)),
        {"lanes": 8, "banks": 1}, few_tokens=True, pairs=9),
    "pairs-windowed-and-spilled": Case(
        NetworkConfig(16, 1, 2, 2, 1, 12, 8, 3, pool_stages=(False, True, True, False),
                      mlp_ratio=1.0),
        {"lanes": 8, "banks": 2, "port_bits": 64, "spill_residual": True,
         "spike_lines": (36, 30)}, gaps="both", pauses=Pauses((5, 60), 0.3), rows={7}, pairs=6),
    "beside-pooled": Case(
        NetworkConfig(16, 1, 2, 2, 2, 8, 8, 5, pool_stages=(False, True, True, False),
                      mlp_ratio=1.0),
        {"lanes": 16, "banks": 3, "neurons": 4},
        {"input_format": InputFormat(4, True, 1.0, (0.0,) * 2, (1.0,) * 2)}, gaps="both",
        few_tokens=True, beside=3),
    "beside-events-streamed": Case(
        NetworkConfig(16, 1, 2, 2, 1, 4, 6, 3, tau=1.5, static_input=False, mlp_ratio=1.0,
                      pool_stages=NO_POOL),
        {"lanes": 32, "banks": 2, "spike_word": 8, "neurons": 2, "port_bits": 64},
        {"input_format": InputFormat(2, False, 1.0, (0.0,), (1.0,))}, beside=4),
    "beside-windowed": Case(
        NetworkConfig(16, 1, 2, 2, 1, 18, 8, 3, pool_stages=(True, False, True, True),
                      mlp_ratio=1.0),
        {"lanes": 16, "banks": 4, "neurons": 4, "port_bits": 64, "spike_lines": (20, 14)},
        gaps="both", pauses=Pauses((5, 60), 0.3), rows={10, 7}, few_tokens=True, beside=3),
}
every_case = pytest.mark.parametrize("name", CASES)
# The others take Amaranth's simulator longer; tests/sim runs their kind in Verilator, too.
QUICK = {"events-tau1.5", "fc-avgpool-one-token", "spiking-head-tau1.5",
         "widest-sums-in-the-head", "pairs-one-timestep-odd-rows"}


@cache
def prepared(name: str) -> tuple[FixedPointModel, list[np.ndarray], Program]:
    case = CASES[name]
    model, image = reference.random_model(case.network, shrink_all_but=case.scale_up, **case.model)
    if name.startswith(("pairs", "beside")):
        # Everything in common, or nothing.
        activity = Activity(1.0, 1.0) if case.pairs else Activity(1.0, 0.0)
        every = dict.fromkeys((layer.name for layer in case.network.layers()
                               if layer.kind is Kind.CONV), activity)
        model = replace(model, activity=every)
    program = compile_model(model, HardwareConfig.for_model(model, **case.hardware))
    return model, [image, np.roll(image, 1, -1)], program


@pytest.mark.parametrize("name", [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES])
def test_every_value_of_two_inferences(name):
    model, images, program = prepared(name)
    case = CASES[name]
    results = infer(program, images, GAPS[case.gaps], pauses=case.pauses)
    assert [result.faults for result in results] == [[], []]
    for image, result in zip(images, results):
        expected = reference.run(model, image)
        wrong = []
        for value, traced in zip(expected, result.layers):
            for kind in ("spikes", "residual"):
                want, got = getattr(value, kind), getattr(traced, kind)
                assert (want is None) == (got is None), value.layer.name
                if want is not None and (want != got).any():
                    place = tuple(np.argwhere(want != got)[0])
                    wrong.append(f"{value.layer.name} {kind} {place}: {want[place]} {got[place]}")
        assert wrong == []
        assert result.logits == expected[-1].logits.tolist()
        assert [traced.acs for traced in result.layers] == [value.acs for value in expected]
        assert [traced.saturations for traced in result.layers] == [
            value.saturations for value in expected]
        assert all(traced.cycles > 0 for traced in result.layers)
    # Nothing of the first inference slows the second down.
    first, second = ([traced.cycles for traced in result.layers] for result in results)
    assert abs(sum(first) - sum(second)) < 0.2 * sum(first)


@every_case
def test_the_stimulus_is_alive(name):
    """Spikes everywhere, attention included, and what the case is there for."""
    case = CASES[name]
    model, images, program = prepared(name)
    values = [reference.run(model, image) for image in images]
    for layers in zip(*values):
        layer = layers[0].layer
        if layer.lif and layer.kind is not Kind.ATTENTION:
            rates = [value.spikes.mean() for value in layers]
            assert max(rates) > 0 and min(rates) < 1, layer.name
    saturations = sum(value.saturations for layers in values for value in layers)
    if case.saturates:
        assert saturations > 0
    if case.scale_up:
        widest = {key: tensors.max_sum for key, tensors in model.tensors.items()}
        assert max(widest, key=widest.get) == case.scale_up
    assert sum(layer.pairs for layer in program.plan.layers) == case.pairs
    assert case.pairs or sum(layer.beside for layer in program.plan.layers) == case.beside
    placed = [m for layer in program.plan.layers for m in layer.sources if m.windowed]
    assert {m.rows for m in placed} == case.rows
    silent = {value.layer.name for layers in values for value in layers if not value.acs}
    assert silent <= ({"block.0.attn.proj"} if case.few_tokens else set())


def test_attention_is_dense_somewhere():
    """Sums below, at and beyond the counters' limit, with spikes that depend on them."""
    rates, largest = {}, {}
    for name, case in CASES.items():
        model, images, _ = prepared(name)
        values = reference.run(model, images[0])
        for index, value in enumerate(values):
            if value.layer.kind is Kind.ATTENTION:
                rates[name] = max(rates.get(name, 0.0), float(value.spikes.mean()))
                q, k, v = (values[index - back].spikes for back in (3, 2, 1))
                flat = [s.reshape(*s.shape[:2], -1) for s in (q, k, v)]
                sums = reference.attention_sums(*flat, case.network.num_heads)
                largest[name] = max(largest.get(name, 0), int(sums.max()))
    assert sum(0.02 < rate < 0.98 for rate in rates.values()) >= 4, rates
    assert sum(value > 16 for value in largest.values()) >= 3, largest


def test_cycles_are_counted_per_layer_without_the_input():
    """Waiting for samples must not show in any counter."""
    model, images, program = prepared("fc-avgpool-one-token")
    fast, = infer(program, images[:1], (0, 0))
    slow, = infer(program, images[:1], (40, 0))
    assert [traced.cycles for traced in fast.layers] == [traced.cycles for traced in slow.layers]
