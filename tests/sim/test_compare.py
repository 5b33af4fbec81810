# SPDX-License-Identifier: Apache-2.0
"""Each kind of difference is found and named."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sim.compare import Mismatch, compare
from sim.trace import Outputs, assemble
from tests.sim import mock
from tests.sim.test_trace import as_words

LAYERS = [layer.name for layer in mock.NETWORK.layers()]
BLOCK1 = LAYERS.index("patch_embed.block1")
PROJ = LAYERS.index("block.0.attn.proj")


def played(events):
    """The inference that a run of these events would give."""
    program = mock.program()
    words = [event for event in events if event.kind == mock.OUTPUT]
    data = np.array([event.data & (1 << 64) - 1 for event in words], np.uint64).astype(np.int64)
    last = np.array([event.data >> 64 == 1 for event in words], bool)
    outputs = Outputs(np.zeros(len(words), np.int64), last, data, np.arange(len(words)), False,
                      len(words), 20)
    return assemble(program, as_words(events, mock.SPIKE, mock.WORD),
                    as_words(events, mock.RESIDUAL, mock.NEURONS * mock.WIDTH), outputs, 0, 0.0)


@pytest.fixture
def results():
    return mock.random_results(2)


@pytest.fixture
def events(results):
    return mock.events(results, mock.program())


def test_equal(results, events):
    comparison = compare(played(events), results)
    assert comparison.equal
    assert comparison.lines() == [f"0 mismatches in {comparison.values} values"]


def test_words_in_any_order_are_equal(results, events):
    words = [event for event in events if event.kind in (mock.SPIKE, mock.RESIDUAL)]
    np.random.default_rng(0).shuffle(words)
    rest = [event for event in events if event.kind not in (mock.SPIKE, mock.RESIDUAL)]
    assert compare(played([*words, *rest]), results).equal


def test_golden_results_may_come_one_by_one(results, events):
    in_list, one_by_one = (compare(played(events), golden)
                           for golden in (results, (result for result in results)))
    assert in_list == one_by_one and one_by_one.equal
    with pytest.raises(ValueError, match=r"^golden results must be of layers .*, not \[.*'\]$"):
        compare(played(events), (result for result in results[:-1]))


@pytest.mark.parametrize("place", [(0, 0, 0, 0), (1, 3, 4, 3), (0, 1, 2, 1)])
def test_wrong_spike(results, events, place):
    t, c, y, x = place
    expected = int(results[BLOCK1].spikes[place])
    bit = mock.program().traces[BLOCK1].channels.tolist().index(c)
    for event in events:
        if (event.kind, event.layer, event.timestep) == (mock.SPIKE, BLOCK1, t):
            if event.position == y * 4 + x and event.word == bit // mock.WORD:
                event.data ^= 1 << bit % mock.WORD
    comparison = compare(played(events), results)
    assert comparison.total == 1 and not comparison.equal
    assert str(comparison.mismatches[0]) == (
        f"patch_embed.block1: spike at timestep {t}, token {y * 4 + x} (y {y}, x {x}), "
        f"channel {c} must be {expected}, not {1 - expected}")
    assert comparison.lines()[0] == f"1 mismatch in {comparison.values} values"


def test_wrong_residual(results, events):
    results[PROJ].residual[1, 5, 0, 0] = -100
    comparison = compare(played(mock.events(results, mock.program())), mock.random_results(2))
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
    comparison = compare(played(events), results)
    assert [str(m) for m in comparison.mismatches] == [
        f"{LAYERS[layer]}: {what} must be {right + 1}, not {right}"]


def test_wrong_logit(results, events):
    results[-1].logits[2] += 1
    comparison = compare(played(events), results)
    right = int(results[-1].logits[2])
    assert [str(m) for m in comparison.mismatches] == [
        f"head: logit of class 2 must be {right}, not {right - 1}"]


def test_missing_word_and_word_twice(results, events):
    index = [i for i, event in enumerate(events) if event.kind == mock.SPIKE
             and event.layer == LAYERS.index("patch_embed.block3")]
    missing, twice = events[index[0]], events[index[5]]
    changed = [event for event in events if event is not missing]
    changed.insert(changed.index(twice), twice)
    comparison = compare(played(changed), results)
    assert not comparison.equal
    word = "patch_embed.block3: spike word at timestep 0, token"
    assert comparison.faults == [
        f"{word} 0 (y 0, x 0), channels 8 to 15 must come once, not at all",
        f"{word} 1 (y 0, x 1), channels 0 to 7 must come once, not 2 times"]
    assert f"{len(comparison.faults)} faults of words" in comparison.lines()


def test_missing_output_word(results, events):
    comparison = compare(played([e for e in events if e is not events[-3]]), results)
    assert comparison.faults[0].startswith("output must be ")


def test_words_of_no_layer(results, events):
    stray = mock.Event(mock.RESIDUAL, layer=0, data=1)
    outside = mock.Event(mock.SPIKE, layer=BLOCK1, position=20, timestep=1, word=0)
    comparison = compare(played([stray, outside, *events]), results)
    assert comparison.faults == [
        "patch_embed.block1: spike word at timestep 1, token 20, word 0 is outside of the map",
        "residual words came for layer number 0, which has none"]


def test_first_mismatch_is_early(results, events):
    inference = played(events)
    run = inference.layers[BLOCK1]
    layers = list(inference.layers)
    layers[BLOCK1] = replace(run, spikes=~run.spikes)
    comparison = compare(replace(inference, layers=tuple(layers)), results)
    assert comparison.total == run.spikes.size
    assert [m.place for m in comparison.mismatches] == [(0, c, 0, 0) for c in range(4)]


def test_other_network_is_refused(results, events):
    with pytest.raises(ValueError, match=r"^golden results must be of layers \['patch_embed"):
        compare(played(events), results[1:])
    results[0] = SimpleNamespace(**vars(results[0]) | {"spikes": np.zeros((1, 2, 5, 4), bool)})
    with pytest.raises(ValueError, match=r"^golden spike values of patch_embed.block0 must have "
                                         r"shape \(2, 2, 5, 4\), not \(1, 2, 5, 4\)$"):
        compare(played(events), results)
