# SPDX-License-Identifier: Apache-2.0
"""Benchmark results as a JSON file and as Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hw.command import first_line
from sim.against import Change, change_rows
from sim.build import write_whole
from sim.metrics import METRICS, Result
from sim.peers import GOALS, NOTES, PEERS
from sim.result_rows import table

LAYER = ("layer", "density", "A", "executed", "share of A", "lane use", "cycles", "compute",
         "weight wait", "fill and drain", "idle", "predicted")


@dataclass(frozen=True)
class Benchmark:
    """What one run, or several on the same day and commit, measured.

    command: of the last run
    """

    date: str
    commit: str
    command: str
    results: tuple[Result, ...]

    def with_result(self, result: Result) -> "Benchmark":
        """The same with the result of a case added, or in the place of an older one."""
        names = [each.row.case for each in self.results]
        if result.row.case not in names:
            return replace(self, results=(*self.results, result))
        return replace(self, results=tuple(
            result if name == result.row.case else each
            for name, each in zip(names, self.results)))

    def figures(self) -> dict[str, Mapping[str, float]]:
        """Metrics by case."""
        return {each.row.case: each.to_dict()["metrics"] for each in self.results}


def save(benchmark: Benchmark, path: Path) -> None:
    """Write the JSON file and the Markdown page beside it."""
    values: dict[str, Any] = {name: getattr(benchmark, name)
                              for name in ("date", "commit", "command")}
    values["results"] = [each.to_dict() for each in benchmark.results]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(values, indent=1) + "\n")
    write_whole(path.with_suffix(".md"), "\n".join(page(benchmark)) + "\n")


def load(path: Path) -> Benchmark:
    """Read the JSON file; ValueError if it is none."""
    try:
        values = json.loads(path.read_text())
        results = tuple(Result.from_dict(each) for each in values.pop("results"))
        return Benchmark(**values, results=results)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} must be a result of python -m sim.bench of this version: "
                         f"{first_line(error)}") from None


def page(benchmark: Benchmark) -> list[str]:
    """Everything: all figures, then each case layer by layer."""
    lines = [f"# Benchmark of {benchmark.date}, commit {benchmark.commit}", "",
             f"    {benchmark.command}", "", *figures_table(benchmark.results), ""]
    for each in benchmark.results:
        lines += [f"## {each.row.case}", "", *layer_table(each), ""]
    return lines[:-1]


def figures_table(results: Sequence[Result]) -> list[str]:
    """A line for each metric, a column for each case, the goals of w1 and the peers; notes."""
    figures = [each.to_dict()["metrics"] for each in results]
    columns = [*figures, *GOALS.values(), *PEERS.values()]
    goals = [f"w1 {name}" for name in GOALS]
    rows = [(metric.title, *(metric.show(column.get(metric.key)) for column in columns))
            for metric in METRICS if any(metric.key in each for each in figures)]
    lines = right_aligned(("", *(each.row.case for each in results), *goals, *PEERS), rows)
    for each in results:
        kind = "synthetic" if each.row.synthetic else "trained"
        steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in each.generation.items()
                          if seconds is not None)
        lines.append("")
        lines.append(f"{each.row.case}: {each.row.network}, {kind}; {each.row.hardware}; "
                     f"{each.row.around}. Generation: {steps}.")
    return [*lines, *(line for note in NOTES for line in ("", note))]


def right_aligned(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, all columns but the first to the right, even with empty cells."""
    lines = table(heading, rows)
    return [lines[0], f"| --- |{' ---: |' * (len(heading) - 1)}", *lines[2:]]


def layer_table(result: Result) -> list[str]:
    """A line for each layer, where its cycles went, and the total."""
    rows = [(f"`{layer.name}`", f"{layer.density:.2%}", f"{layer.useful:,}",
             f"{layer.executed:,.0f}", f"{layer.share:.1%}", f"{layer.use:.1%}",
             f"{layer.cycles:,}", *(f"{layer.spent[name]:,}" for name in
                                    ("compute", "weight_wait", "fill_drain", "idle")),
             f"{layer.predicted:,}")
            for layer in result.layers]
    row, spent = result.row, result.row.spent
    rows.append(("inference, input and output included", f"{result.useful / row.dense:.2%}",
                 f"{result.useful:,}", f"{result.executed:,.0f}", "100.0%",
                 f"{result.useful / row.adders / row.span:.1%}", f"{row.span:,}",
                 *(f"{spent[name]:,}" for name in
                   ("compute", "weight_wait", "fill_drain", "idle")),
                 f"{result.predicted:,}"))
    return right_aligned(LAYER, rows)


def change_table(changes: Sequence[Change]) -> list[str]:
    """The figures beside earlier ones."""
    return right_aligned(("case", "figure", "before", "now", "now / before", ""),
                         change_rows(changes))
