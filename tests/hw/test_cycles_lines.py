# SPDX-License-Identifier: Apache-2.0
"""Spikes of each line and bank: against a count of every tap of every position, one by one."""

from dataclasses import replace

import numpy as np
import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.cycles_lines import bank_counts, walk
from hw.model import Activity
from hw.network import Classifier, Kind
from sim.benches.models import SMALL, random_inputs, random_model

EVEN = replace(SMALL, image_width=8, timesteps=2)


def layers(network, banks=2, activity=None, **hardware):
    """Program, plan and instruction of each layer with weights."""
    model = random_model(network)
    if activity:
        model = replace(model, activity={layer.name: activity for layer in network.layers()
                                         if layer.kind is Kind.CONV})
    program = compile_model(model, HardwareConfig.for_model(
        model, **{"lanes": 8, "banks": banks} | hardware))
    for plan in program.plan.layers:
        if plan.layer.has_weights:
            values = next(each for each in program.instructions
                          if each.get("report") and each["layer"] == plan.index)
            yield program, plan, values


def source(program, plan, seed=0):
    """A random map for the layer."""
    if plan.layer.kind is Kind.ENCODER:
        return random_inputs(program.model, 1, seed)[0]
    shape = (program.model.network.timesteps, plan.layer.in_channels,
             plan.sources[0].height, plan.sources[0].width)
    return np.random.default_rng(seed).random(shape) < 0.3


def windows(layer, bits):
    """bool [H * W * steps, taps, C] of a map [steps, C, H, W], in the order of groups."""
    edge = layer.kernel // 2
    padded = np.pad(bits, ((0, 0), (0, 0), (edge, edge), (edge, edge)))
    taps = [padded[:, :, y:y + bits.shape[2], x:x + bits.shape[3]]
            for y in range(layer.kernel) for x in range(layer.kernel)]
    return np.stack(taps).transpose(3, 4, 1, 0, 2).reshape(-1, len(taps), bits.shape[1])


