# SPDX-License-Identifier: Apache-2.0
"""Figures of a benchmark, from a result with round numbers."""

import json
from dataclasses import asdict, replace

import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from sim.activity import Spent
from sim.benches.models import SMALL, random_model
from sim.journal import LayerRecord
from sim.metrics import BY_KEY, METRICS, Result, Synthesis, check, layer_figures, metrics
from sim.result_rows import Row

MODEL = random_model(SMALL)
PROGRAM = compile_model(MODEL, HardwareConfig.for_model(MODEL, lanes=8, banks=2))


def result(case="one", cycles=1000, lut=20_000, synthesis=True):
    """13 layers of `cycles` with 4,000 additions each; 500 cycles beside them."""
    spent = Spent(idle=cycles // 10, compute=cycles // 2, weight_wait=0,
                  fill_drain=cycles - cycles // 10 - cycles // 2)
    layers = [asdict(LayerRecord(
        layer.name, 10, 0, (), acs=4000, cycles=cycles, saturations=0, useful=4000, dense=9000,
        density=0.25, spent=spent, events=300 * plan.tiles))
        for layer, plan in zip(SMALL.layers(), PROGRAM.plan.layers)]
    row = Row(case=case, command=f"python -m sim.bench {case}", network="net", synthetic=True,
              weights=1234, hardware="8 lanes", around="latency 40", values=5000, wrong=0,
              shown=(), cycles=13 * cycles + 700, layer_cycles=13 * cycles, acs=52_000, adders=32,
              port_bits=0, moved={}, on_chip_bits=81_920, bits_besides_weights=8192,
              external_bytes=0, build_seconds=61.4, simulate_seconds=2.5, peak_mb=100.0,
              resumed_at=None, layers=layers, span=13 * cycles + 500,
              spent=asdict(Spent(13 * spent.idle + 500, 13 * spent.compute, 0,
                                 13 * spent.fill_drain)),
              dense=416_000, weight_bits=8, simulator_seconds=0.5)
    return Result(row, layer_figures(PROGRAM, row, list(range(13))),
                  Synthesis(32, 0, lut, 900, 7.5, 0, 80.0) if synthesis else Synthesis(32, 0),
                  {"quantize": None, "compile": 1.0, "verilog": 2.0}, 13 * cycles)


def test_figures():
    found = metrics(result())
    assert found["useful"] == 52_000 and found["density"] == 0.125
    assert found["cycles"] == 13_500
    assert found["use"] == pytest.approx(52_000 / 32 / 13_500)
    assert found["worst_use"] == 4000 / 32 / 1000
    assert found["gain"] == pytest.approx(416_000 / 32 / 13_500)
    assert found["efficiency"] == pytest.approx(52_000 / 13_500 / 20)
    assert found["deviation"] == pytest.approx(500 / 13_500)
    assert found["generation_seconds"] == 3.0 and found["simulator_speed"] == 27_000
    assert sum(found[part] for part in ("idle", "compute", "weight_wait", "fill_drain")) == 13_500
    assert set(found) == set(BY_KEY) and len(BY_KEY) == len(METRICS)


def test_executed_additions():
    """An event adds to all channels of a tile; attention says itself what it added."""
    layers = {layer.name: layer for layer in result().layers}
    assert layers["patch_embed.block0"].executed == 300 * SMALL.layers()[0].out_channels
    assert layers["block.0.attn.ssa"].executed == 4000
    assert layers["head"].executed == 300 * SMALL.num_classes


def test_the_worst_layer_is_worth_it():
    one = result()
    small = replace(one.layers[3], share=0.02, use=0.01)
    large = replace(one.layers[5], share=0.03, use=0.02)
    one = replace(one, layers=(*one.layers, small, large))
    assert one.worst is large


def test_what_is_not_measured_has_no_figure():
    found = metrics(result(synthesis=False))
    assert set(BY_KEY) - set(found) == {"lut", "ff", "ramb36", "dsp", "efficiency",
                                        "synthesis_seconds"}
    assert BY_KEY["lut"].show(None) == "" and BY_KEY["lut"].show(1234.0) == "1,234"


@pytest.mark.parametrize("synthesis", [True, False])
def test_json(synthesis):
    text = json.dumps(result(synthesis=synthesis).to_dict())
    read = Result.from_dict(json.loads(text))
    assert json.dumps(read.to_dict()) == text
    assert read.layers == result().layers


def test_what_does_not_add_up():
    assert check(result()) == []
    one = result()
    wrong = replace(one, row=replace(one.row, span=13_501, adders=64))
    assert check(wrong) == ["one: cycles of C must sum up to 13,501, not 13,500",
                            "one: the lanes must have 64 adders, not 32"]
    layer = replace(one.layers[0], cycles=7)
    assert check(replace(one, layers=(layer,))) == [
        "one: cycles of patch_embed.block0 must sum up to 7, not 1,000"]
