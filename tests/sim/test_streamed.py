# SPDX-License-Identifier: Apache-2.0
"""Whole inferences with weights streamed from memory: every value as in the golden model.

One simulator takes several programs, as nothing of a model is in the Verilog.
"""

from dataclasses import replace

import numpy as np
import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.generate import accelerator_verilog
from hw.network import Classifier
from quantize.golden import GoldenModel
from sim.benches.models import SMALL, random_inputs, random_model
from sim.compare import compare
from sim.run import Simulator


def streamed(model, lanes, banks, **options):
    return compile_model(model, HardwareConfig.for_model(model, lanes=lanes, banks=banks,
                                                         **options))


def check(simulator, program, inputs, **run):
    """Inferences, all values of which are golden."""
    golden = GoldenModel(program.model).run(inputs)
    inferences = replace(simulator, program=program).run(inputs, **run)
    assert len(inferences) == len(golden)
    for inference, results in zip(inferences, golden):
        comparison = compare(inference, results)
        assert comparison.equal, "\n".join(comparison.lines())
    return inferences


def cycles(inferences):
    return [layer.cycles for inference in inferences for layer in inference.layers]


@pytest.mark.slow
def test_stalls_change_cycles_and_nothing_else():
    """A port of 64 bits, and a ring that holds no more than the largest tile.

    One timestep of a small image, so that the port and not the lanes is what takes the time.
    """
    model = random_model(replace(SMALL, timesteps=1, image_height=4, image_width=3))
    roomy = HardwareConfig.for_model(model, lanes=8, banks=2, port_bits=64)
    program = streamed(model, 8, 2, port_bits=64)
    largest = max(tile.rows for tile in program.tiles)
    program = streamed(model, 8, 2, port_bits=64, weight_rows=largest + 1)
    assert program.hardware.weight_rows < roomy.weight_rows
    simulator, inputs = Simulator.build(program), random_inputs(model, 2)
    usual = check(simulator, program, inputs)
    counts = [(layer.acs, layer.saturations) for one in usual for layer in one.layers]
    seen = [cycles(usual)]
    for stalls, latency, gaps in ((1, 40, None), (2, 40, None), (3, 1, 5), (4, 300, None)):
        paused = check(simulator, program, inputs, stalls=stalls, latency=latency, gaps=gaps)
        assert [(layer.acs, layer.saturations) for one in paused for layer in one.layers] == counts
        for one, other in zip(usual, paused):
            assert np.array_equal(one.logits, other.logits)
        seen.append(cycles(paused))
    assert len({tuple(each) for each in seen}) == len(seen)
    assert sum(seen[4]) > sum(seen[0])


@pytest.mark.slow
def test_other_bytes_than_predicted_fail():
    """A program with a beat more in its image than is read."""
    model = random_model(replace(SMALL, timesteps=1, image_height=4, image_width=3))
    program = streamed(model, 8, 2, port_bits=64)
    inputs = random_inputs(model, 1)
    simulator = Simulator.build(replace(program, stream=program.stream + bytes(8)))
    run = simulator.start(inputs)
    with run:
        layers = list(run.layers())
        inference = run.finish(layers)[0]
    read = inference.traffic[0].read
    golden = GoldenModel(model).run(inputs)[0]
    comparison = compare(inference, golden)
    assert [str(each) for each in comparison.mismatches] == [
        f"port weights: bytes read must be {read + 8}, not {read}"]


@pytest.mark.slow
def test_residual_stream_and_maps_in_external_memory():
    model = random_model(replace(SMALL, image_height=22, image_width=11, pool_stages=(True,) * 4))
    program = streamed(model, 8, 2, port_bits=64, spill_residual=True, spike_lines=(24, 30))
    inferences = check(Simulator.build(program), program, random_inputs(model, 2), stalls=3)
    for inference in inferences:
        assert [each.port for each in inference.traffic] == ["weights", "residual", "maps"]
        assert inference.traffic == inference.predicted
        assert all(each.read for each in inference.traffic)


@pytest.mark.slow
def test_two_networks_on_one_accelerator():
    """128 bits; one with one block, and a deeper one whose q, k and v have padding, in turn."""
    first = random_model(SMALL, seed=1)
    second = random_model(replace(SMALL, embed_dim=48, num_heads=4, depth=2, timesteps=2,
                                  image_height=4, image_width=7, num_classes=9, mlp_ratio=1.0,
                                  pool_stages=(True, False, False, True)), seed=2)
    hardware = HardwareConfig.for_models([first, second], lanes=16, banks=4, port_bits=128)
    programs = [compile_model(model, hardware) for model in (first, second)]
    texts = [accelerator_verilog(program, trace=True) for program in programs]
    assert texts[0] == texts[1]
    simulator = Simulator.build(programs[0], verilog=texts[0])
    for program in programs:
        check(simulator, program, random_inputs(program.model, 2))
    check(simulator, programs[1], random_inputs(second, 1, seed=7), stalls=6)


@pytest.mark.slow
def test_events_slow_tau_spiking_head_and_narrow_weights():
    model = random_model(replace(SMALL, static_input=False, tau=1.5,
                                 classifier=Classifier.SN_AVGPOOL_FC), weight_bits=4)
    program = streamed(model, 32, 4, port_bits=64)
    check(Simulator.build(program), program, random_inputs(model, 2), stalls=9, gaps=4)


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "lanes", "banks", "options", "formats"), [
    ({"embed_dim": 64, "num_heads": 1}, 16, 8, {"port_bits": 128}, {}),
    ({"classifier": Classifier.SN_FC_AVGPOOL, "embed_dim": 24, "num_heads": 3}, 8, 1,
     {"port_bits": 64}, {}),
    ({"classifier": Classifier.FC_AVGPOOL, "timesteps": 1, "depth": 3}, 24, 4,
     {"port_bits": 128}, {"weight_bits": 6}),
    ({"depth": 4}, 32, 32, {"port_bits": 128}, {}),
], ids=["head64", "one-bank", "deep", "many-banks"])
def test_many_shapes(changes, lanes, banks, options, formats):
    model = random_model(replace(SMALL, **changes), **formats)
    program = streamed(model, lanes, banks, **options)
    check(Simulator.build(program), program, random_inputs(model, 2), stalls=3, gaps=2)
