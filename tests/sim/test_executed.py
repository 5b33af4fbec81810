# SPDX-License-Identifier: Apache-2.0
"""Additions by kind and memory traffic, against enumeration."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.network import Kind, pooled
from quantize.energy import Operations
from quantize.golden import GoldenModel
from sim.benches.models import SMALL, random_inputs, random_model
from sim.executed import (
    Traffic,
    Work,
    additions,
    lines,
    off_chip,
    on_chip,
    residual_additions,
    source_words,
    target_words,
    weight_bits,
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


def test_source_words():
    plan = PLANS["patch_embed.block1"]
    layer = plan.layer
    taps = sum(0 <= y + dy < layer.height and 0 <= x + dx < layer.width
               for y in range(layer.height) for x in range(layer.width)
               for dy in (-1, 0, 1) for dx in (-1, 0, 1))
    assert layer.kernel == 3
    assert source_words(plan) == plan.tiles * taps * SMALL.timesteps * plan.sources[0].words
    # 1x1: every position once for each tile; the classifier reads bit planes of one position.
    assert source_words(PLANS["block.0.mlp.mlp1"]) == 8 * SMALL.tokens * SMALL.timesteps * 4
    assert source_words(PLANS["head"]) == PROGRAM.plan.planes.size
    assert source_words(PLANS["block.0.attn.ssa"]) == 3 * PLANS["block.0.attn.q"].destination.size


def test_target_words():
    pooling = next(plan for plan in PROGRAM.plan.layers if plan.layer.pool)
    read, written = target_words(pooling)
    per_window = SMALL.timesteps * pooling.destination.words
    layer = pooling.layer
    assert written == windows(layer.height) * windows(layer.width) * per_window
    assert read == written - pooled(layer.height) * pooled(layer.width) * per_window
    plain = PLANS["block.0.attn.q"]
    assert target_words(plain) == (0, plain.destination.size)
    assert target_words(PLANS["head"]) == (0, 0)


def test_an_event_reads_a_row_in_every_tile():
    plan = PLANS["block.0.attn.q"]   # 32 outputs, 4 tiles of 8 lanes
    assert weight_bits(plan, acs=10 * 32, lanes=8, bits=8) == 10 * 4 * 8 * 8
    # 5 classes: a tile of 8 lanes is read whole.
    assert weight_bits(PLANS["head"], acs=10 * 5, lanes=8, bits=8) == 10 * 8 * 8
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
    work = additions(layers, [result.acs for result in results],
                     [Operations(1, 2)] * len(layers), SMALL.timesteps)
    assert [each.name for each in work] == ["encoder", "convolutions", "attention", "classifier",
                                            "residual additions"]
    assert sum(each.acs for each in work[:-1]) == sum(result.acs for result in results)
    convolutions = sum(layer.kind is Kind.CONV for layer in layers)
    assert work[1].paper == Operations(convolutions, 2 * convolutions)
    assert work[-1].paper is None


@dataclass
class Bytes:
    weights_read: int = 100
    residual_written: int = 20


@pytest.mark.parametrize("program, expected", [
    (SimpleNamespace(stream=b""), {}),
    (SimpleNamespace(stream=bytes(7)), {"weights and program": 7}),
    (SimpleNamespace(stream=b"", traffic=Bytes()), {"weights read": 100, "residual written": 20}),
    (SimpleNamespace(stream=b"", traffic={"weights": 5}), {"weights": 5}),
])
def test_off_chip(program, expected):
    assert off_chip(program) == expected


def test_streamed_weights_are_written_once():
    program = compile_model(MODEL, HardwareConfig.for_model(MODEL, lanes=8, banks=2, port_bits=64))
    weights = next(row for row in on_chip(program, [0] * len(PLANS)) if row.name == "weights")
    rows = sum(plan.tiles * plan.tile_rows for plan in program.plan.layers)
    assert weights.written == rows * 2 * 8 * 8
    assert weights.written <= 8 * len(program.stream)


def test_lines():
    text = lines(SimpleNamespace(stream=bytes(9)),
                 [Work("encoder", 1000, Operations(2000, 3000)), Work("residual", 10, None)],
                 [Traffic("weights", 40, 50)])
    assert text[1].split() == ["encoder", "1,000", "0.9", "2,000", "3,000", "15.6"]
    assert text[2].split() == ["residual", "10", "0.0"]
    assert text[4].split() == ["weights", "40", "50"]
    assert text[-1].split()[-2:] == ["9", "bytes"]
