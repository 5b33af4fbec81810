# SPDX-License-Identifier: Apache-2.0
"""Facts to one HTML file that needs nothing else: plotly's script is inside."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from hw.diagram import inline, of_program
from hw.options import describe, weight_count
from quantize.energy import (
    LOGGED,
    PJ_PER_AC,
    PJ_PER_MAC,
    TABLE_1,
    TABLE_1_ROUNDING,
    Operations,
    branch_rates,
    logged_operations,
    multiplied_operations,
    total,
)
from quantize.models import find
from quantize.rates import measured
from sim.counts import executed
from sim.html_report import charts, maps, silicon
from sim.html_report.facts import Facts, published_operations


@dataclass(frozen=True)
class Cell:
    """What a table shows, and what it is sorted by."""

    text: str
    key: float | str


def number(value: float, text: str = "{:,.0f}") -> Cell:
    return Cell(text.format(value), float(value))


HEADINGS = ("layer", "kind", "output", "input density", "firing rate", "AC", "dense", "AC / dense",
            "cycles", "lane use", "energy nJ", "Eq. 19 nJ", "published rates nJ", "dense add nJ",
            "Spikformer nJ")


def layer_cells(facts: Facts) -> Iterator[list[Cell]]:
    """A row of the table for each layer, and one for the whole."""
    published = published_operations(facts.network)
    nothing = Cell("", -1.0)
    others = ([each.spikes.energy_nj for each in facts.spikformer] if facts.spikformer is not None
              else [None] * len(published))
    shares = [None if run.spikes is None else float(np.mean(run.spikes))
              for run in facts.inference.layers]
    whole = (total(published).energy_nj, None, None if None in others else sum(others))
    beside = [(each.energy_nj, share, other)
              for each, share, other in zip(published, shares, others)]
    for row, layer, (rated, share, other) in zip(facts.rows, [*facts.layers, None],
                                                 [*beside, whole]):
        yield [Cell(row.layer, row.layer), Cell(layer.kind.value, layer.kind.value) if layer else
               Cell("", ""), Cell(charts.shape(layer), layer.out_channels * layer.positions)
               if layer else nothing, number(row.input_density, "{:.2%}"),
               nothing if share is None else number(share, "{:.2%}"), number(row.acs),
               number(row.dense), number(row.acs / row.dense if row.dense else 0, "{:.2%}"),
               number(row.cycles), number(row.lane_use, "{:.1%}"),
               number(row.energy_nj, "{:,.2f}"), number(row.paper_energy_nj, "{:,.2f}"),
               number(rated, "{:,.2f}"), number(row.dense * PJ_PER_AC / 1000, "{:,.2f}"),
               nothing if other is None else number(other, "{:,.2f}")]


def paper_table() -> list[dict[str, Any]]:
    """Table 1 of the paper: its operations, the MACs that follow from the shapes, both energies."""
    rows = []
    for name, (acs, paper) in TABLE_1.items():
        each = Operations(acs * 1e9, multiplied_operations(find(name).network))
        rows.append({"name": name, "acs": acs, "macs": each.macs / 1e9, "energy": each.energy_mj,
                     "paper": paper, "same": abs(each.energy_mj - paper) <= TABLE_1_ROUNDING})
    return rows


def paper_groups() -> list[tuple[str, Operations]]:
    """Operations of 8-512 by group of layers, from the authors' counts."""
    groups = logged_operations(measured(), branch_rates(), find("imagenet-8-512").network)
    return [*groups.items(), ("total", total(groups.values()))]


def figures(facts: Facts) -> dict[str, str]:
    """HTML of each figure that there is data for, by its name in the template."""
    drawn: dict[str, go.Figure | None] = {
        name: getattr(charts, name)(facts)
        for name in ("network", "rates", "operations", "cycles", "lane_use", "energy",
                     "energy_totals", "accuracy")}
    drawn |= {"residual": maps.residual(facts), "memory": silicon.memory(facts),
              "external": silicon.external(facts)}
    if facts.build is not None:
        of_build: Mapping[str, Callable[[Any], go.Figure | None]] = {
            "resources": silicon.resources, "modules": silicon.modules,
            "critical_path": silicon.critical_path,
            "floorplan": silicon.floorplan}
        drawn |= {name: draw(facts.build) for name, draw in of_build.items()}
    if facts.explored is not None:
        drawn["front"] = silicon.front(facts.explored)
    html = {name: each.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure-{name}",
                               config={"displaylogo": False, "responsive": True})
            for name, each in drawn.items() if each is not None}
    html["blocks"] = f'<div id="figure-blocks">{inline(of_program(facts.program))}</div>'
    return html


def encoder_share(groups: Sequence[tuple[str, Operations]]) -> float:
    """Share of the authors' energy of 8-512 that is the encoder's, counted in every timestep."""
    by_name = dict(groups)
    return by_name["encoder"].energy_nj / by_name["total"].energy_nj


def render(facts: Facts) -> str:
    """The page."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("sim", "templates"),
                                     autoescape=True, trim_blocks=True, lstrip_blocks=True,
                                     undefined=jinja2.StrictUndefined)
    program, groups = facts.program, paper_groups()
    *_, whole = facts.rows
    return environment.get_template("report.html").render(
        name=facts.network.name or "network", network=facts.network,
        weights=weight_count(program.model), bits=program.model.weight_bits,
        hardware=describe(program.model, program.hardware), plotly=get_plotlyjs(),
        label=facts.label, predicted=int(np.argmax(facts.inference.logits)),
        cycles=facts.inference.cycles, comparison=facts.comparison, total=whole,
        headings=HEADINGS, cells=list(layer_cells(facts)), figures=figures(facts),
        build=facts.build, timing=(facts.build or {}).get("timing"), table_1=paper_table(),
        rounding=TABLE_1_ROUNDING, groups=groups, logged=LOGGED["imagenet-8-512"],
        encoder_share=encoder_share(groups), pj_add=PJ_PER_AC, pj_mac=PJ_PER_MAC,
        padding=1 - _in_bounds(facts), executed="\n".join(executed(program, facts.rows[:-1])),
        viewer=_script({"layers": maps.viewer(facts), "image": maps.picture(facts)}))


def _in_bounds(facts: Facts) -> float:
    """ACs that this hardware counts of those of Eq. 18, the encoder left out of both."""
    rows = [row for row in facts.rows[:-1] if row.paper_acs]
    paper = sum(row.paper_acs for row in rows)
    return sum(row.acs for row in rows) / paper if paper else 1.0


def _script(value: Any) -> str:
    """JSON that may stand inside of a script element."""
    return json.dumps(value).replace("</", "<\\/")
