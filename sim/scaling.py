# SPDX-License-Identifier: Apache-2.0
"""How cycles, LUTs and times grow: `python -m sim.bench scaling [CURVE ...]`.

Two curves over the additions per cycle, 16 to 1,024, and one over networks on the same hardware.
Points are kept in docs/bench/scaling.json as they are finished, and not measured again until
hardware or network change; docs/bench/scaling.md has the table, scaling.svg the plots.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hw.command import Outcome, Parser, execute, first_line, progress_bar
from hw.generate import accelerator_verilog
from hw.options import positive
from sim import scaling_plot
from sim.bench_page import right_aligned
from sim.build import content_hash, write_whole
from sim.cases import DIGITS, ENGINE, FASHION, IMAGENET_MEMORY, Case, Source, bench, synthetic
from sim.metrics import BY_KEY, check
from sim.results import compile_case, ensure
from sim.workload import commit, measure

DOCS = Path("docs")
# Lanes and banks (of two ports): 16 to 1,024 additions per cycle.  A word of spikes must hold a
# pixel, and there are at least as many lanes: RGB starts at 64.
GEOMETRIES = ((8, 1), (16, 1), (16, 2), (32, 2), (64, 2), (64, 4), (128, 4))
RGB_GEOMETRIES = ((32, 1), *GEOMETRIES[3:])


def _adders(source: Source, geometries: Sequence[tuple[int, int]]) -> tuple[Case, ...]:
    return tuple(bench(f"{source.name} {lanes}x{banks}", source,
                       ("--lanes", str(lanes), "--banks", str(banks), "--port-bits", "128"))
                 for lanes, banks in geometries)


CURVES: Mapping[str, tuple[Case, ...]] = MappingProxyType({
    "fashion": _adders(FASHION, GEOMETRIES),
    "w1": _adders(synthetic("cifar10-4-256"), RGB_GEOMETRIES),
    "networks": tuple(bench(source.name, source, options) for source, options in (
        (DIGITS, ENGINE), (FASHION, ENGINE), (synthetic("cifar10-4-256"), ENGINE),
        (synthetic("cifar10-2-384"), ENGINE), (synthetic("cifar10-4-384"), ENGINE),
        (synthetic("imagenet-8-512"), (*ENGINE, *IMAGENET_MEMORY)))),
})
SHOWN = ("adders", "weights", "useful", "density", "cycles", "use", "compute", "weight_wait",
         "fill_drain", "idle", "lut", "ramb36", "efficiency", "synthesis_seconds",
         "build_seconds", "simulator_speed")
PARTS = ("compute", "weight_wait", "fill_drain", "idle")


@dataclass(frozen=True)
class Point:
    """One network on one hardware.

    key:     hash of all that shapes the figures
    figures: by the keys of `sim.metrics.METRICS`
    """

    curve: str
    case: str
    key: str
    commit: str
    figures: dict[str, float]


def point_key(case: Case) -> str:
    """Hash of the hardware as Verilog, its options and the network."""
    program, = compile_case(case)
    manifest = (case.sources[0].directory / "manifest.json").read_text()
    return content_hash([accelerator_verilog(program), *case.options, manifest])


def read_points(path: Path) -> list[Point]:
    """The points of a file, none if there is no file; ValueError if it is another one."""
    if not path.is_file():
        return []
    try:
        return [Point(**values) for values in json.loads(path.read_text())["points"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} must be a result of python -m sim.bench scaling: "
                         f"{first_line(error)}") from None


def measure_point(curve: str, case: Case, mapped: bool) -> tuple[Point, list[str]]:
    """A point, and what is wrong with it."""
    result = measure(case, mapped)
    wrong = check(result)
    if result.row.wrong:
        wrong.append(f"{case.name}: {result.row.wrong:,} mismatches")
    figures: dict[str, Any] = result.to_dict()["metrics"]
    return Point(curve, case.name, point_key(case), commit(), figures), wrong


def save(points: Sequence[Point], docs: Path) -> None:
    """Write JSON and Markdown."""
    folder = docs / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    values = [{name: getattr(point, name) for name in Point.__dataclass_fields__}
              for point in points]
    write_whole(folder / "scaling.json", json.dumps({"points": values}, indent=1) + "\n")
    write_whole(folder / "scaling.md", "\n".join(page(points)) + "\n")


def in_order(points: Iterable[Point]) -> list[Point]:
    """The points sorted as `CURVES` is, without those that are of no curve any more."""
    order = [(curve, case.name) for curve, cases in CURVES.items() for case in cases]
    return sorted((point for point in points if (point.curve, point.case) in order),
                  key=lambda point: order.index((point.curve, point.case)))


def page(points: Sequence[Point]) -> list[str]:
    """The tables, one for each curve."""
    lines = ["# Scaling", "", "    python -m sim.bench scaling", "", "![curves](scaling.svg)", ""]
    shown = [BY_KEY[key] for key in SHOWN]
    for curve in CURVES:
        rows = []
        for point in points:
            if point.curve == curve:
                cycles = point.figures["cycles"]
                rows.append((point.case, *(
                    f"{point.figures[each.key] / cycles:.1%}" if each.key in PARTS else
                    each.show(point.figures.get(each.key)) for each in shown), point.commit))
        if rows:
            lines += [f"## {curve}", "", *right_aligned(
                ("", *(each.title for each in shown), "commit"), rows), ""]
    return lines[:-1]


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim.bench scaling",
        description="Measure curves over additions per cycle and over networks; points that are "
                    "there already stay.")
    parser.add_argument("curves", nargs="*", metavar="CURVE",
                        help=f"{', '.join(CURVES)} (default: all)")
    parser.add_argument("--most", type=positive, metavar="N",
                        help="leave out hardware of more than N additions per cycle")
    parser.add_argument("--no-synthesis", action="store_true", help="no LUTs")
    parser.add_argument("--again", action="store_true", help="measure every point anew")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR",
                        help="with bench/ (default: %(default)s)")
    return parser


def run(arguments: argparse.Namespace) -> Outcome:
    """Measure what is missing; exit status 0, or 1 if something is wrong.  Raises as its steps."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ValueError("scaling needs matplotlib, which `pip install -e .[test]` brings")
    unknown = [name for name in arguments.curves if name not in CURVES]
    if unknown:
        raise ValueError(f"CURVE must be one of {', '.join(CURVES)}, not {unknown[0]!r}")
    points = {(point.curve, point.case): point
              for point in read_points(arguments.docs / "bench" / "scaling.json")}
    wanted = [(curve, case) for curve in arguments.curves or CURVES for case in CURVES[curve]
              if arguments.most is None or adders(case) <= arguments.most]
    complaints = []
    for curve, case in progress_bar(wanted, unit="point", desc="scaling"):
        ensure(case.sources[0])
        old = points.get((curve, case.name))
        done = old is not None and old.key == point_key(case) and (
            arguments.no_synthesis or "lut" in old.figures)
        if done and not arguments.again:
            continue
        point, wrong = measure_point(curve, case, not arguments.no_synthesis)
        complaints += wrong
        points[curve, case.name] = point
        save(in_order(points.values()), arguments.docs)
    measured = in_order(points.values())
    save(measured, arguments.docs)
    curves = {curve: [point.figures for point in measured if point.curve == curve]
              for curve in CURVES}
    scaling_plot.draw({name: found for name, found in curves.items() if found},
                      arguments.docs / "bench" / "scaling.svg")
    print("\n".join(page(measured)))
    for sentence in complaints:
        print(f"error: {sentence}", file=sys.stderr)
    return Outcome({"points": measured, "errors": complaints},
                   int(bool(complaints)))


def adders(case: Case) -> int:
    """Additions per cycle that the options of a case ask for, with banks of two ports."""
    options = case.hardware_options()
    return options.lanes * options.banks * 2


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 for mismatches or a failing tool; 2 for bad input."""
    return execute(build_parser(), run, argv)
