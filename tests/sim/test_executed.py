# SPDX-License-Identifier: Apache-2.0
"""Additions by kind and memory traffic, against enumeration."""

from dataclasses import replace

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.network import Kind, pooled
from quantize.energy import Operations
from quantize.golden import GoldenModel
from sim.benches.models import EVEN, SMALL, measured_model, random_inputs, random_model
from sim.executed import (
    Traffic,
    Work,
    additions,
    executed_additions,
    lines,
    on_chip,
    residual_additions,
    source_lines,
    target_accesses,
    weight_bits,
    window_lines,
    windows,
)

MODEL = random_model(SMALL)
PROGRAM = compile_model(MODEL, HardwareConfig.for_model(MODEL, lanes=8, banks=2))
PLANS = {plan.layer.name: plan for plan in PROGRAM.plan.layers}


def test_windows():
    for size in range(1, 12):
        pairs = sum(abs(2 * window - y) <= 1 for window in range(pooled(size))
                    for y in range(size))
        assert windows(size) == pairs


def test_source_lines():
    hardware = PROGRAM.hardware
    plan = PLANS["patch_embed.block2"]
    source, layer = plan.sources[0], plan.layer
    rows = sum(0 <= y + dy < layer.height
               for y in range(layer.height) for _ in range(layer.width) for dy in (-1, 0, 1))
    assert layer.kernel == 3
    # A line brings the three columns of a kernel row.
    assert source_lines(plan, hardware) == plan.tiles * rows * SMALL.timesteps * source.words
    encoder = PLANS["patch_embed.block0"]
    rows = (3 * encoder.layer.height - 2) * encoder.layer.width
    assert source_lines(encoder, hardware, 4) == 4 * rows * encoder.tiles
    # 1x1: every position once for each tile; the classifier reads bit planes of one position.
    lines_of_32 = -(-PLANS["block.0.mlp.mlp1"].sources[0].words // 4)
    assert source_lines(PLANS["block.0.mlp.mlp1"], hardware) == (
        8 * SMALL.tokens * SMALL.timesteps * lines_of_32)
    assert source_lines(PLANS["head"], hardware) == PROGRAM.plan.planes.size
    attention = PLANS["block.0.attn.ssa"]
    groups = attention.sources[0].words * hardware.geometry.spike_word // (
        hardware.attention_engines * hardware.attention_lanes)
    assert source_lines(attention, hardware) == 3 * groups * SMALL.tokens * SMALL.timesteps


def two_by_two():
    """Plans of layers in pairs and beside each other, by name, and their hardware."""
    model = measured_model(EVEN, 1.0, 1.0)
    hardware = HardwareConfig.for_model(model, lanes=16, banks=2, neurons=4)
    return {plan.layer.name: plan for plan in hardware.plan(model).layers}, hardware


