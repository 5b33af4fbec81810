# SPDX-License-Identifier: Apache-2.0
"""AC counts of every layer, measured in RTL simulation: `python -m sim.counts DIR`.

One row per layer: input density, additions, dense operations, cycles, use of the lanes, energy at
0.9 pJ per executed addition; beside them the paper's own convention (Eq. 18 and 19).  Below, by
kind: what the hardware executes, what the paper counts, and the memory traffic (`sim.executed`);
then the memory map (`hw.memory_map`).
"""

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hw.command import Outcome, Parser, execute, note
from hw.compiler import Program
from hw.memory_map import memory_map
from hw.options import describe
from quantize.energy import Operations, energy_nj, paper_counts
from sim.build import write_whole
from sim.executed import additions, executed_additions, lines, on_chip
from sim.load import add_arguments, load_inputs, load_program, surroundings
from sim.trace import Inference


@dataclass(frozen=True)
class Row:
    """Counts of one layer, means over the images.

    input_density: share of ones among the input bits, from the golden model
    acs:           additions that a spike (or a set bit) asked for, counted by the RTL
    executed:      of these, by the adders: what two positions share is added once (`hw.reuse`)
    events:        rows of weights that the lanes added
    dense:         additions without any sparsity, over all timesteps
    cycles:        counted by the RTL
    lane_use:      acs / (lanes x events that a lane adds per cycle x cycles)
    energy_nj:     0.9 pJ per executed addition
    paper_acs, paper_macs:  Eq. 18, firing rate x T x FLOPs; MACs in the encoder
    paper_energy_nj: Eq. 19
    """

    layer: str
    input_density: float
    acs: float
    executed: float
    events: float
    dense: float
    cycles: float
    lane_use: float
    energy_nj: float
    paper_acs: float
    paper_macs: float
    paper_energy_nj: float


def count(inferences: Sequence[Inference], golden: Sequence[Sequence[Any]],
          program: Program) -> list[Row]:
    """One row per layer and a last one, "total", as means over the inferences.

    golden: for each inference its list of `LayerResult`
    """
    images = len(inferences)
    geometry = program.hardware.geometry
    slots = geometry.lanes * geometry.slots
    rows = []
    for index, (plan, run) in enumerate(zip(program.plan.layers, inferences[0].layers,
                                            strict=True)):
        results = [each[index] for each in golden]
        acs, events, cycles = (sum(getattr(inference.layers[index], name)
                                   for inference in inferences) / images
                               for name in ("acs", "events", "cycles"))
        executed = executed_additions(plan, acs, events)
        density = sum(result.input_density for result in results) / images
        paper = paper_counts(run.layer, results)
        rows.append(Row(run.layer.name, density, acs, executed, events, results[0].dense, cycles,
                        acs / (slots * cycles) if cycles else 0.0, energy_nj(executed), paper.acs,
                        paper.macs, paper.energy_nj))
    return [*rows, total(rows, slots)]


def total(rows: Sequence[Row], slots: int) -> Row:
    """The sum of the rows; its density is weighted by dense operations."""
    def add(name: str) -> float:
        return sum(getattr(row, name) for row in rows)

    dense, cycles = add("dense"), add("cycles")
    density = sum(row.input_density * row.dense for row in rows) / dense if dense else 0.0
    return Row("total", density, add("acs"), add("executed"), add("events"), dense, cycles,
               add("acs") / (slots * cycles) if cycles else 0.0, add("energy_nj"),
               add("paper_acs"), add("paper_macs"), add("paper_energy_nj"))


HEADINGS = ("layer", "density", "AC", "executed/AC", "dense", "AC/dense", "cycles", "lane use",
            "energy nJ", "Eq. 18 AC", "MAC", "Eq. 19 nJ")


def table(rows: Sequence[Row]) -> str:
    """The rows as text, columns aligned, a rule above the total."""
    cells = [HEADINGS]
    for row in rows:
        share = row.acs / row.dense if row.dense else 0.0
        executed = row.executed / row.acs if row.acs else 1.0
        cells.append((row.layer, f"{row.input_density:.2%}", f"{row.acs:,.0f}", f"{executed:.1%}",
                      f"{row.dense:,.0f}", f"{share:.2%}", f"{row.cycles:,.0f}",
                      f"{row.lane_use:.1%}", f"{row.energy_nj:,.2f}", f"{row.paper_acs:,.0f}",
                      f"{row.paper_macs:,.0f}", f"{row.paper_energy_nj:,.2f}"))
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADINGS))]
    lines = ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                       for i, (cell, width) in enumerate(zip(row, widths))) for row in cells]
    rule = "-" * len(lines[0])
    return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def executed(program: Program, rows: Sequence[Row]) -> list[str]:
    """What the hardware does beside the paper's convention, as lines; rows without the total."""
    paper = [Operations(row.paper_acs, row.paper_macs) for row in rows]
    work = additions(program.model.network.layers(), [row.acs for row in rows],
                     [row.executed for row in rows], paper, program.model.network.timesteps)
    return lines(work, on_chip(program, [row.events for row in rows]))


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write the rows to `path`, which appears complete or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [each.name for each in fields(Row)]
    writer.writerow(names)
    writer.writerows([getattr(row, name) for name in names] for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.getvalue())


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim.counts",
        description="Count the additions of every layer in RTL simulation.")
    add_arguments(parser)
    parser.add_argument("--csv", type=Path, metavar="FILE",
                        help="file for the rows (default: build/counts/<name of DIR>.csv)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 if the RTL and the golden model differ; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    from sim.simulation import simulate  # which counts with this module

    program = load_program(arguments.model, arguments)
    inputs = load_inputs(arguments.model, program.model, arguments.samples)
    done = simulate(program, inputs, **surroundings(arguments))
    path = arguments.csv or Path("build/counts") / f"{arguments.model.resolve().name}.csv"
    write_csv(done.rows, path)
    plural = "" if len(done.inferences) == 1 else "s, means"
    print(f"counts of {len(done.inferences)} image{plural}: "
          f"{describe(program.model, program.hardware)}")
    print(table(done.rows))
    print("\n".join(executed(program, done.rows[:-1])))
    print("\n".join(memory_map(program).lines()))
    print("\n".join(done.comparison.lines()))
    note(f"wrote {path}")
    return Outcome(done.to_dict() | {"csv": path}, int(not done.comparison.equal))


if __name__ == "__main__":
    sys.exit(main())
