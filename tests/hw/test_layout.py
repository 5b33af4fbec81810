# SPDX-License-Identifier: Apache-2.0
"""Memory plans: nothing that is still needed is overwritten, nothing overlaps."""

import re

import pytest

from hw.layout import (
    Geometry,
    head_channels,
    padded_head_dim,
    plan_memory,
    token_sum_width,
)
from hw.network import Classifier, Kind, NetworkConfig


def network(**changes):
    return NetworkConfig(**{"embed_dim": 16, "depth": 2, "num_heads": 2, "timesteps": 2,
                            "in_channels": 3, "image_height": 7, "image_width": 5,
                            "num_classes": 10} | changes)


NETWORKS = {
    "static": network(), "events": network(static_input=False, tau=1.5, timesteps=3),
    "padded-heads": network(embed_dim=24, num_heads=4), "one-head": network(num_heads=1),
    "spiking-head": network(classifier=Classifier.SN_AVGPOOL_FC),
    "all-pools": network(pool_stages=(True,) * 4), "wide": network(embed_dim=40, num_heads=5)}
GEOMETRIES = {"small": Geometry(8, 2, 4, 2), "one-word": Geometry(16, 4, 16, 8),
              "three-words": Geometry(24, 8, 8, 8), "single": Geometry(4, 1, 4, 1)}
every_plan = pytest.mark.parametrize(
    ("net", "geometry"), [(n, g) for n in NETWORKS.values() for g in GEOMETRIES.values()],
    ids=[f"{n}-{g}" for n in NETWORKS for g in GEOMETRIES])


def cells(placed):
    return {(placed.half, address) for address in range(placed.base, placed.base + placed.size)}


@every_plan
def test_no_map_overwrites_one_that_is_still_read(net, geometry):
    """Walk the program with memory as sets of owned cells."""
    plan = plan_memory(net, geometry, 5, 16)
    owner = dict.fromkeys(cells(plan.input), plan.input)
    for layer in plan.layers:
        if plan.planes is not None and layer.sources[0] is plan.planes:
            owner |= dict.fromkeys(cells(plan.planes), plan.planes)
        for source in layer.sources:
            assert all(owner[cell] is source for cell in cells(source)), layer.layer.name
        if layer.destination is not None:
            target = cells(layer.destination)
            read = set().union(*(cells(source) for source in layer.sources))
            assert not target & read, layer.layer.name
            # A layer reads one half and writes the other, since ports are not shared in a half.
            assert {layer.destination.half} == {1 - source.half for source in layer.sources}
            owner |= dict.fromkeys(target, layer.destination)
        assert all(base + size <= plan.spike_words[half]
                   for half, base, size in ((m.half, m.base, m.size) for m in layer.sources))


@every_plan
def test_depths_are_just_enough(net, geometry):
    plan = plan_memory(net, geometry, 5, 16)
    maps = [plan.input, *(layer.destination for layer in plan.layers if layer.destination)]
    maps += [plan.planes] if plan.planes is not None else []
    for half in (0, 1):
        assert plan.spike_words[half] == max(m.base + m.size for m in maps if m.half == half)


@every_plan
def test_weight_and_parameter_rows_do_not_overlap(net, geometry):
    plan = plan_memory(net, geometry, 5, 16)
    row, param = 1, 0   # row 0 stays zero
    for layer in plan.layers:
        if layer.layer.kind is Kind.ATTENTION:
            continue
        assert (layer.weight_base, layer.param_base) == (row, param)
        channels = layer.sources[0].channels
        assert layer.rows_per_tap * geometry.banks >= len(channels)
        assert (layer.rows_per_tap - 1) * geometry.banks < len(channels)
        assert (layer.tiles - 1) * geometry.lanes < len(layer.out_channels)
        beats = (layer.tiles - 1) * geometry.beats + layer.last_beats
        assert beats * geometry.neurons >= len(layer.out_channels)
        if layer.destination is not None:
            assert beats * geometry.neurons == layer.destination.words * geometry.spike_word
        row += layer.tiles * layer.layer.kernel ** 2 * layer.rows_per_tap
        param += beats
    assert (plan.weight_rows, plan.param_rows) == (row, param)