def by_bank(taps, geometry, columns=1):
    """Set taps of each bank's channels: [groups, banks]; from tap to tap the banks move on."""
    bank = np.arange(taps.shape[-1]) % geometry.spike_word % geometry.banks
    tap = np.arange(taps.shape[-2])
    bank = (bank + (tap // columns + tap % columns)[:, None]) % geometry.banks
    return np.stack([(taps & (bank == each)).sum((1, 2)) for each in range(geometry.banks)], 1)


def groups(walked):
    """Spikes of each group and bank, over its lines."""
    return np.concatenate([row.sum(1) for row in walked.rows])


@pytest.mark.parametrize(("network", "banks"), [
    (SMALL, 2), (SMALL, 3), (replace(SMALL, classifier=Classifier.SN_FC_AVGPOOL), 4)])
def test_groups_have_the_spikes_of_their_windows(network, banks):
    for program, plan, values in layers(network, banks):
        if plan.layer.kind is Kind.CONV or (plan.layer.kind is Kind.CLASSIFIER
                                            and network.classifier.spiking):
            each = source(program, plan)
            walked = walk(program, plan, values, each)
            assert np.array_equal(groups(walked), by_bank(
                windows(plan.layer, each), program.hardware.geometry, plan.layer.kernel))
            assert walked.intervals == (values["interval"],)
            assert len(walked.rows) == plan.layer.height


@pytest.mark.parametrize("network", [SMALL, replace(SMALL, static_input=False)])
def test_planes_of_samples_come_from_the_top_and_only_the_last_one_closes(network):
    program, plan, values = next(layers(network))
    image = source(program, plan)
    stepped = image[None] if network.static_input else image
    bits = program.model.input.bits
    planes = np.stack([windows(plan.layer, stepped >> bit & 1) for bit in reversed(range(bits))], 1)
    walked = walk(program, plan, values, image)
    wanted = by_bank(planes.reshape(-1, *planes.shape[2:]), program.hardware.geometry, 3)
    assert np.array_equal(groups(walked), wanted)
    assert walked.intervals == (0,) * (bits - 1) + (values["last_interval"],)


def test_planes_of_token_sums():
    program, plan, values = list(layers(SMALL))[-1]
    sums = np.random.default_rng(1).integers(-900, 900, SMALL.embed_dim)
    walked = walk(program, plan, values, sums)
    width = values["planes"]
    bits = np.stack([(sums & (1 << width) - 1) >> bit & 1 for bit in reversed(range(width))])
    assert np.array_equal(groups(walked), by_bank(bits[:, None], program.hardware.geometry))
    assert walked.intervals == (values["last_interval"],)


def test_pairs_share_what_both_have():
    seen = 0
    for program, plan, values in layers(EVEN, activity=Activity(1.0, 1.0)):
        if not plan.pairs:
            continue
        seen += 1
        each, geometry = source(program, plan), program.hardware.geometry
        taps = windows(plan.layer, each)
        taps = taps.reshape(plan.layer.height, -1, 2, EVEN.timesteps, *taps.shape[1:])
        even, odd = taps[:, :, 0], taps[:, :, 1]
        thirds = np.stack([even & odd, even & ~odd, odd & ~even], axis=3)
        walked = walk(program, plan, values, each)
        wanted = by_bank(thirds.reshape(-1, *thirds.shape[4:]), geometry, plan.layer.kernel)
        assert np.array_equal(groups(walked), wanted)
        assert walked.intervals == (0, values["interval"], values["interval"])
    assert seen > 5


def test_beside_each_other_a_line_has_four_columns():
    """Of two positions every spike of their four columns is one event."""
    seen = 0
    for program, plan, values in layers(replace(EVEN, embed_dim=16), 3, Activity(1.0, 0.0),
                                        lanes=32, spike_word=8, neurons=2):
        if not plan.beside or plan.layer.kind is Kind.ENCODER:
            continue
        seen += 1
        each = source(program, plan)
        padded = np.pad(each, ((0, 0), (0, 0), (1, 1), (1, 1)))
        width, height = plan.layer.width, plan.layer.height
        taps = np.stack([padded[:, :, y:y + height, x:x + width - 1:2]
                         for y in range(3) for x in range(4)])
        taps = taps.transpose(3, 4, 1, 0, 2).reshape(-1, 12, each.shape[1])
        wanted = by_bank(taps, program.hardware.geometry, 4)
        assert np.array_equal(groups(walk(program, plan, values, each)), wanted)
    assert seen


def test_a_line_has_a_kernel_row_of_a_word_or_four_words():
    program, plan, values = list(layers(SMALL))[2]
    placed, geometry = plan.sources[0], program.hardware.geometry
    each = source(program, plan)
    counts = bank_counts(each, placed, geometry)
    assert counts.shape == (placed.height, placed.width, 3, placed.words, geometry.banks)
    row = walk(program, plan, values, each).rows[1]
    assert row.shape == (placed.width * 3, 3 * placed.words, geometry.banks)
    # Position (1, 0), step 0: kernel row by kernel row, in each word by word.
    wanted = counts[0:3, 0:2, 0].sum((1, 3)).reshape(-1)
    assert np.array_equal(row[0].sum(-1), wanted.astype(int))


def test_padding_channels_of_heads_have_no_spikes():
    network = replace(SMALL, embed_dim=48, num_heads=2)   # heads of 24 in 32 places
    model = random_model(network)
    program = compile_model(model, HardwareConfig.for_model(model, lanes=8, banks=2))
    proj = next(each for each in program.plan.layers if each.layer.name.endswith("proj"))
    ones = np.ones((3, 48, 3, 3), bool)
    counts = bank_counts(ones, proj.sources[0], program.hardware.geometry)
    assert counts.sum() == ones.sum()
    assert proj.sources[0].words * program.hardware.geometry.spike_word == 64
