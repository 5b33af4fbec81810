# SPDX-License-Identifier: Apache-2.0
"""Figures of the layers: the network as blocks, firing rates, operations, cycles, energy."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from hw.network import Layer, Output
from quantize.energy import PJ_PER_AC, PJ_PER_MAC
from quantize.rates import target_rates
from sim.html_report.facts import IMAGE, Facts, published_operations, sources

# Okabe and Ito: told apart by people who do not see all colours.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7",
                                          "#999999")


def figure(*traces: Any, height: int = 380, **layout: Any) -> go.Figure:
    """Traces in the page's style."""
    drawn = go.Figure(list(traces))
    drawn.update_layout(template="plotly_white", height=height, bargap=0.25,
                        margin={"l": 60, "r": 20, "t": 40, "b": 40},
                        legend={"orientation": "h", "y": 1.12, "x": 0}, **layout)
    return drawn


def shape(layer: Layer) -> str:
    """Of what a layer gives."""
    if layer.output is Output.LOGITS:
        return str(layer.out_channels)
    return f"{layer.out_channels} x {layer.height} x {layer.width}"


def network(facts: Facts) -> go.Figure:
    """Layers as blocks; a band is as wide as the spikes, or values of the residual stream, that
    flow in this inference.
    """
    layers, nodes = facts.layers, len(facts.layers)
    links: list[tuple[int, int, float, str, str]] = []
    stream = IMAGE
    for index, (layer, read) in enumerate(zip(layers, sources(layers), strict=True)):
        for number in read:
            if number == IMAGE:
                ones = facts.golden[index].input_density * facts.program.model.input.bits
                links.append((nodes, index, ones * facts.image.size, "bits of the image", "0,0,0"))
            elif facts.golden[number].spikes is not None:
                links.append((number, index, int(facts.golden[number].spikes.sum()), "spikes",
                              "0,114,178"))
            else:
                links.append((number, index, facts.golden[number].residual.size, "values",
                              "213,94,0"))
        if layer.output is Output.RESIDUAL:
            if stream != IMAGE:
                links.append((stream, index, facts.golden[stream].residual.size,
                              "values of the residual stream", "213,94,0"))
            stream = index
    links.append((nodes - 1, nodes + 1, facts.network.num_classes, "logits", "0,0,0"))
    labels = [re.sub(r"^patch_embed\.|^block\.(?=\d)|(?<=\d\.)(attn|mlp)\.", "", layer.name)
              for layer in layers]
    hover = [f"{layer.name}<br>{layer.kind.value}, {shape(layer)}, T = {facts.network.timesteps}"
             f"<br>{row.acs:,.0f} AC in {row.cycles:,.0f} cycles"
             for layer, row in zip(layers, facts.rows)]
    colors = [ORANGE if layer.output is Output.RESIDUAL else BLUE for layer in layers]
    sankey = go.Sankey(
        arrangement="snap",
        node={"label": [*labels, "image", "logits"], "pad": 24, "thickness": 16,
              "color": [*colors, GREY, GREY], "customdata": [*hover, "input", "output"],
              "hovertemplate": "%{customdata}<extra></extra>"},
        link={"source": [link[0] for link in links], "target": [link[1] for link in links],
              # A silent layer keeps a thread, so that its block stays in its place.
              "value": [max(link[2], 1) for link in links],
              "customdata": [f"{link[2]:,.0f} {link[3]}" for link in links],
              "color": [f"rgba({link[4]},0.3)" for link in links],
              "hovertemplate": "%{source.label} to %{target.label}: %{customdata}<extra></extra>"})
    return figure(sankey, height=420, width=max(1060, 90 * nodes))


def _bars(names: Sequence[str], series: Mapping[str, tuple[Sequence[float | None], str]],
          title: str, log: bool = False, **more: Any) -> go.Figure:
    return figure(*(go.Bar(name=name, x=list(names), y=list(values), marker_color=color)
                    for name, (values, color) in series.items()),
                  barmode="group", yaxis={"title": title, "type": "log" if log else "linear"},
                  **more)


def rates(facts: Facts) -> go.Figure:
    """Output firing rate of every LIF, beside the authors' of 8-512 at the same relative depth."""
    firing = [(run.layer.lif, 100 * float(np.mean(run.spikes)))
              for run in facts.inference.layers if run.spikes is not None]
    published = target_rates(facts.network)
    return _bars([name for name, _ in firing], {
        "this image, in RTL": ([rate for _, rate in firing], BLUE),
        "published for 8-512 on ImageNet, same relative depth": (
            [100 * published[name] for name, _ in firing], ORANGE)}, "spikes per neuron and "
        "timestep, %")


