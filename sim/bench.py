# SPDX-License-Identifier: Apache-2.0
"""Every figure of the accelerator on its four workloads: `python -m sim.bench [NAME ...]`.

Simulates an inference of each network in RTL, compares every value with the golden model,
synthesizes the accelerator, and writes what came out to docs/bench/DATE-COMMIT.json and .md; with
`--against` beside an earlier result.  `python -m sim.bench scaling`: see `sim.scaling`.
"""

import argparse
import datetime
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hw.command import Outcome, Parser, execute, note
from hw.options import add_hardware_options
from sim import against, bench_page, scaling
from sim.bench_page import Benchmark
from sim.cases import BENCH
from sim.metrics import check
from sim.result_rows import check_page, write_tables
from sim.workload import commit, measure

DOCS = Path("docs")
BEGIN = "<!-- measured: python -m sim.bench -->"
PAGE = "performance.md"   # takes the table of the last complete run


def given_options(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The hardware options of the command line, as words; they override those of the cases."""
    words: list[str] = []
    for name in _hardware_defaults():
        value = getattr(arguments, name)
        if value is not None:
            values = value if isinstance(value, list) else [value]
            flag = "no-" * (value is False) + name.replace("_", "-")
            words += [f"--{flag}", *(str(each) for each in values if not isinstance(each, bool))]
    return tuple(words)


def _hardware_defaults() -> dict[str, Any]:
    parser = Parser()
    add_hardware_options(parser)
    return vars(parser.parse_args([]))


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim.bench",
        description="Measure cycles and where they go, lane use, LUTs, memory and times of the "
                    "accelerator on its workloads, and write them into docs/bench/.")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=f"{', '.join(BENCH)} (default: all), or scaling: curves over "
                             "additions per cycle and over networks")
    parser.add_argument("--no-synthesis", action="store_true",
                        help="do not map to a device: no LUTs, which take yosys minutes")
    parser.add_argument("--against", type=Path, metavar="FILE",
                        help="earlier result (.json), to compare with")
    parser.add_argument("--fail", type=against.limit, action="append", default=[],
                        metavar="METRIC[=PERCENT]",
                        help="with --against: exit status 1 if it became worse (by more than "
                             "that); may be given several times")
    parser.add_argument("--resume", action="store_true",
                        help="keep the cases that the result already has, of an interrupted run")
    parser.add_argument("--name", help="of the result (default: DATE-COMMIT, and the hardware "
                                       "options, if there are any)")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR",
                        help=f"with {PAGE} and bench/ (default: %(default)s)")
    add_hardware_options(parser)
    # What is not given leaves the hardware of the cases as it is.
    parser.set_defaults(**dict.fromkeys(_hardware_defaults()))
    return parser


def run(arguments: argparse.Namespace) -> Outcome:
    """Measure the cases; exit status 0, or 1 if something is wrong or worse.

    Raises ValueError and the errors of the tools.
    """
    check_page(arguments.docs / PAGE, BEGIN)
    names = arguments.names or list(BENCH)
    unknown = [name for name in names if name not in BENCH]
    if unknown:
        raise ValueError(f"NAME must be one of {', '.join(BENCH)}, scaling, not {unknown[0]!r}")
    if arguments.fail and arguments.against is None:
        raise ValueError("--fail needs --against, an earlier result to compare with")
    before = arguments.against and against.read_figures(arguments.against)
    given = given_options(arguments)
    today, at = datetime.date.today().isoformat(), commit()
    name = arguments.name or "-".join([today, at, *(word.lstrip("-") for word in given)])
    path = arguments.docs / "bench" / f"{name}.json"
    command = " ".join(["python -m sim.bench", *arguments.words])
    benchmark = Benchmark(today, at, command, ())
    if path.is_file():
        benchmark = replace(bench_page.load(path), command=command)
    wrong = []
    for name in names:
        if arguments.resume and name in benchmark.figures():
            continue
        case = replace(BENCH[name], options=BENCH[name].options + given)
        result = measure(case, not arguments.no_synthesis)
        wrong += check(result) + [f"{name}: {result.row.wrong:,} mismatches"] * bool(
            result.row.wrong)
        benchmark = benchmark.with_result(result)
        bench_page.save(benchmark, path)
    measured = tuple(each for each in benchmark.results if each.row.case in names)
    print("\n".join(bench_page.figures_table(measured)))
    if before is not None:
        changes = against.compare(before, {name: benchmark.figures()[name] for name in names})
        print("\n".join(["", *bench_page.change_table(changes)]))
        wrong += against.broken(changes, arguments.fail)
    complete = {each.row.case for each in benchmark.results} >= set(BENCH) and not given
    if complete and all(each.synthesis.lut for each in benchmark.results):
        heading = f"{benchmark.date}, commit {benchmark.commit}, layer by layer in "
        write_tables(arguments.docs / PAGE, [
            f"{heading}[bench/{path.stem}.md](bench/{path.stem}.md).", "",
            *bench_page.figures_table(benchmark.results)], BEGIN)
    note(f"wrote {path} and {path.with_suffix('.md').name}")
    for sentence in wrong:
        print(f"error: {sentence}", file=sys.stderr)
    return Outcome({"file": path, "figures": {name: benchmark.figures()[name] for name in names},
                    "errors": wrong}, int(bool(wrong)))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 for mismatches, a failing tool, or a figure that became worse; 2 for bad
    input.
    """
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["scaling"]:
        return scaling.main(words[1:])
    return execute(build_parser(), run, words)


if __name__ == "__main__":
    sys.exit(main())
