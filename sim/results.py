# SPDX-License-Identifier: Apache-2.0
"""Whole inferences of paper-size networks in RTL: `python -m sim.results [NAME ...]`.

Each case is a row, or a few, of docs/results.md; its numbers are also written as JSON.  Missing
synthetic networks are made first.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hw.command import Outcome, Parser, execute, note
from hw.compiler import Program, compile_model
from hw.memory_map import memory_map
from hw.model import FixedPointModel, Samples
from hw.options import describe, hardware
from sim import result_rows
from sim.cases import CASES, Case, Source
from sim.measure import measure
from sim.run import SimulationError, Simulator

DOCS = Path("docs")
JOURNALS = Path("build/results")


def ensure(source: Source) -> None:
    """Make a missing synthetic network; ValueError if that fails or a trained one is missing."""
    if (source.directory / "manifest.json").is_file():
        return
    if isinstance(source.make, str):
        raise ValueError(f"{str(source.directory)!r} must hold a trained network, which "
                         f"`{source.make}` makes")
    from quantize import synthesize

    note(f"{source.directory}: making it, python -m quantize.synthesize {' '.join(source.make)}")
    if synthesize.main(list(source.make)):
        raise ValueError(f"{str(source.directory)!r} must be made, which failed")


def compile_case(case: Case) -> list[Program]:
    """The programs of a case on their common hardware.

    Raises ValueError for networks that are missing or do not fit.
    """
    for source in case.sources:
        ensure(source)
    models = [FixedPointModel.load(source.directory) for source in case.sources]
    config = hardware(models, case.hardware_options())
    if len(models) > 1 and not config.streamed:
        raise ValueError(f"the networks of {case.name} must stream their weights: on-chip "
                         "memories would hold those of one network")
    return [compile_model(model, config) for model in models]


def run_case(case: Case, resume: bool, journals: Path = JOURNALS,
             programs: Sequence[Program] = ()) -> list[result_rows.Row]:
    """Measure a case: one simulator, each network in each of the surroundings.

    programs: of `compile_case`, if they are there already

    Raises ValueError for networks that are missing or do not fit, SimulationError if the RTL hangs,
    ToolError if the simulator cannot be built.
    """
    programs = programs or compile_case(case)
    mapped = [memory_map(program) for program in programs]
    note(f"{case.name}: {describe(programs[0].model, programs[0].hardware)}", *mapped[0].lines())
    simulator = Simulator.build(programs[0], cocotb=False, preload=True)
    rows = []
    for source, program, each in zip(case.sources, programs, mapped, strict=True):
        image = Samples.load(source.directory).inputs[0]
        for number, around in enumerate(case.around):
            label = f"{case.name} {source.name}" if len(programs) > 1 else case.name
            if len(case.around) > 1:
                label += f", {around}"
            measured = measure(simulator.of(program), image, around.keywords(),
                               journals / case.name / f"{source.name}-{number}", resume, label)
            rows.append(result_rows.row(case, source.name, program, around, each, measured,
                                   simulator.build_seconds))
            print(f"{label}: {measured.wrong:,} mismatches in {measured.values:,} values, "
                  f"{measured.acs:,} AC, {rows[-1].layer_cycles:,} cycles, "
                  f"{measured.seconds:.1f} s", flush=True)
            for line in measured.shown[:10]:
                print(line)
    return rows


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim.results",
        description="Run whole inferences of paper-size networks in RTL, compare every value with "
                    "the golden model, and write the numbers into docs/results.md.")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help=f"{', '.join(CASES)} (default: all)")
    parser.add_argument("--resume", action="store_true",
                        help="go on after the last finished layer of an interrupted run")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR",
                        help="with results.md and results/NAME.json (default: %(default)s)")
    parser.add_argument("--journals", type=Path, default=JOURNALS, metavar="DIR",
                        help="records of finished layers (default: %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if the RTL hangs or differs from the golden model; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    unknown = [name for name in arguments.names if name not in CASES]
    if unknown:
        raise ValueError(f"NAME must be one of {', '.join(CASES)}, not {unknown[0]!r}")
    result_rows.check_page(arguments.docs / "results.md")
    status, found, errors = 0, {}, {}
    for name in arguments.names or CASES:
        try:
            rows = run_case(CASES[name], arguments.resume, arguments.journals)
        except SimulationError as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            errors[name] = str(error)
            status = 1
            continue
        found[name] = rows
        status = max(status, int(any(row.wrong for row in rows)))
        result_rows.save(rows, arguments.docs / "results" / f"{name}.json")
        paths = [arguments.docs / "results" / f"{name}.json" for name in CASES]
        result_rows.write_tables(arguments.docs / "results.md",
                                 result_rows.markdown(result_rows.load(
                                     path for path in paths if path.is_file())))
    return Outcome({"cases": found, "errors": errors}, status)


if __name__ == "__main__":
    sys.exit(main())
