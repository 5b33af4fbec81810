# SPDX-License-Identifier: Apache-2.0
"""Figures of the hardware: memories, resources, modules, critical path, the explorer's front."""

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go
from plotly.colors import qualitative

from hw.diagram import owners
from hw.families import ECP5, GOWIN, ICE40, XC7, Family
from sim.html_report.charts import BLUE, GREEN, GREY, ORANGE, RED, figure
from sim.html_report.facts import Facts

FAMILIES: Mapping[str, Family] = {"xc": XC7, "LF": ECP5, "GW": GOWIN, "iCE40": ICE40}


def memory(facts: Facts) -> go.Figure:
    """On-chip memories by purpose, areas as bits."""
    memories = facts.memory.memories
    names = [f"{each.name}, {each.count} x {each.entries:,} x {each.bits}" for each in memories]
    tree = go.Treemap(
        labels=["on chip", *names], parents=["", *(["on chip"] * len(memories))],
        values=[facts.memory.on_chip_bits, *(each.total for each in memories)],
        branchvalues="total", texttemplate="%{label}<br>%{value:,} bits",
        hovertemplate="%{label}<br>%{value:,} bits, %{percentRoot:.1%}<extra></extra>",
        marker={"colorscale": "Blues", "colors": [0, *(each.total for each in memories)]})
    return figure(tree, height=420)


def external(facts: Facts) -> go.Figure | None:
    """Regions of external memory by address; None with everything on chip."""
    if not facts.memory.regions:
        return None
    bars = [go.Bar(name=f"{each.name} (port {each.port})", y=["external memory"], x=[each.size],
                   base=[each.offset], orientation="h",
                   hovertemplate=f"{each.name}: {each.size:,} bytes at {each.offset:#x}"
                                 "<extra></extra>")
            for each in facts.memory.regions]
    return figure(*bars, height=200, barmode="overlay", xaxis={"title": "byte address"})


def resources(build: Mapping[str, Any]) -> go.Figure:
    """What the build uses of the device, in percent."""
    family = next((found for prefix, found in FAMILIES.items()
                   if build["part"].startswith(prefix)), XC7)
    shown = [(family.label(name), used, build["available"][name])
             for name, used in build["used"].items()]
    shares = [100 * used / limit if limit else 0 for _, used, limit in shown]
    bar = go.Bar(x=shares, y=[name for name, _, _ in shown], orientation="h", cliponaxis=False,
                 text=[f"{used:,g} of {limit:,g}" for _, used, limit in shown],
                 textposition="outside",
                 marker_color=[RED if share > 100 else BLUE for share in shares])
    drawn = figure(bar, height=300, yaxis={"autorange": "reversed"},
                   xaxis={"title": f"% of {build['part']}", "range": [0, max(115, *shares)]})
    drawn.add_vline(x=100, line_color=RED, line_dash="dash")
    return drawn


def modules(build: Mapping[str, Any]) -> go.Figure:
    """The hierarchy of the synthesized design, each module an area as large as its LUTs."""
    used = build["modules"]
    labels = [path.rpartition(".")[2] for path in used]
    parents = [path.rpartition(".")[0] for path in used]
    tree = go.Icicle(
        ids=list(used), labels=labels, parents=parents,
        values=[each["lut"] for each in used.values()], branchvalues="total",
        customdata=[(each["ff"], each.get("ram", each.get("ramb36", 0))) for each in used.values()],
        texttemplate="%{label}<br>%{value:,} LUT",
        hovertemplate="%{id}<br>%{value:,} LUT, %{customdata[0]:,} FF, %{customdata[1]} block RAM"
                      "<extra></extra>",
        tiling={"orientation": "h"}, marker={"colorscale": "Teal"})
    return figure(tree, height=620)


def critical_path(build: Mapping[str, Any]) -> go.Figure | None:
    """Nanoseconds of the slowest path, step by step; None where nothing was placed."""
    timing = build.get("timing")
    if not timing or not timing["path"]:
        return None
    colors = {"logic": BLUE, "routing": ORANGE}
    steps, bars, start = timing["path"], [], 0.0
    for number, step in enumerate(steps):
        bars.append((number, start, step))
        start += step["delay_ns"]
    drawn = figure(height=max(260, 16 * len(steps)), barmode="overlay",
                   xaxis={"title": "ns"}, yaxis={"autorange": "reversed", "automargin": True})
    for what in dict.fromkeys(step["what"] for step in steps):
        mine = [bar for bar in bars if bar[2]["what"] == what]
        drawn.add_trace(go.Bar(
            name=what, orientation="h", base=[begin for _, begin, _ in mine],
            x=[step["delay_ns"] for _, _, step in mine],
            y=[f"{number} {step['module'] or 'top'}" for number, _, step in mine],
            customdata=[step["cell"] for _, _, step in mine],
            hovertemplate="%{customdata}<br>%{x:.2f} ns<extra></extra>",
            marker_color=colors.get(what, GREY)))
    drawn.add_vline(x=1e3 / timing["target_mhz"], line_dash="dash", line_color=RED,
                    annotation_text=f"{timing['target_mhz']:g} MHz")
    return drawn


def floorplan(build: Mapping[str, Any]) -> go.Figure | None:
    """Tiles of a placed design, coloured by the unit that has most cells there; None without."""
    placed = build.get("floorplan")
    if not placed:
        return None
    owned = owners(placed)
    marks = [go.Scatter(name=unit, mode="markers", x=[x for x, _ in owned[unit]],
                        y=[y for _, y in owned[unit]], marker={"symbol": "square", "size": 5},
                        hovertemplate=f"{unit} at X%{{x}} Y%{{y}}<extra></extra>")
             for unit in owned]
    drawn = figure(*marks, height=700, colorway=qualitative.Dark24,
                   xaxis={"title": "column", "constrain": "domain"},
                   yaxis={"title": "row", "autorange": "reversed", "scaleanchor": "x"})
    drawn.update_layout(legend={"orientation": "v", "x": 1.02, "y": 1, "itemsizing": "constant"})
    return drawn


def front(explored: Mapping[str, Any]) -> go.Figure:
    """Cycles against LUTs: all that was evaluated, the front, the choice."""
    def trace(points: list[Mapping[str, Any]], name: str, **more: Any) -> go.Scatter:
        return go.Scatter(name=name, x=[each["lut"] for each in points],
                          y=[each["cycles"] for each in points],
                          text=[each["flags"] for each in points],
                          hovertemplate="%{text}<br>%{x:,.0f} LUT, %{y:,.0f} cycles"
                                        "<extra></extra>", **more)
    points = explored["points"]
    best = sorted((each for each in points if each["front"]), key=lambda each: each["lut"])
    chosen = [each for each in points if each["chosen"]]
    return figure(
        trace(points, "evaluated", mode="markers", marker={"color": GREY, "size": 4}),
        trace(best, "front", mode="lines+markers", line={"shape": "hv", "color": BLUE}),
        trace(chosen, "chosen", mode="markers",
              marker={"symbol": "star", "size": 16, "color": GREEN}),
        height=460, xaxis={"title": "LUTs (area model)", "type": "log"},
        yaxis={"title": "cycles of an inference (cycle model)", "type": "log"})
