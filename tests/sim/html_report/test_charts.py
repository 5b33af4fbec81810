# SPDX-License-Identifier: Apache-2.0
"""What the figures of layers are drawn from."""

from dataclasses import replace

import numpy as np
import pytest

from sim.html_report import charts
from tests.sim.html_report.small import facts


def test_bands_are_as_wide_as_what_flows():
    known, drawn = facts(), charts.network(facts()).data[0]
    names = known.names
    flows = {(source, target): value for source, target, value in
             zip(drawn.link.source, drawn.link.target, drawn.link.value)}
    spikes = {run.layer.name: run.spikes for run in known.inference.layers}
    first, second = names.index("patch_embed.block0"), names.index("patch_embed.block1")
    assert flows[first, second] == spikes["patch_embed.block0"].sum()
    k, attention = names.index("block.0.attn.k"), names.index("block.0.attn.ssa")
    assert flows[k, attention] == spikes["block.0.attn.k"].sum()
    skip = names.index("patch_embed.block4"), names.index("block.0.attn.proj")
    assert flows[skip] == known.golden[skip[0]].residual.size
    assert drawn.node.label[first] == "block0" and drawn.node.label[k] == "0.k"


def test_rates_are_those_of_the_rtl():
    ours, published = charts.rates(facts()).data
    run = next(each for each in facts().inference.layers if each.layer.name == "block.0.attn.q")
    assert ours.y[list(ours.x).index(run.layer.lif)] == 100 * np.mean(run.spikes)
    assert published.y[list(published.x).index("block.0.attn.q_lif")] == pytest.approx(17.23)


def test_cycles_add_up():
    *spent, dense = charts.cycles(facts()).data
    assert [sum(values) for values in zip(*(each.y for each in spent))] == [
        run.cycles for run in facts().inference.layers]
    assert sum(dense.y) == pytest.approx(facts().rows[-1].dense / 32)


def test_energy():
    series = charts.energy_series(facts())
    assert len(series) == 5 and {len(each) for each in series.values()} == {len(facts().layers)}
    bars = charts.energy_totals(facts()).data[0]
    assert bars.x[0] == pytest.approx(facts().rows[-1].energy_nj)
    assert bars.x[3] == pytest.approx(facts().rows[-1].dense * 0.9e-3)


def test_accuracy():
    assert charts.accuracy(facts()) is None
    drawn = charts.accuracy(replace(facts(), accuracy={0: 0.99, 4: 0.5, 8: 0.98}))
    assert list(drawn.data[0].x) == [8, 4] and list(drawn.data[0].y) == [98, 50]
    assert drawn.layout.annotations[0].text == "float 99.00"
