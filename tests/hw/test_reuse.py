# SPDX-License-Identifier: Apache-2.0
"""Reuse: which layers take two positions at a time, and that the estimates behave."""

from dataclasses import replace

import pytest

from hw.config import HardwareConfig
from hw.layout import Geometry, Walk, plan_memory
from hw.model import Activity
from hw.network import Classifier, Kind, NetworkConfig, Output
from hw.reuse import (
    activity_of,
    can_be_beside,
    can_pair,
    group_cycles,
    step_cycles,
    tile_cycles,
    walks,
)
from tests.hw.reference import random_model

EVEN = NetworkConfig(16, 2, 2, 2, 1, 8, 8, 5, pool_stages=(False, True, False, False))
ODD = replace(EVEN, image_width=7, pool_stages=(False,) * 4)
# 8 x 8, then 4 x 3: the tokens' width is odd.
MIXED = replace(EVEN, image_width=6)
SPIKING = replace(EVEN, classifier=Classifier.SN_AVGPOOL_FC)
# Words so long that lines seldom bound a group; a finish pipeline so fast that it bounds none; room
# for positions beside each other.
LONG, FAST, BESIDE = Geometry(64, 2, 32, 16), Geometry(16, 2, 8, 8), Geometry(16, 2, 8, 2)
ALL_SHARED, NONE_SHARED = Activity(1.0, 1.0), Activity(1.0, 0.0)


def with_activity(network, activity, **others):
    """A model all of whose convolutions are as active, but for `others` by the end of the name."""
    model, _ = random_model(network)
    names = [layer.name for layer in network.layers() if layer.kind is Kind.CONV]
    return replace(model, activity={
        name: others.get(name.rpartition(".")[2], activity) for name in names})


def named(network, name):
    return next(layer for layer in network.layers() if layer.name == name)


def test_which_layers_can_pair():
    """All convolutions of even width but the encoder and attention's reader."""
    for network, wanted in (
            (ODD, []), (MIXED, ["patch_embed.block1"]),
            (EVEN, ["patch_embed.block1", "patch_embed.block2", "patch_embed.block3",
                    "patch_embed.block4", *(f"block.{n}.{name}" for n in (0, 1) for name in (
                        "attn.q", "attn.k", "attn.v", "mlp.mlp1", "mlp.mlp2"))])):
        assert [layer.name for layer in network.layers() if can_pair(layer)] == wanted
    assert not can_pair(named(SPIKING, "head"))


def test_which_layers_can_be_beside_each_other():
    def beside(network, geometry):
        return [layer.name.rpartition(".")[2] for layer in network.layers()
                if can_be_beside(layer, geometry)]

    # 2, 4, 8 and 16 channels in words of 4; block4 adds to the residual stream.
    assert beside(EVEN, Geometry(16, 2, 4, 2)) == ["block0", "block1", "block2"]
    assert beside(EVEN, Geometry(32, 2, 4, 2)) == ["block0", "block1", "block2", "block3"]
    assert beside(EVEN, Geometry(8, 2, 4, 2)) == ["block0", "block1"]
    assert beside(EVEN, Geometry(4, 2, 4, 2)) == []
    # A word of one beat is written too soon after its neighbour's.
    assert beside(EVEN, Geometry(32, 2, 4, 4)) == ["block2", "block3"]
    assert beside(ODD, Geometry(32, 2, 4, 2)) == []


@pytest.mark.parametrize("geometry", [LONG, FAST, BESIDE, Geometry(128, 12, 32, 16)])
def test_more_events_take_more_cycles(geometry):
    cycles = [group_cycles(events, 3, geometry) for events in (0, 1, 5, 20, 100, 1000, 1001.5)]
    assert cycles == sorted(cycles) and cycles[-1] > cycles[-2]
    assert group_cycles(0, 0, geometry) == 1.0
    # No faster than the ports, nor than the lines come.
    for events in (1, 40, 500):
        assert group_cycles(events, 1, geometry) >= events / geometry.slots
        assert group_cycles(events, 9, geometry) >= 9
        assert group_cycles(events, 3, geometry) <= group_cycles(events, 9, geometry)


def test_more_banks_and_ports_take_fewer_cycles():
    events = [group_cycles(300, 1, Geometry(32, banks, 16, 8, ports))
              for ports in (1, 2) for banks in (1, 2, 4, 8, 16)]
    assert events == sorted(events[:5], reverse=True) + sorted(events[5:], reverse=True)
    assert all(one > two for one, two in zip(events[:5], events[5:], strict=True))


@pytest.mark.parametrize("name", ["patch_embed.block3", "block.0.mlp.mlp1", "block.1.mlp.mlp2"])
@pytest.mark.parametrize("geometry", [LONG, FAST, BESIDE])
def test_steps_take_longer_the_more_active_and_the_less_is_shared(name, geometry):
    layer = named(EVEN, name)
    by_density = [step_cycles(layer, Activity(density, density / 2), geometry)
                  for density in (0.0, 0.05, 0.2, 0.5, 1.0)]
    assert {Walk.ALONE, Walk.PAIRS} <= by_density[0].keys()
    for walk in by_density[0]:
        cycles = [each[walk] for each in by_density]
        assert cycles == sorted(cycles), walk
    # Where groups are longer than their lines; only pairs make use of what is shared.
    by_shared = [step_cycles(replace(layer, in_channels=1024), Activity(0.5, shared), LONG)
                 for shared in (0.4, 0.3, 0.2, 0.1, 0.0)]
    cycles = [each[Walk.PAIRS] for each in by_shared]
    assert cycles == sorted(cycles) and len(set(cycles)) == len(cycles)
    assert len({each[Walk.ALONE] for each in by_shared}) == 1


