# SPDX-License-Identifier: Apache-2.0
"""Hardware configurations: sizes that follow from a model, and the sentences about bad ones."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from hw.config import HardwareConfig
from hw.layout import plan_memory
from hw.model import InputFormat
from hw.network import Classifier, Kind, NetworkConfig, Output
from tests.hw.harness import small_hardware
from tests.hw.reference import conv, random_model, run

NETWORK = NetworkConfig(16, 1, 2, 2, 1, 6, 5, 10, pool_stages=(False, False, False, True))
MODEL, IMAGE = random_model(NETWORK)


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"weight_bits": -1}, "weight_bits must be a non-negative integer, not -1"),
    ({"acc_width": 1.5}, "acc_width must be a non-negative integer, not 1.5"),
    ({"queue_depth": 1}, "queue_depth must be at least 2, not 1"),
    ({"max_timesteps": 0}, "max_timesteps must be 1 to 16, not 0"),
    ({"max_timesteps": 17}, "max_timesteps must be 1 to 16, not 17"),
    ({"port_bits": 32}, "port_bits must be 0 (weights on chip), 64 or 128, not 32"),
    ({"timeout_bits": 33}, "timeout_bits must be at most 32, not 33"),
    ({"attention_lanes": 32}, ("spike_word must be at least 8, a quarter of a head of 32 channels, "
                               "and divide the lanes, not 4")),
    ({"attention_engines": 3},
     "attention_engines of 4 channels must share words of 4 of a line of 4, not 3"),
    ({"attention_engines": 4, "attention_lanes": 8},
     "attention_engines of 8 channels must share words of 4 of a line of 4, not 4"),
    ({"attention_engines": 0},
     "attention_engines of 4 channels must share words of 4 of a line of 4, not 0")])
def test_bad_fields(changes, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        small_hardware(**changes)


def test_json_and_back():
    hardware = HardwareConfig.for_model(MODEL, 16, 4)
    assert HardwareConfig.from_dict(json.loads(json.dumps(hardware.to_dict()))) == hardware


@pytest.mark.parametrize("change", ["missing", "unknown", "no geometry", "unknown geometry"])
def test_incomplete_dictionaries(change):
    values = small_hardware().to_dict()
    if change == "missing":
        del values["acc_width"]
    elif change == "unknown":
        values["colour"] = 1
    elif change == "no geometry":
        del values["geometry"]
    else:
        values["geometry"] = {**values["geometry"], "colour": 1}
    with pytest.raises(ValueError, match=r"^hardware configuration is incomplete: "):
        HardwareConfig.from_dict(values)


def test_depths_are_those_of_the_plan():
    hardware = HardwareConfig.for_model(MODEL, 16, 4, neurons=4)
    plan = plan_memory(NETWORK, hardware.geometry, MODEL.input.bits, MODEL.residual.width)
    assert hardware.spike_lines == plan.spike_lines
    assert hardware.residual_words == NETWORK.tokens * NETWORK.timesteps * 16 // 4
    assert hardware.token_sum_words == 16 // 4
    assert hardware.logit_words == 3
    assert (hardware.weight_rows, hardware.param_rows) == (plan.weight_rows, plan.param_rows)
    assert hardware.program_layers == len(NETWORK.layers())


def test_features_follow_the_network():
    events = replace(NETWORK, tau=1.5, static_input=False, timesteps=3, num_heads=1)
    model, _ = random_model(events, input_format=InputFormat(3, True, 1.0, (0.0,), (1.0,)))
    hardware = HardwareConfig.for_model(model, 8, 2)
    assert (hardware.slow_tau, hardware.max_timesteps, hardware.input_width) == (True, 3, 3)
    assert hardware.attention_lanes == 16 and hardware.geometry.spike_word == 4
    assert not HardwareConfig.for_model(MODEL, 16, 4).slow_tau


@pytest.mark.parametrize(("heads", "lanes", "width", "engines"), [
    (1, 8, 16, 1), (1, 128, 16, 1), (1, 512, 16, 2),   # the head is larger than a word
    (2, 8, 8, 1), (2, 64, 8, 1), (2, 128, 8, 2), (2, 512, 8, 4),
    (8, 64, 8, 1)])   # several heads of two channels
def test_attention_has_a_word_for_every_64_lanes(heads, lanes, width, engines):
    """In engines of a head each, as far as a line has channels; or as many as asked for."""
    model, _ = random_model(replace(NETWORK, num_heads=heads))
    hardware = HardwareConfig.for_model(model, lanes, 2, spike_word=8)
    assert (hardware.attention_lanes, hardware.attention_engines) == (width, engines)
    assert HardwareConfig.for_model(model, lanes, 2, 8, attention_engines=2).attention_engines == 2


def test_a_word_holds_a_pixel_and_a_line_a_head():
    """Words are half of the lanes, but for what must fit; no less than the banks."""
    wide = replace(NETWORK, in_channels=3)
    formats = InputFormat(5, True, 1.0, (0.0,) * 3, (1.0,) * 3)
    model, _ = random_model(wide, input_format=formats)
    assert HardwareConfig.for_model(model, 16, 2).geometry.spike_word == 16   # 3 * 5 bits
    assert HardwareConfig.for_model(MODEL, 16, 2).geometry.spike_word == 8
    assert HardwareConfig.for_model(MODEL, 16, 16).geometry.spike_word == 16
    heads, _ = random_model(replace(NETWORK, embed_dim=64, num_heads=1))
    assert HardwareConfig.for_model(heads, 16, 2).geometry.spike_word == 16
    with pytest.raises(ValueError, match=r"^spike_word must hold the 3 input channels of 5 bits, "
                                         r"not 8$"):
        HardwareConfig.for_model(model, 8, 2)


def test_chosen_depths_of_the_spike_memory():
    """They are taken as given; maps that do not fit are windowed, which needs a port."""
    network = replace(NETWORK, image_height=12, image_width=12,
                      pool_stages=(False, False, True, True))
    model, _ = random_model(network)
    roomy = HardwareConfig.for_model(model, 16, 4, port_bits=64)
    assert not roomy.spills_maps
    lines = tuple(depth - 10 for depth in roomy.spike_lines)
    windowed = HardwareConfig.for_model(model, 16, 4, port_bits=64, spike_lines=lines)
    assert windowed.spills_maps and windowed.spike_lines == lines
    larger = tuple(depth + 5 for depth in roomy.spike_lines)
    unused = HardwareConfig.for_model(model, 16, 4, port_bits=64, spike_lines=larger)
    assert not unused.spills_maps and unused.spike_lines == larger
    with pytest.raises(ValueError, match=r"^spike_lines needs a port to external memory: "
                                         r"port_bits must be 64 or 128, not 0$"):
        HardwareConfig.for_model(model, 16, 4, spike_lines=lines)


def fits(values, width):
    return -(1 << width - 1) <= min(values) and max(values) < 1 << width - 1


@pytest.mark.parametrize("classifier", [Classifier.AVGPOOL_FC, Classifier.SN_AVGPOOL_FC])
@pytest.mark.parametrize("tau", [2.0, 1.5])
@pytest.mark.parametrize("extreme", ["random", "all-lowest", "all-highest", "encoder", "head"])
def test_widths_hold_every_sum(classifier, tau, extreme):
    """The largest and smallest sums that any spikes can give, against the widths."""
    model, _ = random_model(replace(NETWORK, classifier=classifier, tau=tau), 3)
    if extreme.startswith("all"):
        for tensors in model.tensors.values():
            tensors.weight[:] = -128 if extreme == "all-lowest" else 127
    elif extreme != "random":
        # One layer with larger sums than all others.
        for tensors in model.tensors.values():
            tensors.weight[:] //= 32
        model.tensors["head" if extreme == "head" else "patch_embed.block0"].weight[:] = -128
    hardware = HardwareConfig.for_model(model, 16, 4)
    planes = 1 << model.input.bits
    for layer in model.network.layers():
        if not layer.has_weights:
            continue
        tensors = model.tensors[layer.name]
        flat = tensors.weight.astype(np.int64).reshape(layer.out_channels, -1)
        low, high = np.minimum(flat, 0).sum(1), np.maximum(flat, 0).sum(1)
        # The bit planes of samples join in the accumulators.
        joined = planes - 1 if layer.kind is Kind.ENCODER else 1
        assert fits([*low * joined, *high * joined], hardware.acc_width), layer.name
        scale = hardware.fraction
        bias = tensors.bias << scale - tensors.bias_shift
        if layer.output is Output.LOGITS:
            times = (model.network.tokens * model.network.timesteps if classifier.spiking
                     else 1 << hardware.token_sum_width - 1)
            # Signed sums multiply both ends.
            ends = [low * times, high * times] + ([] if classifier.spiking
                                                  else [-low * times, -high * times])
            assert fits(np.concatenate(ends), hardware.plane_width)
            assert fits(np.concatenate([(e << scale) + bias for e in ends]),
                        hardware.logit_width)
            continue
        times = joined
        assert fits([*(low * times), *(high * times)], hardware.plane_width), layer.name
        currents = [(end * times << scale) + bias for end in (low, high)]
        assert fits(np.concatenate(currents), hardware.current_width), layer.name
        assert fits(bias, hardware.param_width)
        if layer.output is Output.SPIKES:
            threshold = tensors.threshold << scale - tensors.bias_shift
            assert fits(threshold, hardware.param_width)
            # The lowest state comes from the lowest current for ever, the highest from just below
            # the threshold.
            gain, base = (1, 2) if tau == 2 else (2, 3)
            lowest, v = 0, np.zeros_like(threshold)
            for _ in range(40):
                h = v + gain * np.minimum(currents[0], 0)
                lowest, v = min(lowest, int(h.min())), h // base
            highest = int((threshold // base + gain * np.maximum(currents[1], 0)).max())
            assert fits([lowest, highest, *threshold], hardware.state_width), layer.name


def test_reference_sums_stay_within_the_widths():
    """The same from the other side: what really occurs on an image."""
    hardware = HardwareConfig.for_model(MODEL, 16, 4)
    sums = conv(MODEL.tensors["patch_embed.block0"].weight, IMAGE)
    assert fits(sums.reshape(-1), hardware.plane_width)
    values = {value.layer.name: value for value in run(MODEL, IMAGE)}
    assert fits(values["head"].logits, hardware.logit_width)
    assert fits(values["block.0.mlp.mlp2"].residual.sum((0, 2, 3)), hardware.token_sum_width)
