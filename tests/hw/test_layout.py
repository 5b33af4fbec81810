# SPDX-License-Identifier: Apache-2.0
"""Memory plans: nothing that is still needed is overwritten, nothing overlaps."""

import re
from dataclasses import replace

import numpy as np
import pytest

from hw.layout import (
    WINDOW_ROWS,
    Arrangement,
    Geometry,
    Walk,
    head_channels,
    padded_head_dim,
    plan_memory,
    token_sum_width,
)
from hw.network import Classifier, Kind, NetworkConfig
from hw.reuse import can_be_beside, can_pair


def network(**changes):
    return NetworkConfig(**{"embed_dim": 16, "depth": 2, "num_heads": 2, "timesteps": 2,
                            "in_channels": 1, "image_height": 7, "image_width": 5,
                            "num_classes": 10} | changes)


NETWORKS = {
    "static": network(), "events": network(static_input=False, tau=1.5, timesteps=3),
    "padded-heads": network(embed_dim=24, num_heads=4), "one-head": network(num_heads=1),
    "spiking-head": network(classifier=Classifier.SN_AVGPOOL_FC),
    "all-pools": network(pool_stages=(True,) * 4), "wide": network(embed_dim=40, num_heads=5)}
GEOMETRIES = {"small": Geometry(8, 2, 4, 2), "one-word": Geometry(16, 4, 16, 8),
              "three-words": Geometry(24, 8, 8, 8), "single": Geometry(4, 1, 4, 1),
              "3-banks": Geometry(16, 3, 4, 2)}
EVEN = {"pairs": network(image_height=5, image_width=8, pool_stages=(False, True, False, False)),
        "pairs-padded-heads": network(embed_dim=24, num_heads=4, image_width=4,
                                      pool_stages=(False,) * 4)}


def two_by_two(net, geometry):
    """All layers that can take two positions at a time, beside each other where they can."""
    return {layer.name: Walk.BESIDE if can_be_beside(layer, geometry) else Walk.PAIRS
            for layer in net.layers() if can_pair(layer) or can_be_beside(layer, geometry)}


every_plan = pytest.mark.parametrize(
    ("net", "geometry", "walks"),
    [(n, g, {}) for n in (NETWORKS | EVEN).values() for g in GEOMETRIES.values()]
    + [(n, g, two_by_two(n, g)) for n in EVEN.values() for g in GEOMETRIES.values()],
    ids=[f"{n}-{g}" for n in NETWORKS | EVEN for g in GEOMETRIES]
    + [f"{n}-{g}-two-by-two" for n in EVEN for g in GEOMETRIES])


def cells(placed):
    return {(placed.half, address) for address in range(placed.base, placed.base + placed.size)}


def maps_of(plan):
    """All maps of a plan."""
    maps = [plan.input, *(layer.destination for layer in plan.layers if layer.destination)]
    return maps + ([plan.planes] if plan.planes is not None else [])


