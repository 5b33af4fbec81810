# SPDX-License-Identifier: Apache-2.0
"""Pictures of the hardware: `python -m hw.diagram DIR` draws its units and what they exchange.

The units are those that Amaranth elaborates (`hw.hierarchy`), so the picture cannot be out of date.
`floorplan` draws where place and route put them.
"""

import argparse
import io
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import networkx
from matplotlib import colormaps, rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from hw.accelerator import Accelerator
from hw.command import Outcome, Parser, doing, execute
from hw.compiler import Program, compile_model
from hw.hierarchy import Unit, hierarchy
from hw.model import FixedPointModel
from hw.options import add_hardware_options, add_model_argument, hardware

OUT = Path("build/diagram.svg")
FORMATS = (".svg", ".png", ".pdf")
# A value that more units than these read is told in words; lines to all of them hide the rest.
BROADCAST = 4
IN, OUT_OF = "in", "out"   # the sides of the unit whose inside is drawn
UNIT_DEPTH = 3   # names of a path that tell units apart in a floorplan
BOX, LINE, MEMORY = "#d6e6f2", "#44607a", "#f3e3c3"


@dataclass(frozen=True)
class Edge:
    """Everything that goes from one unit to another: bits of all ports, and their names there."""

    begin: str
    end: str
    width: int
    ports: tuple[str, ...]


def kind(name: str) -> str:
    """Units that differ in their number only are one: lane0, lane1, ... are lane*."""
    return re.sub(r"\d+$", "*", name)


