# SPDX-License-Identifier: Apache-2.0
"""A run that begins at any layer, with the memories as the layers before leave them, is golden."""

from dataclasses import replace

import numpy as np
import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.layout import Arrangement
from hw.network import Classifier
from quantize.golden import GoldenModel
from sim.benches.maps import StoredMap
from sim.benches.models import EVEN, SMALL, measured_model, random_inputs, random_model
from sim.compare import compare
from sim.preload import contents, needed, places, readmemh
from sim.resume import from_layer
from sim.run import Simulator

TALL = replace(SMALL, image_height=22, image_width=11, pool_stages=(True,) * 4)


def run_from(simulator, program, inputs, golden, first):
    later = from_layer(program, first)
    kept = {index: golden[index] for index in needed(program, first)}
    return replace(simulator, program=later).run(inputs, preload=contents(later, kept))[0]


@pytest.mark.parametrize(("network", "lanes", "options"), [
    (SMALL, 8, {}),
    pytest.param(EVEN, 16, {"neurons": 4}, marks=pytest.mark.slow),
    pytest.param(TALL, 8, {"port_bits": 64, "spill_residual": True, "spike_lines": (24, 30)},
                 marks=pytest.mark.slow),
    pytest.param(replace(SMALL, static_input=False, classifier=Classifier.SN_AVGPOOL_FC), 16,
                 {"port_bits": 128}, marks=pytest.mark.slow),
], ids=["on-chip", "two-by-two", "spilled", "spiking-head"])
def test_from_every_layer(network, lanes, options):
    model = measured_model(network, 1.0, 1.0) if network is EVEN else random_model(network)
    program = compile_model(model, HardwareConfig.for_model(model, lanes=lanes, banks=2,
                                                            **options))
    inputs = random_inputs(model, 1)
    golden = GoldenModel(model).run(inputs)[0]
    simulator = Simulator.build(program, cocotb=False, preload=True)
    for first in range(1, len(golden)):
        inference = run_from(simulator, program, inputs, golden, first)
        comparison = compare(inference, golden[first:])
        assert comparison.equal, (first, "\n".join(comparison.lines()))
    # The same simulator runs the whole, and is told what a wrong preload does.
    assert compare(simulator.run(inputs)[0], golden).equal
    spikes = golden[4].spikes.copy()
    spikes[0, 3, 0, 0] ^= True
    wrong = [*golden[:4], replace(golden[4], spikes=spikes), *golden[5:]]
    comparison = compare(run_from(simulator, program, inputs, wrong, 5), golden[5:])
    assert not comparison.equal
    assert comparison.mismatches[0].layer == "block.0.attn.q"


@pytest.mark.parametrize(("lanes", "activity", "arrangements"), [
    (8, (1.0, 1.0), set(Arrangement)), (8, (1.0, 0.0), {Arrangement.GRID, Arrangement.TOKEN})])
def test_places_are_those_of_the_map(lanes, activity, arrangements):
    """Against the tests' own map, which knows the words of `hw.layout` only."""
    model = measured_model(EVEN, *activity)
    program = compile_model(model, HardwareConfig.for_model(model, lanes=lanes, banks=2))
    seen = set()
    for plan in program.plan.layers:
        if (target := plan.destination) is None:
            continue
        stored = StoredMap(target.half, target.base, target.height, target.width, target.steps,
                           target.words, target.arrangement is Arrangement.GRID,
                           target.block_words, 0, target.arrangement is Arrangement.PAIR)
        bank, line = places(target)
        for index in stored.indices():
            assert (target.half, bank[index], line[index]) == stored.read(*index)
        seen.add(target.arrangement)
    assert seen == arrangements


def test_what_is_needed():
    model = random_model(SMALL)
    program = compile_model(model, HardwareConfig.for_model(model, lanes=8, banks=2))
    names = [layer.name for layer in SMALL.layers()]

    def before(name):
        return {names[index] for index in needed(program, names.index(name))}

    assert before("patch_embed.block1") == {"patch_embed.block0"}
    # The spikes of block4 fall to k and v; the stream waits for proj.
    assert before("block.0.attn.k") == {"patch_embed.block4", "block.0.attn.q"}
    assert before("block.0.attn.ssa") == {"patch_embed.block4", "block.0.attn.q", "block.0.attn.k",
                                          "block.0.attn.v"}
    assert before("block.0.mlp.mlp1") == {"block.0.attn.proj"}
    assert before("head") == {"block.0.mlp.mlp2"}


def test_readmemh():
    assert readmemh(np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 1]])) == b"01\n12\n"
