# SPDX-License-Identifier: Apache-2.0
"""What tests and simulations reach: `python -m sim.coverage [--python] [--verilog] [--functional]`.

Without a choice all three parts, which takes as long as the test suite and `make verify` together.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hw.command import Outcome, Parser, execute, progress_bar
from hw.options import positive
from sim import verify
from sim.build import write_whole
from sim.coverage.functional import (
    DIMENSIONS,
    Hits,
    measure,
    planned_crosses,
    planned_facts,
)
from sim.coverage.page import as_json, functional_lines, python_lines, verilog_lines
from sim.coverage.python import read_shares, run_tests
from sim.coverage.verilog import simulate
from sim.draw import draw

OUT = Path("build/coverage")
# Each takes a compiler with counting code a minute; few reach nearly all statements.  13 has pairs
# in layers of all kinds, in 48 heads fill an attention engine of 16 channels and each has a state,
# in 95 each of four engines fires: in the first seven the widest engines have channels that do not
# exist, or too few spikes.
COMBINATIONS = (*range(7), 13, 48, 95)
VALUES = 20_000


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim.coverage",
        description="Measure lines and branches of the Python, statements and bits of the "
                    "generated Verilog, and crosses of circumstances.")
    parser.add_argument("--python", action="store_true", help="run the tests under coverage.py")
    parser.add_argument("--verilog", action="store_true",
                        help="simulate random accelerators, counting statements and bits")
    parser.add_argument("--functional", action="store_true",
                        help="count the circumstances that random accelerators bring together")
    parser.add_argument("--seed", type=int, default=0, help="of the accelerators (default: 0)")
    parser.add_argument("--only", type=int, nargs="+", metavar="NUMBER",
                        help="these accelerators alone")
    parser.add_argument("--count", type=positive, metavar="N",
                        help=f"so many of them (default: {len(COMBINATIONS)} that count "
                             f"statements, {verify.COUNT} others)")
    parser.add_argument("--values", type=positive, default=VALUES, metavar="N",
                        help="to compare in each of them, about (default: %(default)s)")
    parser.add_argument("--workers", type=positive, default=2, metavar="N",
                        help="local processes for --functional and --python (default: %(default)s)")
    parser.add_argument("--verdicts", type=Path, metavar="FILE",
                        help="for --functional what `python -m sim.verify --out FILE` wrote, "
                             "instead of simulating")
    parser.add_argument("--planned", action="store_true",
                        help="for --functional simulate nothing: which bins the accelerators "
                             "would reach, in the crosses that this says")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR",
                        help="of report.txt, report.json and html (default: %(default)s)")
    parser.add_argument("--pytest", nargs=argparse.REMAINDER, default=[], metavar="ARGUMENT",
                        help="for --python: all that follows goes to pytest")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 if a test or a comparison failed; 2 for bad input or a missing tool."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    everything = not (arguments.python or arguments.verilog or arguments.functional)
    shares = simulated = hits = None
    passed, text = True, []
    numbers = _numbers(arguments, COMBINATIONS)
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.verilog or everything:
        simulated = simulate(arguments.seed, numbers, arguments.values)
        text += [*verilog_lines(simulated), ""]
    if arguments.functional or everything:
        hits, fine = _functional(arguments)
        passed &= fine
        text += [*functional_lines(hits), ""]
    if arguments.python or everything:
        passed &= run_tests(arguments.pytest, arguments.out, arguments.workers)
        shares = read_shares(arguments.out / "python.json")
        text += [*python_lines(shares), ""]
    found = as_json(shares, simulated, hits)
    write_whole(arguments.out / "report.txt", "\n".join(text))
    write_whole(arguments.out / "report.json", json.dumps(found, indent=1) + "\n")
    print("\n".join(text))
    print(f"wrote {arguments.out}")
    return Outcome(found, int(not passed))


def _numbers(arguments: argparse.Namespace, default: Sequence[int]) -> list[int]:
    numbers = arguments.only or list(range(arguments.count) if arguments.count else default)
    if arguments.seed < 0 or min(numbers) < 0:
        raise ValueError("--seed and --only must not be negative, not "
                         f"{min(arguments.seed, *numbers)!r}")
    return numbers


def _functional(arguments: argparse.Namespace) -> tuple[list[Hits], bool]:
    """The crosses of the combinations that passed, and whether all did."""
    if arguments.planned:
        draws = [draw(arguments.seed, number) for number in
                 progress_bar(_numbers(arguments, range(verify.COUNT)), unit="combination")]
        facts = [fact for drawn in draws
                 for fact in planned_facts(drawn.program, str(drawn.chosen["memory"]))]
        return measure(facts, planned_crosses()), True
    if arguments.verdicts is None:
        options = ["--seed", str(arguments.seed), "--values", str(arguments.values),
                   "--workers", str(arguments.workers),
                   "--only", *map(str, _numbers(arguments, range(verify.COUNT)))]
        verdicts = verify.verdicts_of(verify.build_parser().parse_args(options))
        return (measure(fact for each in verdicts if each.passed for fact in each.facts),
                all(each.passed for each in verdicts))
    return measure(read_facts(arguments.verdicts)), True


def read_facts(path: Path) -> list[Mapping[str, str]]:
    """Facts of the combinations that passed in a file of `python -m sim.verify --out`.

    Raises ValueError, one sentence, for any other file.
    """
    rule = f"verdicts must be what `python -m sim.verify --out` wrote, which {str(path)!r} is not"
    try:
        content: Any = json.loads(path.read_text())
        facts = [fact for each in content if not (each["wrong"] or each["shown"])
                 for fact in each["facts"]]
        if all(fact.keys() == DIMENSIONS.keys() for fact in facts):
            return facts
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(rule) from error
    raise ValueError(rule)


if __name__ == "__main__":
    sys.exit(main())
