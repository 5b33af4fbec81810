# SPDX-License-Identifier: Apache-2.0
"""The predicted cycles of every layer are those of the RTL, in accelerators of many shapes."""

from dataclasses import replace

import numpy as np
import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.cycles import predict, predict_inference
from hw.model import Activity
from hw.network import Classifier, Kind
from quantize.golden import GoldenModel
from quantize.sources import source_maps
from sim.activity import Spent
from sim.benches.models import SMALL, random_inputs, random_model
from sim.run import DEFAULT_LATENCY, Simulator

EVENTS = replace(SMALL, static_input=False, tau=1.5, classifier=Classifier.SN_AVGPOOL_FC)
ODD = replace(SMALL, embed_dim=24, num_heads=3, in_channels=3, num_classes=7, image_height=7,
              image_width=9, pool_stages=(True, True, False, True))
EVEN = replace(SMALL, embed_dim=48, num_heads=3, image_height=12, image_width=16,
               pool_stages=(False, False, True, True))
TINY = replace(SMALL, timesteps=1, image_height=4, image_width=3)


def check(program, inputs, latency=DEFAULT_LATENCY, simulator=None):
    """Every counter as predicted, and the distance of the second inference from the first."""
    golden = GoldenModel(program.model)
    simulator = simulator or Simulator.build(program)
    for number, run in enumerate(simulator.of(program).run(inputs, latency=latency)):
        prediction = predict_inference(program, source_maps(golden, inputs[number]), latency)
        assert ([(layer.name, layer.cycles) for layer in prediction.layers]
                == [(layer.layer.name, layer.cycles) for layer in run.layers])
        # The first inference begins after the reset, whose cycles count, too.
        assert number == 0 or prediction.period == run.cycles
        check_split(prediction, program.plan, run)


def check_split(prediction, plan, run):
    """What the cycles were spent on, as the probe counts it, and the rows of weights added."""
    for layer, ran, place in zip(prediction.layers, run.layers, plan.layers):
        spent = Spent(layer.idle, layer.compute, layer.weight_wait, layer.fill_drain)
        assert (layer.name, spent) == (ran.layer.name, ran.spent)
        assert spent.total == layer.cycles
        if place.beside:   # the probe counts an event for each position that takes it
            assert layer.events <= ran.events <= 2 * layer.events
        elif ran.layer.has_weights:
            assert layer.events == ran.events
        else:
            assert layer.events * plan.network.head_dim == ran.acs
    whole = Spent()
    for layer in prediction.layers:
        whole += Spent(0, layer.compute, layer.weight_wait, layer.fill_drain)
    assert (prediction.cycles, replace(whole, idle=prediction.idle)) == (run.span.cycles,
                                                                         run.span.spent)


def compiled(network, lanes, banks, formats=None, activity=None, **options):
    """activity: of every convolution, by which the compiler decides how to walk it"""
    model = random_model(network, **(formats or {}))
    if activity:
        model = replace(model, activity={layer.name: activity for layer in network.layers()
                                         if layer.kind is Kind.CONV})
    return compile_model(model, HardwareConfig.for_model(model, lanes, banks, **options))


@pytest.mark.parametrize(("network", "lanes", "banks", "formats"), [
    (SMALL, 8, 2, {}), pytest.param(EVENTS, 32, 4, {}, marks=pytest.mark.slow),
    pytest.param(ODD, 16, 4, {"weight_bits": 4}, marks=pytest.mark.slow),
], ids=["small", "events", "odd"])
def test_weights_on_chip(network, lanes, banks, formats):
    program = compiled(network, lanes, banks, formats)
    check(program, random_inputs(program.model, 2))


@pytest.mark.slow
@pytest.mark.parametrize(("network", "lanes", "banks"), [
    (replace(SMALL, embed_dim=48, num_heads=3, in_channels=3), 16, 4),
    (replace(SMALL, embed_dim=64, num_heads=1, num_classes=1), 16, 4),
    (replace(SMALL, classifier=Classifier.SN_FC_AVGPOOL), 8, 1),
    (replace(SMALL, image_height=1, image_width=1), 8, 2),
], ids=["48x3", "head64", "one-bank", "1x1"])
def test_more_shapes(network, lanes, banks):
    program = compiled(network, lanes, banks)
    check(program, random_inputs(program.model, 2))