def test_source_lines_of_two_positions():
    """Three groups for a pair, one for two beside each other."""
    plans, hardware = two_by_two()
    conv, mlp = plans["patch_embed.block4"], plans["block.0.mlp.mlp1"]
    rows = 3 * conv.layer.height - 2
    assert conv.pairs and mlp.pairs and plans["patch_embed.block1"].beside
    assert source_lines(conv, hardware) == (
        conv.tiles * rows * conv.layer.width // 2 * 3 * EVEN.timesteps * conv.sources[0].words)
    # Two words of each position of a pair in a line.
    assert source_lines(mlp, hardware) == (
        mlp.tiles * EVEN.tokens // 2 * 3 * EVEN.timesteps * -(-mlp.sources[0].words // 2))
    first, encoder = plans["patch_embed.block1"], plans["patch_embed.block0"]
    rows = (3 * first.layer.height - 2) * first.layer.width // 2
    assert first.tiles == encoder.tiles == 1
    assert source_lines(first, hardware) == rows * EVEN.timesteps * first.sources[0].words
    assert encoder.beside and source_lines(encoder, hardware, 4) == 4 * rows


def test_executed_additions():
    plans, _ = two_by_two()
    conv, first = plans["block.0.mlp.mlp1"], plans["patch_embed.block1"]
    assert conv.tiles == 4
    assert executed_additions(conv, acs=1000, events=40) == 10 * conv.layer.out_channels
    # An event may reach the lanes of one position, or of both: the counter knows.
    assert executed_additions(first, acs=1000, events=40) == 1000
    assert executed_additions(plans["block.0.attn.ssa"], acs=1000, events=0) == 1000
    assert executed_additions(PLANS["head"], acs=50, events=10) == 50


def test_target_accesses():
    pooling = next(plan for plan in PROGRAM.plan.layers if plan.layer.pool)
    words = SMALL.timesteps * pooling.destination.words
    layer = pooling.layer
    assert target_accesses(pooling) == (
        windows(layer.height) * layer.width * words,
        windows(layer.height) * windows(layer.width) * words)
    plain = PLANS["block.0.attn.q"]
    target = plain.destination
    assert target_accesses(plain) == (0, target.positions * target.steps * target.words)
    assert target_accesses(PLANS["head"]) == (0, 0)


def test_windowed_maps_move_through_spike_memory():
    assert window_lines(PROGRAM.plan) == (0, 0)
    plan = PROGRAM.plan
    wide = PLANS["patch_embed.block1"]
    half = replace(wide.destination, rows=2)
    following = replace(PLANS["patch_embed.block2"], sources=(half,))
    changed = replace(plan, layers=(plan.layers[0], replace(wide, destination=half), following,
                                    *plan.layers[3:]))
    lines_of_map = half.height * half.row_lines
    assert window_lines(changed) == (lines_of_map, following.tiles * lines_of_map)


def test_an_event_reads_a_row():
    assert weight_bits(PLANS["block.0.attn.q"], events=40, lanes=8, bits=8) == 40 * 8 * 8
    # 5 classes: a tile of 8 lanes is read whole.
    assert weight_bits(PLANS["head"], events=10, lanes=8, bits=4) == 10 * 8 * 4
    assert weight_bits(PLANS["block.0.attn.ssa"], 100, 8, 8) == 0


def test_residual_stream_and_additions():
    rows = {row.name: row for row in on_chip(PROGRAM, [0] * len(PLANS))}
    values = SMALL.timesteps * SMALL.tokens * 32
    assert residual_additions(SMALL.layers(), SMALL.timesteps) == 2 * values
    assert rows["residual stream"] == Traffic("residual stream", 2 * values * 12, 3 * values * 12)
    assert rows["weights"] == Traffic("weights", 0, 0)


def test_additions_by_kind():
    results = GoldenModel(MODEL).run(random_inputs(MODEL, 1))[0]
    layers = SMALL.layers()
    acs = [result.acs for result in results]
    work = additions(layers, acs, [count / 2 for count in acs],
                     [Operations(1, 2)] * len(layers), SMALL.timesteps)
    assert [each.name for each in work] == ["encoder", "convolutions", "attention", "classifier",
                                            "residual additions"]
    assert sum(each.acs for each in work[:-1]) == sum(result.acs for result in results)
    assert all(each.executed == each.acs / 2 for each in work[:-1])
    assert work[-1].executed == work[-1].acs
    convolutions = sum(layer.kind is Kind.CONV for layer in layers)
    assert work[1].paper == Operations(convolutions, 2 * convolutions)
    assert work[-1].paper is None


def test_streamed_weights_are_written_once():
    program = compile_model(MODEL, HardwareConfig.for_model(MODEL, lanes=8, banks=2, port_bits=64))
    weights = next(row for row in on_chip(program, [0] * len(PLANS)) if row.name == "weights")
    rows = sum(plan.tiles * plan.tile_rows for plan in program.plan.layers)
    assert weights.written == rows * 2 * 8 * 8
    assert weights.written <= 8 * len(program.stream)


def test_lines():
    text = lines([Work("encoder", 1000, 800, Operations(2000, 3000)),
                  Work("residual", 10, 10, None)],
                 [Traffic("weights", 40, 50)])
    assert text[1].split() == ["encoder", "1,000", "800", "0.7", "2,000", "3,000", "15.6"]
    assert text[2].split() == ["residual", "10", "10", "0.0"]
    assert text[4].split() == ["weights", "40", "50"]
