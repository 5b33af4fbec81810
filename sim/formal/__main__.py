# SPDX-License-Identifier: Apache-2.0
"""Prove the units: `python -m sim.formal [NAME ...] [--broken] [--list]`."""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from hw.command import Outcome, Parser, doing, execute
from sim.formal.engine import run
from sim.formal.harness import Proof
from sim.formal.proofs import ALL, named


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim.formal",
        description="Prove what the units promise, by induction or for the stated number of cycles "
                    "from reset.")
    parser.add_argument("names", nargs="*", metavar="NAME",
                        help="proofs, or the beginning of their names (default: all)")
    parser.add_argument("--broken", action="store_true",
                        help="besides, break each unit in the ways that its proof names: each must "
                             "make the proof fail")
    parser.add_argument("--list", action="store_true",
                        help="say what is proved, with --broken also what is broken; prove nothing")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if a proof fails, or does not fail for a broken copy; 2 for bad input."""
    return execute(build_parser(), run_proofs, argv)


def run_proofs(arguments: argparse.Namespace) -> Outcome:
    proofs = named(arguments.names) if arguments.names else ALL
    if arguments.list:
        wide = max(len(proof.name) for proof in proofs)
        for proof in proofs:
            print(f"{proof.name.ljust(wide)}  {proof.unit}: {proof.claim}")
            for change in proof.broken if arguments.broken else ():
                old, new = (" ".join(text.split()) for text in (change.old, change.new))
                print(f"{''.ljust(wide)}  broken: {old} -> {new}")
        return Outcome({"proofs": [{"name": proof.name, "unit": proof.unit, "claim": proof.claim}
                                   for proof in proofs]})
    with tempfile.TemporaryDirectory(prefix="formal-", dir=_scratch()) as folder:
        return prove(proofs, Path(folder), arguments.broken)


def _scratch() -> Path:
    # Not the system's folder: yosys, a WebAssembly program, has one of its own of that name.
    scratch = Path("build")
    scratch.mkdir(exist_ok=True)
    return scratch


def prove(proofs: Iterable[Proof], folder: Path, broken: bool) -> Outcome:
    """Run proofs, print a line for each; exit status 1 if one is not as it should be."""
    proofs, found = list(proofs), []
    wide = max(len(proof.name) for proof in proofs)
    failed, caught, changes, seconds = 0, 0, 0, 0.0
    for proof in proofs:
        with doing(proof.name):
            result = run(proof, folder / proof.name)
        found.append({"name": proof.name, "result": str(result), "seconds": result.seconds,
                      "failed": result.failed})
        seconds += result.seconds
        print(f"{proof.name.ljust(wide)}  {result}  ({result.seconds:.1f} s)", flush=True)
        if result.failed:
            failed += 1
            print(result.trace)
        for number, change in enumerate(proof.broken if broken else ()):
            with doing(f"{proof.name}, broken copy {number + 1}"):
                result = run(proof, folder / proof.name / str(number), change)
            seconds += result.seconds
            changes += 1
            caught += bool(result.failed)
            print(f"{''.ljust(wide)}  broken copy {number + 1}: "
                  + (f"caught in cycle {result.depth}: {', '.join(result.failed)}"
                     if result.failed else f"NOT CAUGHT: {change.old!r} -> {change.new!r}")
                  + f"  ({result.seconds:.1f} s)", flush=True)
    print(f"{len(proofs) - failed} of {len(proofs)} proofs went through"
          + f", {caught} of {changes} broken copies were caught" * broken
          + f", {seconds:.0f} s")
    return Outcome({"proofs": found, "broken_copies": changes, "caught": caught},
                   int(bool(failed) or caught < changes))


if __name__ == "__main__":
    sys.exit(main())
