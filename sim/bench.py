# SPDX-License-Identifier: Apache-2.0
"""Every figure of the accelerator on its four workloads: `python -m sim.bench [NAME ...]`.

Simulates an inference of each network in RTL, compares every value with the golden model,
synthesizes the accelerator, and writes what came out to docs/bench/DATE-COMMIT.json and .md; with
`--against` beside an earlier result.  `python -m sim.bench scaling`: see `sim.scaling`.
"""

import argparse
import datetime
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hw.compiler import Program
from hw.core import TOP, adders, core_statistics
from hw.model import Samples
from hw.options import add_hardware_options
from hw.report import SynthesisError, hierarchy, multipliers
from sim import against, bench_page, scaling
from sim.bench_page import Benchmark
from sim.cases import BENCH, Case
from sim.generation import generate
from sim.load import fail
from sim.metrics import Result, Synthesis, check, layer_figures
from sim.report import check_page, write_tables
from sim.results import compile_case, run_case
from sim.run import SimulationError
from sim.toolchain import ToolError

DOCS = Path("docs")
JOURNALS = Path("build/bench")
BEGIN = "<!-- measured: python -m sim.bench -->"
PAGE = "performance.md"   # takes the table of the last complete run


def synthesize(verilog: str, mapped: bool) -> Synthesis:
    """What yosys counts in the accelerator; SynthesisError if it fails.

    mapped: to a 7 series device, which takes minutes, unless it has seen this text before
    """
    statistics = core_statistics(verilog, mapped)
    counts = adders(statistics["rtl"]), multipliers(statistics["rtl"])
    if "netlist" not in statistics:
        return Synthesis(*counts)
    usage = hierarchy(statistics["netlist"], TOP)[TOP]
    return Synthesis(*counts, usage.lut, usage.ff, usage.ramb36, usage.dsp,
                     statistics.get("seconds"))


def predict(program: Program, case: Case) -> tuple[int | None, list[int | None]]:
    """Cycles that the compiler predicts: of the inference, and of each layer."""
    try:
        from hw.cycles import predict_inference
        from quantize.sources import source_maps
    except ImportError:   # the cycle model is not there
        return None, [None] * len(program.plan.layers)
    from quantize.golden import GoldenModel

    image = Samples.load(case.sources[0].directory).inputs[0]
    predicted = predict_inference(program, source_maps(GoldenModel(program.model), image),
                                  case.around[0].latency)
    return predicted.cycles, [layer.cycles for layer in predicted.layers]


def measure(case: Case, mapped: bool, resume: bool, journals: Path) -> Result:
    """One case of one network.

    Raises ValueError, SimulationError, ToolError and SynthesisError as its steps do.
    """
    config = compile_case(case)[0].hardware   # makes the network, if it is missing
    program, verilog, generation = generate(case.sources[0], config)
    row, = run_case(case, resume, journals, [program])
    cycles, layers = predict(program, case)
    print(f"{case.name}: synthesis", flush=True)
    return Result(row, layer_figures(program, row, layers), synthesize(verilog, mapped),
                  asdict(generation), cycles)


def commit() -> str:
    """Of the working tree, with a "+" if it was changed; "unknown" without git."""
    try:
        name, changes = (subprocess.run(["git", *words], capture_output=True, text=True,
                                        check=True).stdout.strip()
                         for words in (("rev-parse", "--short", "HEAD"),
                                       ("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + "+" * bool(changes)


def given_options(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The hardware options of the command line, as words; they override those of the cases."""
    words: list[str] = []
    for name in _hardware_defaults():
        value = getattr(arguments, name)
        if value is not None:
            values = value if isinstance(value, list) else [] if value is True else [value]
            words += [f"--{name.replace('_', '-')}", *map(str, values)]
    return tuple(words)


def _hardware_defaults() -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    add_hardware_options(parser)
    return vars(parser.parse_args([]))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
                        help="go on after what an interrupted run has finished")
    parser.add_argument("--name", help="of the result (default: DATE-COMMIT, and the hardware "
                                       "options, if there are any)")
    parser.add_argument("--docs", type=Path, default=DOCS, metavar="DIR",
                        help=f"with {PAGE} and bench/ (default: %(default)s)")
    parser.add_argument("--journals", type=Path, default=JOURNALS, metavar="DIR",
                        help="records of finished layers (default: %(default)s)")
    add_hardware_options(parser)
    # What is not given leaves the hardware of the cases as it is.
    parser.set_defaults(**dict.fromkeys(_hardware_defaults()))
    return parser


def run(arguments: argparse.Namespace, words: list[str]) -> int:
    """Measure the cases; exit status 0, or 1 if something is wrong or worse.

    Raises ValueError and the errors of the tools.
    """
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
    command = " ".join(["python -m sim.bench", *words])
    benchmark = Benchmark(today, at, command, ())
    if path.is_file():
        benchmark = replace(bench_page.load(path), command=command)
    wrong = []
    for name in names:
        case = replace(BENCH[name], options=BENCH[name].options + given)
        result = measure(case, not arguments.no_synthesis, arguments.resume, arguments.journals)
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
    if complete and all(each.synthesis and each.synthesis.lut for each in benchmark.results):
        heading = f"{benchmark.date}, commit {benchmark.commit}, layer by layer in "
        write_tables(arguments.docs / PAGE, [
            f"{heading}[bench/{path.stem}.md](bench/{path.stem}.md).", "",
            *bench_page.figures_table(benchmark.results)], BEGIN)
    print(f"wrote {path} and {path.with_suffix('.md').name}")
    for sentence in wrong:
        print(f"error: {sentence}", file=sys.stderr)
    return int(bool(wrong))


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 for mismatches, a failing tool, or a figure that became worse; 2 for bad
    input.
    """
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["scaling"]:
        return scaling.main(words[1:])
    arguments = build_parser().parse_args(words)
    try:
        check_page(arguments.docs / PAGE, BEGIN)
        return run(arguments, words)
    except (SimulationError, SynthesisError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (ValueError, ToolError, OSError) as error:
        return fail(error)


if __name__ == "__main__":
    sys.exit(main())
