# SPDX-License-Identifier: Apache-2.0
"""Facts of layers, and the bins that they hit."""

from types import SimpleNamespace

import pytest

from sim.activity import Spent
from sim.coverage.functional import CROSSES, DIMENSIONS, Cross, grouped, layer_facts, measure
from sim.draw import draw


def inference(program, **changes):
    """As if every layer had done something."""
    values = {"acs": 3, "events": 3, "saturations": 0, "spent": Spent(compute=9)} | changes
    return SimpleNamespace(layers=[SimpleNamespace(**values) for _ in program.plan.layers])


def test_facts_of_a_network():
    drawn = draw(0, 17)   # 1-8, tau 2, 12 lanes x 1 bank x 1 port, streamed through a small ring
    facts = layer_facts(drawn.program, [inference(drawn.program)], drawn.chosen["memory"])
    assert all(each.keys() == DIMENSIONS.keys() for each in facts)
    assert all(value in DIMENSIONS[name] for each in facts for name, value in each.items())
    layers = [each["layer"] for each in facts]
    assert layers[0] == "encoder" and layers[-1] == "head of spikes"
    assert {"3x3 to spikes", "3x3 to residual", "1x1 to spikes", "1x1 to residual",
            "attention"} < set(layers)
    assert {each["weights"] for each in facts} == {"tight ring"}
    assert {each["tau"] for each in facts} == {"2"} and facts[0]["tiles"] == "part of one"
    assert len(facts) < len(drawn.program.plan.layers)   # q, k and v are alike


def test_what_happened():
    program = draw(0, 17).program
    quiet = inference(program, acs=0, events=0)
    busy = inference(program, saturations=1, spent=Spent(weight_wait=4))
    facts = layer_facts(program, [quiet, busy], "room")
    for name in ("silent", "saturated", "waited"):
        assert {each[name] for each in facts} == {"no", "yes"}
    assert {each["weights"] for each in facts} == {"streamed"}


def test_bins():
    cross = Cross(("tau", "pooled"), lambda b: b["tau"] == "2" or b["pooled"] == "no", "")
    hits, = measure([{"tau": "2", "pooled": "no"}, {"tau": "2", "pooled": "no"}], [cross])
    assert (hits.hit, hits.total) == (1, 3)
    assert hits.missing == (("2", "yes"), ("1.5", "no"))
    with pytest.raises(ValueError, match=r"must be one that can be built, not \('1.5', 'yes'\)"):
        measure([{"tau": "1.5", "pooled": "yes"}], [cross])
    assert grouped([("a", "b", "c"), ("a", "b", "d"), ("e", "b", "c")]) == ["a, b, c/d", "e, b, c"]


def test_all_crosses_have_bins():
    for hits in measure([]):
        assert hits.total == len(hits.missing) > 4, hits.cross.name
    names = {name for cross in CROSSES for name in cross.dimensions}
    assert names == set(DIMENSIONS)


@pytest.mark.parametrize("number", [2, 3, 7, 11])
def test_what_is_drawn_is_in_a_bin(number):
    """Whatever `possible` excludes cannot be built."""
    drawn = draw(0, number)
    facts = layer_facts(drawn.program, [inference(drawn.program)], drawn.chosen["memory"])
    assert sum(hits.hit for hits in measure(facts)) > len(CROSSES)