def operations(facts: Facts) -> go.Figure:
    """Dense operations, ACs and those that the adders execute."""
    rows = facts.rows[:-1]
    return _bars(facts.names, {
        "dense": ([row.dense for row in rows], GREY),
        "AC": ([row.acs for row in rows], BLUE),
        "executed": ([row.executed for row in rows], GREEN)}, "operations", log=True)


def cycles(facts: Facts) -> go.Figure:
    """Cycles by what they are spent on, and of a dense accelerator with as many adders."""
    runs = facts.inference.layers
    spent = {"compute": GREEN, "weight_wait": ORANGE, "fill_drain": PURPLE, "idle": GREY}
    geometry = facts.program.hardware.geometry
    adders = geometry.lanes * geometry.slots
    bars = [go.Bar(name=name.replace("_", " "), x=facts.names, marker_color=color,
                   y=[getattr(run.spent, name) for run in runs]) for name, color in spent.items()]
    dense = go.Scatter(name=f"dense, {adders} adders always busy", x=facts.names, mode="markers",
                       y=[row.dense / adders for row in facts.rows[:-1]],
                       marker={"symbol": "line-ew-open", "size": 18, "color": RED,
                               "line": {"width": 3}})
    return figure(*bars, dense, barmode="stack", yaxis={"title": "cycles"})


def lane_use(facts: Facts) -> go.Figure:
    """Share of the adders' time in which they add."""
    return _bars(facts.names, {"lane use": ([100 * row.lane_use for row in facts.rows[:-1]],
                                            BLUE)}, "lane use, %", height=300)


def energy_series(facts: Facts) -> dict[str, list[float]]:
    """nJ by layer, under several conventions."""
    rows = facts.rows[:-1]
    series = {
        "this hardware, 0.9 pJ per executed addition": [row.energy_nj for row in rows],
        "Eq. 19 at this image's rates": [row.paper_energy_nj for row in rows],
        "Eq. 19 at the published rates of 8-512": [
            each.energy_nj for each in published_operations(facts.network)],
        "dense accelerator, additions": [row.dense * PJ_PER_AC / 1000 for row in rows],
        "dense accelerator, multiply-accumulates": [row.dense * PJ_PER_MAC / 1000 for row in rows]}
    if facts.spikformer is not None:
        series["Spikformer, integer n is n additions"] = [
            each.spikes.energy_nj for each in facts.spikformer]
        series["Spikformer, integers multiply"] = [
            each.multiplied.energy_nj for each in facts.spikformer]
    return series


COLORS = (BLUE, GREEN, PURPLE, GREY, "#555555", ORANGE, RED)


def energy(facts: Facts) -> go.Figure:
    """Energy by layer, side by side."""
    series = energy_series(facts)
    return _bars(facts.names, {name: (values, color) for (name, values), color in
                               zip(series.items(), COLORS)}, "nJ", log=True, height=460)


def energy_totals(facts: Facts) -> go.Figure:
    """The sums of `energy`."""
    series = energy_series(facts)
    sums = {name: sum(values) for name, values in series.items()}
    bar = go.Bar(x=list(sums.values()), y=list(sums), orientation="h",
                 marker_color=COLORS[:len(sums)], texttemplate="%{x:,.0f} nJ", cliponaxis=False,
                 textposition="outside")
    return figure(bar, height=320, xaxis={"title": "nJ of an inference",
                                          "range": [0, 1.15 * max(sums.values())]},
                  yaxis={"autorange": "reversed", "automargin": True})


def accuracy(facts: Facts) -> go.Figure | None:
    """Accuracy against weight bits; None where nothing is known."""
    bits = sorted((each for each in facts.accuracy if each), reverse=True)
    if not bits:
        return None
    line = go.Scatter(name="integer model", x=bits, y=[100 * facts.accuracy[each] for each in bits],
                      mode="lines+markers+text", marker={"size": 10, "color": BLUE},
                      text=[f"{100 * facts.accuracy[each]:.2f}" for each in bits],
                      textposition="top left", cliponaxis=False)
    drawn = figure(line, height=320, xaxis={"title": "bits of a weight", "tickvals": bits},
                   yaxis={"title": "held-out images labelled right, %"})
    if 0 in facts.accuracy:
        drawn.add_hline(y=100 * facts.accuracy[0], line_dash="dash", line_color=GREY,
                        annotation_text=f"float {100 * facts.accuracy[0]:.2f}",
                        annotation_position="bottom right")
    return drawn