def test_what_is_shared_is_added_once():
    """Groups so long that nothing else counts."""
    layer = replace(named(EVEN, "block.0.mlp.mlp2"), in_channels=100_000)
    for shared in (0.4, 0.25, 0.1):
        cycles = step_cycles(layer, Activity(0.5, shared), LONG)
        share = cycles[Walk.PAIRS] / cycles[Walk.ALONE]
        assert share == pytest.approx(1 - shared, rel=0.02)
    # Four columns instead of twice three.
    layer = replace(named(EVEN, "patch_embed.block1"), in_channels=100_000)
    cycles = step_cycles(layer, NONE_SHARED, LONG)
    assert cycles[Walk.BESIDE] / cycles[Walk.ALONE] == pytest.approx(4 / 6, rel=0.02)


def test_an_empty_group_takes_its_lines():
    """So pairs of a layer in which nothing happens are no gain."""
    layer = named(EVEN, "patch_embed.block3")   # 8 channels
    cycles = step_cycles(layer, Activity(0.0, 0.0), Geometry(16, 2, 4, 4))
    assert cycles[Walk.PAIRS] == 3 * 6 and cycles[Walk.ALONE] == 2 * 6


def test_what_is_chosen():
    shared, apart = (with_activity(EVEN, each) for each in (ALL_SHARED, NONE_SHARED))
    pairs = {layer.name for layer in EVEN.layers() if can_pair(layer)}
    chosen = walks(shared, FAST, beside=False)
    assert set(chosen) <= pairs and set(chosen.values()) == {Walk.PAIRS}
    assert {"block.0.mlp.mlp1", "block.1.mlp.mlp2", "patch_embed.block4"} <= set(chosen)
    assert walks(apart, FAST, beside=False) == {}
    assert walks(shared, FAST, pairs=False, beside=False) == {}
    # Nothing in common: beside each other, where they fit.
    chosen = walks(apart, BESIDE)
    assert set(chosen) == {"patch_embed.block0", "patch_embed.block1", "patch_embed.block2"}
    assert set(chosen.values()) == {Walk.BESIDE}
    assert walks(apart, BESIDE, beside=False) == {}


def test_layers_that_nobody_has_measured_are_taken_alone():
    """But for the encoder, whose input is a picture."""
    model, _ = random_model(EVEN)
    assert walks(model, BESIDE) == {"patch_embed.block0": Walk.BESIDE}
    one = replace(model, activity={"block.0.mlp.mlp1": ALL_SHARED})
    assert walks(one, FAST) == {"block.0.mlp.mlp1": Walk.PAIRS}
    assert activity_of(named(EVEN, "block.0.mlp.mlp1"), one) == ALL_SHARED
    unknown = activity_of(named(EVEN, "block.0.mlp.mlp2"), one)
    assert 0 < unknown.shared < unknown.density < 1


@pytest.mark.parametrize(("others", "together"), [(Activity(1.0, 0.5), True), (NONE_SHARED, False)])
def test_q_k_and_v_are_decided_together(others, together):
    """They read one map, which has one arrangement."""
    model = with_activity(EVEN, Activity(1.0, 0.5), k=others, v=others)
    chosen = walks(model, FAST)
    assert "block.1.mlp.mlp1" in chosen
    for block in (0, 1):
        found = [chosen.get(f"block.{block}.attn.{name}") for name in "qkv"]
        assert found == [Walk.PAIRS if together else None] * 3


@pytest.mark.parametrize("network", [EVEN, MIXED])
def test_one_order_of_the_residual_stream(network):
    """proj takes one position at a time, so all layers that add to a spilled stream do."""
    model = with_activity(network, ALL_SHARED)
    adding = {layer.name for layer in network.layers() if layer.output is Output.RESIDUAL}
    assert bool(adding & walks(model, FAST).keys()) == (network is EVEN)
    ordered = walks(model, FAST, one_order=True)
    assert not adding & ordered.keys()
    # The others are as they would be.
    assert ordered == {name: walk for name, walk in walks(model, FAST).items()
                       if name not in adding}


def test_the_hardware_has_what_its_models_use():
    shared, apart = (with_activity(EVEN, each) for each in (ALL_SHARED, NONE_SHARED))
    for model, options, wanted in (
            (shared, {}, (True, True)), (apart, {}, (False, True)),
            (shared, {"pairs": False}, (False, True)), (shared, {"beside": False}, (True, False)),
            (apart, {"pairs": False, "beside": False}, (False, False)),
            (apart, {"pairs": True}, (True, True))):
        hardware = HardwareConfig.for_model(model, 16, 2, 8, 2, **options)
        assert (hardware.pairs, hardware.beside) == wanted, options
        plans = hardware.plan(model).layers
        assert hardware.pairs or not any(plan.pairs for plan in plans)
        assert any(plan.beside for plan in plans) == hardware.beside


def test_cycles_of_a_tile():
    model = with_activity(EVEN, ALL_SHARED)
    geometry = BESIDE
    chosen = walks(model, geometry)
    plans = {plan.layer.name: plan for plan in plan_memory(
        EVEN, geometry, model.input.bits, 16, walks=chosen).layers}
    for name, steps in (("block.0.mlp.mlp1", 2), ("patch_embed.block0", model.input.bits),
                        ("patch_embed.block1", 2), ("block.0.attn.proj", 2)):
        plan = plans[name]
        cycles = step_cycles(plan.layer, activity_of(plan.layer, model), geometry)
        assert tile_cycles(plan, model, geometry) == pytest.approx(
            plan.layer.positions / 2 * steps * cycles[chosen.get(name, Walk.ALONE)])
    assert tile_cycles(plans["head"], model, geometry) == 0