def edges(unit: Unit) -> tuple[list[Edge], list[str]]:
    """What the picture of a unit has: its edges, and a line for each value that many units read."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    readers: dict[tuple[str, str], set[str]] = {}
    widths: dict[tuple[str, str], int] = {}
    for link in unit.streams:
        source = kind(link.begin[0]) or IN, link.begin[1]
        readers.setdefault(source, set()).add(kind(link.end[0]) or OUT_OF)
        widths[source] = max(widths.get(source, 0), link.width)
    shared = {source for source, units in readers.items() if len(units) > BROADCAST}
    for link in unit.streams:
        begin, end = kind(link.begin[0]) or IN, kind(link.end[0]) or OUT_OF
        if (begin, link.begin[1]) not in shared and begin != end:
            found.setdefault((begin, end), {})[link.end[1]] = link.width
    lines = [f"{port} ({widths[name, port]} bits) from {name} to {', '.join(sorted(units))}"
             for (name, port), units in readers.items() if (name, port) in shared]
    return [Edge(begin, end, sum(ports.values()), tuple(sorted(ports)))
            for (begin, end), ports in found.items()], lines


def columns(names: Iterable[str], drawn: Sequence[Edge]) -> dict[str, tuple[float, float]]:
    """A place for each unit: further right the more units data has passed since it came in."""
    graph = networkx.DiGraph((edge.begin, edge.end) for edge in drawn)
    graph.add_nodes_from(names)
    start = IN if IN in graph else next(iter(names))
    depth = dict.fromkeys(graph, 0) | networkx.single_source_shortest_path_length(graph, start)
    for name in graph:   # what nothing leads to stands before what it leads to
        if depth[name] == 0 and name != start:
            after = [depth[other] for other in graph.successors(name)]
            depth[name] = max(1, min(after, default=2) - 1)
    if OUT_OF in graph:
        depth[OUT_OF] = 1 + max(depth[name] for name in graph if name != OUT_OF)
    networkx.set_node_attributes(graph, depth, "column")
    placed = networkx.multipartite_layout(graph, subset_key="column")
    rows: Counter[int] = Counter()
    found = {}
    order = sorted(graph, key=lambda name: (depth[name], -placed[name][1]))
    sizes = Counter(depth.values())
    for name in order:
        column = depth[name]
        # Neighbouring columns are offset, so that long arrows do not run through boxes.
        found[name] = (2.6 * column, rows[column] * 1.5 - 0.75 * (sizes[column] - 1)
                       + 0.35 * (column % 2))
        rows[column] += 1
    return found


def blocks(design: Unit, title: str) -> Figure:
    """A picture of the design and, below, of each unit in it that has units inside."""
    panels = [(path, unit) for path, unit in design.walk()
              if len({kind(child.name) for child in unit.children}) > 1 and unit.streams
              and not any(name[-1:].isdigit() and not name.endswith("0") for name in path)]
    places = [columns([kind(child.name) for child in unit.children], edges(unit)[0])
              for _, unit in panels]
    heights = [2 + max(y for _, y in each.values()) - min(y for _, y in each.values())
               for each in places]
    figure = Figure(figsize=(13, 0.8 * sum(heights) + 1), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left")
    axes = figure.subplots(len(panels), 1, height_ratios=heights, squeeze=False)[:, 0]
    for (path, unit), place, area in zip(panels, places, axes, strict=True):
        _panel(area, ".".join(path) or design.name, unit, place)
    return figure


def _panel(area: Any, name: str, unit: Unit, place: Mapping[str, tuple[float, float]]) -> None:
    drawn, lines = edges(unit)
    count = Counter(kind(child.name) for child in unit.children)
    classes = {kind(child.name): child.kind for child in unit.children}
    for each, (x, y) in place.items():
        label = f"{each}\n{classes[each]}" if each in classes else each
        label += f" × {count[each]}" if count[each] > 1 else ""
        color = ("white" if each not in classes else
                 MEMORY if "memory" in each or "banks" in each else BOX)
        area.text(x, y, label, ha="center", va="center", fontsize=8, zorder=3, bbox={
            "boxstyle": "round,pad=0.45", "facecolor": color, "edgecolor": LINE})
    for edge in drawn:
        begin, end = place[edge.begin], place[edge.end]
        bend = 0.12 if begin[0] < end[0] else 0.28
        area.add_patch(FancyArrowPatch(
            begin, end, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>", mutation_scale=9,
            color=LINE, linewidth=0.8, shrinkA=24, shrinkB=24, zorder=1))
        middle = [(a + b) / 2 for a, b in zip(begin, end, strict=True)]
        shift = bend / 2
        # Rows count downwards, angles do not.
        area.text(middle[0] - shift * (end[1] - begin[1]), middle[1] + shift * (end[0] - begin[0]),
                  f"{edge.width}", fontsize=6.5, color=LINE, ha="center", va="center", zorder=2,
                  bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none"})
    area.set_title("\n".join([f"{name}: units, and bits from one to another", *lines]),
                   loc="left", fontsize=8)
    across, down = zip(*place.values(), strict=True)
    area.set_xlim(min(across) - 1.2, max(across) + 1.2)
    area.set_ylim(max(down) + 1, min(down) - 1)
    area.set_aspect("equal", adjustable="box", anchor="W")
    area.axis("off")


def owners(placed: Mapping[str, Sequence[Sequence[int]]]) -> dict[str, list[tuple[int, int]]]:
    """Tiles of a placed design by the unit that has most cells there, largest units first.

    placed: {module: [[x, y, cells], ...]}, as `hw.toolchains.nextpnr.placement` finds them
    """
    tiles: dict[tuple[int, int], Counter[str]] = {}
    for path, places in placed.items():
        unit = re.sub(r"\d+(?=\.|$)", "*", ".".join(path.split(".")[:UNIT_DEPTH])) or "top"
        for x, y, count in places:
            tiles.setdefault((x, y), Counter())[unit] += count
    owned: dict[str, list[tuple[int, int]]] = {}
    for place, cells in sorted(tiles.items()):
        owned.setdefault(cells.most_common(1)[0][0], []).append(place)
    return {unit: owned[unit] for unit in sorted(owned, key=lambda unit: -len(owned[unit]))}


def floorplan(placed: Mapping[str, Sequence[Sequence[int]]], title: str) -> Figure:
    """Tiles of a placed design, coloured by unit."""
    figure = Figure(figsize=(10, 7), layout="constrained")
    area = figure.subplots()
    colors = colormaps["tab20"].colors
    for number, (unit, places) in enumerate(owners(placed).items()):
        area.scatter(*zip(*places, strict=True), s=9, marker="s", linewidths=0,
                     color=colors[number % len(colors)], label=f"{unit} ({len(places)})")
    area.set(title=title, xlabel="column", ylabel="row", aspect="equal")
    area.invert_yaxis()
    area.legend(loc="upper left", bbox_to_anchor=(1.02, 1), fontsize=7, markerscale=2,
                title="unit (tiles)")
    return figure


def write(figure: Figure, target: Path | IO[bytes], suffix: str) -> None:
    """The picture in a format of `FORMATS`; the same bytes for the same figure."""
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})
    with rc_context({"svg.hashsalt": "spikeloom", "svg.fonttype": "none"}):
        figure.savefig(target, format=suffix.removeprefix("."), metadata=metadata, dpi=150)


def save(figure: Figure, path: Path) -> None:
    """Write a picture to a file, which appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    write(figure, partial, path.suffix)
    partial.replace(path)


def inline(figure: Figure) -> str:
    """The picture as an element of an HTML page."""
    text = io.BytesIO()
    write(figure, text, ".svg")
    return text.getvalue().decode().partition("<!DOCTYPE")[2].partition(">")[2].strip()


def of_program(program: Program) -> Figure:
    """The blocks of the accelerator of a program."""
    geometry = program.hardware.geometry
    design = hierarchy(Accelerator(program.hardware, program.memory), "accelerator")
    return blocks(design, f"{program.model.network.name or 'network'}: {geometry.lanes} lanes x "
                          f"{geometry.banks} banks")


def build_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m hw.diagram",
        description="Draw the units of the accelerator of a model, and the streams between them, "
                    "as they are elaborated.")
    add_model_argument(parser)
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE",
                        help=f"picture, {', '.join(FORMATS)} (default: %(default)s)")
    add_hardware_options(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    if arguments.out.suffix not in FORMATS:
        raise ValueError(f"--out must end in {', '.join(FORMATS)}, not {str(arguments.out)!r}")
    model = FixedPointModel.load(arguments.model)
    program = compile_model(model, hardware([model], arguments))
    with doing("elaborating and drawing"):
        save(of_program(program), arguments.out)
    print(f"wrote {arguments.out}")
    return Outcome({"picture": arguments.out})


if __name__ == "__main__":
    sys.exit(main())