@every_plan
def test_maps_hold_every_channel_once(net, geometry):
    plan = plan_memory(net, geometry, 5, 16)
    for layer in plan.layers:
        assert sorted(c for c in layer.out_channels if c >= 0) == list(
            range(layer.layer.out_channels))
        for source in layer.sources:
            assert source.words * geometry.spike_word >= len(source.channels)
            assert sorted(c for c in source.channels if c >= 0) == list(
                range(layer.layer.in_channels))


def test_planes_of_the_classifier():
    net = network()
    plan = plan_memory(net, Geometry(16, 4, 16, 8), 5, 16)
    assert plan.planes.steps == token_sum_width(net, 16)
    assert (plan.planes.positions, plan.planes.words) == (1, 1)
    spiking = plan_memory(network(classifier=Classifier.SN_FC_AVGPOOL), Geometry(16, 4, 16, 8), 5,
                          16)
    assert spiking.planes is None


@pytest.mark.parametrize(("tokens", "timesteps", "width"), [
    ((1, 1), 1, 16), ((1, 2), 1, 17), ((1, 1), 3, 18), ((8, 8), 4, 24), ((13, 5), 4, 25)])
def test_token_sum_width(tokens, timesteps, width):
    net = network(image_height=tokens[0], image_width=tokens[1], timesteps=timesteps,
                  pool_stages=(False,) * 4)
    assert token_sum_width(net, 16) == width


@pytest.mark.parametrize(("head_dim", "padded"), [(1, 1), (2, 2), (3, 4), (4, 4), (6, 8), (48, 64)])
def test_padded_head_dim(head_dim, padded):
    assert padded_head_dim(head_dim) == padded


def test_head_channels():
    assert head_channels(network(embed_dim=24, num_heads=8)) == (
        0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1,
        12, 13, 14, -1, 15, 16, 17, -1, 18, 19, 20, -1, 21, 22, 23, -1)
    assert head_channels(network(embed_dim=8)) == tuple(range(8))


@pytest.mark.parametrize(("arguments", "sentence"), [
    ((0, 1, 4, 2), "lanes must be a positive integer, not 0"),
    ((8, 1.0, 4, 2), "banks must be a positive integer, not 1.0"),
    ((8, 1, True, 2), "spike_word must be a positive integer, not True"),
    ((12, 1, 6, 2), "spike_word must be a power of two, not 6"),
    ((10, 1, 4, 2), "lanes must be a multiple of spike_word 4, not 10"),
    ((8, 3, 4, 2), "banks must divide spike_word 4, not 3"),
    ((8, 2, 4, 8), "neurons must divide spike_word 4, not 8")])
def test_geometries_that_do_not_nest(arguments, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Geometry(*arguments)


@pytest.mark.parametrize(("lanes", "expected"), [
    (32, (32, 4, 32, 8)), (128, (128, 4, 32, 8)), (24, (24, 4, 8, 8)), (4, (4, 4, 4, 4)),
    (80, (80, 4, 16, 8))])
def test_for_lanes(lanes, expected):
    assert Geometry.for_lanes(lanes) == Geometry(*expected)


@pytest.mark.parametrize(("lanes", "banks", "sentence"), [
    (0, 4, "lanes must be a positive integer, not 0"),
    ("8", 4, "lanes must be a positive integer, not '8'"),
    (8, -1, "banks must be a positive integer, not -1")])
def test_for_lanes_refuses(lanes, banks, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Geometry.for_lanes(lanes, banks)


def test_a_pixel_must_fit_a_word():
    sentence = "spike_word must hold the 5 input channels, not 4"
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        plan_memory(network(in_channels=5), Geometry(8, 2, 4, 2), 5, 16)


def test_geometry_counts():
    geometry = Geometry(24, 4, 8, 2)
    assert (geometry.beats, geometry.slice_bits) == (12, 2)
    assert [geometry.words(channels) for channels in (1, 8, 9, 24)] == [1, 1, 2, 3]