def place(m, y, x, step, word):
    """Bank and line of a word, as `SpikeMap` says."""
    if m.arrangement is Arrangement.TOKEN:
        return word % 4, m.base + ((y * m.width + x) * m.steps + step) * m.step_lines + word // 4
    if m.arrangement is Arrangement.PAIR:
        pair = (y * m.width + x) // 2
        return (x % 2 * 2 + word % 2,
                m.base + (pair * m.steps + step) * m.step_lines + word // 2)
    block, within = divmod(word, m.block_words)
    return x % 4, (m.base + (y % m.rows) * m.row_lines + block * m.block_lines
                   + ((x // 4) * m.steps + step) * m.block_words + within)


def check_places(m):
    """Every word on chip has a place of its own, and no line is there for nothing."""
    words = np.ndindex(m.rows, m.width, m.steps, m.words)
    places = [place(m, *index) for index in words]
    assert len(set(places)) == len(places)
    lines = {line for _, line in places}
    assert lines <= set(range(m.base, m.base + m.size))
    # Only the last block may have fewer words.
    spare = m.rows * (m.blocks * m.block_words - m.words) * -(-m.width // 4) * m.steps
    assert len(lines) + (spare if m.arrangement is Arrangement.GRID else 0) == m.size


@every_plan
def test_every_word_of_a_map_has_a_place_of_its_own(net, geometry, walks):
    for m in maps_of(plan_memory(net, geometry, 4, 16, walks=walks)):
        check_places(m)
        # The words of a tile lie together, so that a layer writes tile by tile.
        if m.arrangement is Arrangement.GRID:
            assert m.block_words == min(m.words, geometry.tile_words)


@every_plan
def test_maps_are_arranged_as_the_layer_that_reads_them_needs(net, geometry, walks):
    plan = plan_memory(net, geometry, 4, 16, walks=walks)
    for layer in plan.layers:
        expected = (Arrangement.GRID if layer.layer.kernel == 3 else
                    Arrangement.PAIR if layer.pairs else Arrangement.TOKEN)
        assert layer.walk is walks.get(layer.layer.name, Walk.ALONE)
        assert {source.arrangement for source in layer.sources} == {expected}, layer.layer.name
    assert plan.input.arrangement is Arrangement.GRID


@every_plan
def test_no_map_overwrites_one_that_is_still_read(net, geometry, walks):
    """Walk the program with memory as sets of owned cells."""
    plan = plan_memory(net, geometry, 4, 16, walks=walks)
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
        assert all(base + size <= plan.spike_lines[half]
                   for half, base, size in ((m.half, m.base, m.size) for m in layer.sources))


@every_plan
def test_depths_are_just_enough(net, geometry, walks):
    plan = plan_memory(net, geometry, 4, 16, walks=walks)
    maps = maps_of(plan)
    for half in (0, 1):
        assert plan.spike_lines[half] == max(m.base + m.size for m in maps if m.half == half)


@every_plan
def test_weight_and_parameter_rows_do_not_overlap(net, geometry, walks):
    plan = plan_memory(net, geometry, 4, 16, walks=walks)
    row, param = 1, 0   # row 0 stays zero
    for layer in plan.layers:
        if layer.layer.kind is Kind.ATTENTION:
            continue
        assert (layer.weight_base, layer.param_base) == (row, param)
        channels = len(layer.sources[0].channels)
        # Each word starts a row: the fullest bank has so many channels of it.
        word = geometry.spike_word
        assert layer.rows_per_tap == sum(
            len(range(first, min(first + word, channels), geometry.banks))
            for first in range(0, channels, word))
        assert (layer.tiles - 1) * geometry.lanes < len(layer.out_channels)
        beats = (layer.tiles - 1) * geometry.beats + layer.last_beats
        assert beats * geometry.neurons >= len(layer.out_channels)
        if layer.destination is not None:
            assert beats * geometry.neurons == layer.destination.words * geometry.spike_word
        columns = layer.layer.kernel + (layer.walk is Walk.BESIDE)
        assert layer.tile_rows == layer.layer.kernel * columns * layer.rows_per_tap
        row += layer.tiles * layer.tile_rows
        param += beats
    assert (plan.weight_rows, plan.param_rows) == (row, param)


@every_plan
def test_maps_hold_every_channel_once(net, geometry, walks):
    plan = plan_memory(net, geometry, 4, 16, walks=walks)
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
    ((8, 5, 4, 2), "banks must be at most spike_word 4, not 5"),
    ((8, 2, 4, 8), "neurons must divide spike_word 4, not 8"),
    ((8, 2, 4, 2, 3), "ports must be 1 or 2, not 3")])
def test_geometries_that_do_not_nest(arguments, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Geometry(*arguments)


@pytest.mark.parametrize(("lanes", "options", "expected"), [
    (32, {}, (32, 2, 16, 8)), (128, {}, (128, 2, 64, 16)), (24, {}, (24, 2, 8, 8)),
    (4, {}, (4, 2, 2, 2)), (80, {}, (80, 2, 16, 8)), (512, {}, (512, 2, 64, 64)),
    (1, {"banks": 1}, (1, 1, 1, 1)),
    (32, {"banks": 32}, (32, 32, 32, 8)), (32, {"least_word": 17}, (32, 2, 32, 8)),
    (32, {"least_word": 99}, (32, 2, 32, 8)), (64, {"spike_word": 8}, (64, 2, 8, 8)),
    (64, {"spike_word": 64, "neurons": 4, "ports": 1}, (64, 2, 64, 4, 1))])
def test_for_lanes(lanes, options, expected):
    """Words of half the lanes, unless something must fit a word."""
    assert Geometry.for_lanes(lanes, **options) == Geometry(*expected)


@pytest.mark.parametrize(("lanes", "banks", "sentence"), [
    (0, 4, "lanes must be a positive integer, not 0"),
    ("8", 4, "lanes must be a positive integer, not '8'"),
    (8, -1, "banks must be a positive integer, not -1")])
def test_for_lanes_refuses(lanes, banks, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        Geometry.for_lanes(lanes, banks)


def test_a_pixel_must_fit_a_word():
    sentence = "spike_word must hold the 2 input channels of 3 bits, not 4"
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        plan_memory(network(in_channels=2), Geometry(8, 2, 4, 2), 3, 16)
    plan = plan_memory(network(in_channels=2), Geometry(8, 2, 4, 2), 2, 16)
    assert (plan.input.words, plan.input.steps) == (1, 1)


def test_geometry_counts():
    geometry = Geometry(24, 4, 8, 2)
    assert (geometry.beats, geometry.slice_bits, geometry.tile_words) == (12, 2, 3)
    assert (geometry.line_bits, geometry.slots) == (32, 8)
    assert Geometry(24, 4, 8, 2, 1).slots == 4
    assert [geometry.words(channels) for channels in (1, 8, 9, 24)] == [1, 1, 2, 3]


@pytest.mark.parametrize(("banks", "slice_bits", "rows"), [
    (1, 8, [1, 8, 9, 16, 21]), (2, 4, [1, 4, 5, 8, 11]), (3, 3, [1, 3, 4, 6, 8]),
    (5, 2, [1, 2, 3, 4, 5]), (7, 2, [1, 2, 3, 4, 5]), (8, 1, [1, 1, 2, 2, 3])])
def test_banks_need_not_divide_a_word(banks, slice_bits, rows):
    """A bank has the channels c % banks of each word, which begins in a row of its own."""
    geometry = Geometry(24, banks, 8, 2)
    assert geometry.slice_bits == slice_bits
    assert [geometry.rows(channels) for channels in (1, 8, 9, 16, 21)] == rows


def test_a_map_of_pairs():
    """It has the lines that its words fill, two of each position in one."""
    net, geometry = EVEN["pairs"], GEOMETRIES["small"]
    plan = plan_memory(net, geometry, 4, 16, walks=two_by_two(net, geometry))
    maps = {layer.layer.name: layer.sources[0] for layer in plan.layers if layer.pairs}
    token, hidden = maps["block.0.attn.q"], maps["block.0.mlp.mlp2"]
    assert {token.arrangement, hidden.arrangement} == {Arrangement.PAIR}
    assert (token.words, token.step_lines, token.line_positions) == (4, 2, 2)
    assert (hidden.words, hidden.step_lines) == (16, 8)
    assert (token.column_lines, token.row_lines, token.size) == (4, 8, 24)   # T = 2, 3x4 tokens
    net, geometry = EVEN["pairs-padded-heads"], GEOMETRIES["three-words"]
    plan = plan_memory(net, geometry, 4, 16, walks=two_by_two(net, geometry))
    odd = next(layer.sources[0] for layer in plan.layers if layer.layer.name == "block.0.attn.q")
    assert (odd.words, odd.step_lines) == (3, 2)


LARGE = {
    "static": network(image_height=13, image_width=9, pool_stages=(False, True, False, True)),
    "events": network(image_height=13, image_width=9, pool_stages=(True,) * 4,
                      static_input=False)}


@pytest.mark.parametrize("net", LARGE.values(), ids=LARGE.keys())
@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())
def test_maps_that_do_not_fit_are_windowed(net, geometry):
    """Whatever the depths: a map is whole, or has as many rows as fit, but enough to work with."""
    whole = plan_memory(net, geometry, 4, 16)
    assert not whole.windowed
    largest = [max(m.size for m in maps_of(whole)
                   if m.half == half and m.arrangement is Arrangement.GRID) for half in (0, 1)]
    seen = set()
    for depths in ((largest[0], largest[1]), (largest[0] - 1, largest[1]),
                   (largest[0], largest[1] - 1), (largest[0] // 2, largest[1] // 2), (1, 1)):
        plan = plan_memory(net, geometry, 4, 16, depths)
        pairs = list(zip(maps_of(plan), maps_of(whole)))
        for m, original in pairs:
            fits = original.size <= depths[m.half]
            if m.arrangement is Arrangement.TOKEN or fits:
                assert m == original
                continue
            assert replace(m, rows=m.height) == original
            assert m.rows == min(m.height, max(WINDOW_ROWS, depths[m.half] // m.row_lines))
            assert m.size <= depths[m.half] or m.rows <= WINDOW_ROWS
            check_places(m)
            seen.add(m.windowed)
        assert plan.windowed == any(m.windowed for m, _ in pairs)
        for half in (0, 1):
            assert plan.spike_lines[half] == max(m.base + m.size for m, _ in pairs
                                                 if m.half == half)
    # Maps of few rows stay whole, too large or not.
    assert seen == {True, False}