@pytest.mark.slow
@pytest.mark.parametrize(("neurons", "spike_word", "ports"), [(2, 8, 2), (4, 4, 2), (8, 16, 1)])
def test_geometries(neurons, spike_word, ports):
    model = random_model(replace(SMALL, in_channels=1))
    hardware = HardwareConfig.for_model(model, 16, 2, spike_word, neurons)
    hardware = replace(hardware, geometry=replace(hardware.geometry, ports=ports), queue_depth=3)
    check(compile_model(model, hardware), random_inputs(model, 2))


@pytest.mark.slow
def test_tiles_wait_for_the_port_and_the_port_for_tiles():
    """A ring that holds no more than the largest tile, a narrow port, a slow memory."""
    roomy = compiled(TINY, 8, 2, port_bits=64)
    largest = max(tile.rows for tile in roomy.tiles)
    program = compiled(TINY, 8, 2, port_bits=64, weight_rows=largest + 1)
    inputs = random_inputs(program.model, 2)
    simulator = Simulator.build(program)
    for latency in (1, DEFAULT_LATENCY, 300):
        check(program, inputs, latency, simulator)
    golden = GoldenModel(program.model)
    maps = source_maps(golden, inputs[0])
    waits = [sum(layer.weight_wait for layer in predict(each, maps))
             for each in (roomy, program)]
    assert 0 < waits[0] < waits[1]


@pytest.mark.slow
def test_events_and_narrow_weights_streamed():
    program = compiled(EVENTS, 32, 4, {"weight_bits": 4}, port_bits=64)
    check(program, random_inputs(program.model, 2))


@pytest.mark.slow
def test_pairs_streamed():
    program = compiled(EVEN, 16, 4, activity=Activity(1.0, 1.0), port_bits=64)
    assert sum(plan.pairs for plan in program.plan.layers) >= 6
    check(program, random_inputs(program.model, 2))


@pytest.mark.slow
def test_beside_each_other():
    network = replace(EVEN, embed_dim=16, num_heads=2)
    program = compiled(network, 32, 3, activity=Activity(1.0, 0.0), port_bits=64, spike_word=8,
                       neurons=2)
    assert sum(plan.beside for plan in program.plan.layers) >= 2
    check(program, random_inputs(program.model, 2))


@pytest.mark.slow
def test_residual_stream_and_maps_in_external_memory():
    network = replace(SMALL, image_height=22, image_width=11, pool_stages=(True,) * 4)
    program = compiled(network, 8, 2, port_bits=64, spill_residual=True, spike_lines=(24, 30))
    simulator = Simulator.build(program)
    inputs = random_inputs(program.model, 2)
    for latency in (DEFAULT_LATENCY, 300):
        check(program, inputs, latency, simulator)


@pytest.mark.slow
def test_banks_that_divide_nothing():
    program = compiled(replace(SMALL, embed_dim=48, num_heads=3), 16, 3, port_bits=64)
    check(program, random_inputs(program.model, 2))


def test_maps_by_order_or_name_and_what_is_wrong_with_them():
    program = compiled(SMALL, 8, 2)
    maps = source_maps(GoldenModel(program.model), random_inputs(program.model, 1)[0])
    predicted = predict(program, maps)
    assert predicted == predict(program, list(maps.values()))
    assert all(0 < layer.busy < 1 for layer in predicted)
    with pytest.raises(ValueError, match=r"^maps must be of 13 layers, not 12$"):
        predict(program, list(maps.values())[1:])
    with pytest.raises(ValueError, match=r"^maps must have the source of head, not only \['block"):
        predict(program, {name: each for name, each in maps.items() if name != "head"})
    with pytest.raises(ValueError, match=r"^source of head must have shape \(32,\), not \(33,\)$"):
        predict(program, maps | {"head": np.zeros(33, np.int64)})
