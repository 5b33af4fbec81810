# SPDX-License-Identifier: Apache-2.0
"""Each kind of difference is found and named."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from hw.memory_map import PortTraffic
from sim.compare import Mismatch, compare
from sim.trace import Outputs, assemble
from tests.sim import mock
from tests.sim.test_trace import played

LAYERS = [layer.name for layer in mock.NETWORK.layers()]
BLOCK1 = LAYERS.index("patch_embed.block1")
PROJ = LAYERS.index("block.0.attn.proj")


def inference(events, **traffic):
    """The inference that a run of these events would give."""
    words = [event for event in events if event.kind == mock.OUTPUT]
    data = np.array([event.data & (1 << 64) - 1 for event in words], np.uint64).astype(np.int64)
    last = np.array([event.data >> 64 == 1 for event in words], bool)
    outputs = Outputs(np.zeros(len(words), np.int64), last, data, np.arange(len(words)), False,
                      len(words), 20)
    return assemble(mock.program(), played(events), outputs, 0, 0.0, **traffic)


@pytest.fixture
def results():
    return mock.random_results(2)


@pytest.fixture
def events(results):
    return mock.events(results, mock.program())


def test_equal(results, events):
    comparison = compare(inference(events), results)
    assert comparison.equal
    assert comparison.lines() == [f"0 mismatches in {comparison.values} values"]


def test_words_of_a_layer_in_any_order_are_equal(results, events):
    order = np.random.default_rng(0).random(len(events))
    ends = np.cumsum([event.kind == mock.REPORT for event in events])
    keys = [(end - (event.kind == mock.REPORT), event.kind >= mock.OUTPUT, event.kind,
             0 if event.kind >= mock.OUTPUT else chance)
            for event, end, chance in zip(events, ends, order)]
    shuffled = [events[i] for i in sorted(range(len(events)), key=keys.__getitem__)]
    assert shuffled != events
    assert compare(inference(shuffled), results).equal


def test_golden_results_may_come_one_by_one(results, events):
    in_list, one_by_one = (compare(inference(events), golden)
                           for golden in (results, (result for result in results)))
    assert in_list == one_by_one and one_by_one.equal
    with pytest.raises(ValueError, match=r"^golden results must be of layers .*, not \[.*'\]$"):
        compare(inference(events), (result for result in results[:-1]))


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (1, 3, 4, 3), (0, 1, 2, 1)])
def test_wrong_spike(results, events, place):
    t, c, y, x = place
    expected = int(results[BLOCK1].spikes[place])
    bit = mock.program().traces[BLOCK1].channels.tolist().index(c)
    for event in events:
        if (event.kind, event.layer, event.timestep) == (mock.SPIKE, BLOCK1, t):
            if event.position == y * 4 + x and event.word == bit // mock.WORD:
                event.data ^= 1 << bit % mock.WORD
    comparison = compare(inference(events), results)
    assert comparison.total == 1 and not comparison.equal
    assert str(comparison.mismatches[0]) == (
        f"patch_embed.block1: spike at timestep {t}, token {y * 4 + x} (y {y}, x {x}), "
        f"channel {c} must be {expected}, not {1 - expected}")
    assert comparison.lines()[0] == f"1 mismatch in {comparison.values} values"


def test_wrong_residual(results, events):
    results[PROJ].residual[1, 5, 0, 0] = -100
    comparison = compare(inference(mock.events(results, mock.program())), mock.random_results(2))
    assert comparison.total == 1
    got = comparison.mismatches[0]
    wanted = int(mock.random_results(2)[PROJ].residual[1, 5, 0, 0])
    assert got == Mismatch("block.0.attn.proj", "residual", (1, 5, 0, 0), wanted, -100, 1)


@pytest.mark.parametrize(("attribute", "what"), [("acs", "AC counter"),
                                                 ("saturations", "saturation counter")])
@pytest.mark.parametrize("layer", [0, PROJ, len(LAYERS) - 1])
def test_wrong_counter(results, events, attribute, what, layer):
    right = getattr(results[layer], attribute)
    setattr(results[layer], attribute, right + 1)
    comparison = compare(inference(events), results)
    assert [str(m) for m in comparison.mismatches] == [
        f"{LAYERS[layer]}: {what} must be {right + 1}, not {right}"]


def test_wrong_logit(results, events):
    results[-1].logits[2] += 1
    comparison = compare(inference(events), results)
    right = int(results[-1].logits[2])
    assert [str(m) for m in comparison.mismatches] == [
        f"head: logit of class 2 must be {right}, not {right - 1}"]


def test_missing_word_and_word_twice(results, events):
    index = [i for i, event in enumerate(events) if event.kind == mock.SPIKE
             and event.layer == LAYERS.index("patch_embed.block3")]
    missing, twice = events[index[0]], events[index[5]]
    changed = [event for event in events if event is not missing]
    changed.insert(changed.index(twice), twice)
    comparison = compare(inference(changed), results)
    assert not comparison.equal
    word = "patch_embed.block3: spike word at timestep 0, token"
    assert comparison.faults == [
        f"{word} 0 (y 0, x 0), channels 8 to 15 must come once, not at all",
        f"{word} 1 (y 0, x 1), channels 0 to 7 must come once, not 2 times"]
    assert f"{len(comparison.faults)} faults" in comparison.lines()


def test_missing_output_word(results, events):
    comparison = compare(inference([e for e in events if e is not events[-3]]), results)
    assert comparison.faults[0].startswith("output must be ")


def test_words_of_no_layer(results, events):
    stray = mock.Event(mock.RESIDUAL, layer=0, data=1)
    late = mock.Event(mock.SPIKE, layer=0, data=1)
    outside = mock.Event(mock.SPIKE, layer=BLOCK1, position=20, timestep=1, word=0)
    end = next(i for i, event in enumerate(events) if event.kind == mock.REPORT)
    changed = [stray, *events[:end + 1], late, outside, *events[end + 1:]]
    assert compare(inference(changed), results).faults == [
        "residual words of layer number 0 came with patch_embed.block0",
        "spike words of layer number 0 came with patch_embed.block1",
        "patch_embed.block1: spike word at timestep 1, token 20, word 0 is outside of the map"]


def test_counters_that_are_sent_are_those_that_were_kept(results, events):
    words = [event for event in events if event.kind == mock.OUTPUT]
    words[mock.NETWORK.num_classes].data += 1   # ACs of the first layer
    kept = [results[0].acs, mock.CYCLES, results[0].saturations]
    sent = [kept[0] + 1, *kept[1:]]
    assert compare(inference(events), results).faults == [
        f"output of patch_embed.block0's counters must be {kept}, as they were kept, not {sent}"]


def test_bytes_moved(results, events):
    moved = (PortTraffic("weights", 100, 0), PortTraffic("maps", 5, 16))
    plain = compare(inference(events), results)
    equal = compare(inference(events, traffic=moved, predicted=moved), results)
    assert equal.equal and equal.values == plain.values + 4
    other = (moved[0], PortTraffic("maps", 5, 17))
    comparison = compare(inference(events, traffic=moved, predicted=other), results)
    assert [str(each) for each in comparison.mismatches] == [
        "port maps: bytes written must be 17, not 16"]
    comparison = compare(inference(events, traffic=moved[:1], predicted=moved), results)
    assert comparison.faults == ["memory ports must be ['weights', 'maps'], not ['weights']"]


def test_first_mismatch_is_early(results, events):
    run_of = inference(events)
    run = run_of.layers[BLOCK1]
    layers = list(run_of.layers)
    layers[BLOCK1] = replace(run, spikes=~run.spikes)
    comparison = compare(replace(run_of, layers=tuple(layers)), results)
    assert comparison.total == run.spikes.size
    assert [m.place for m in comparison.mismatches] == [(0, c, 0, 0) for c in range(4)]


def test_other_network_is_refused(results, events):
    with pytest.raises(ValueError, match=r"^golden results must be of layers \['patch_embed"):
        compare(inference(events), results[1:])
    results[0] = SimpleNamespace(**vars(results[0]) | {"spikes": np.zeros((1, 2, 5, 4), bool)})
    with pytest.raises(ValueError, match=r"^golden spike values of patch_embed.block0 must have "
                                         r"shape \(2, 2, 5, 4\), not \(1, 2, 5, 4\)$"):
        compare(inference(events), results)
