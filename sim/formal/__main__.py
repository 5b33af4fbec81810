# SPDX-License-Identifier: Apache-2.0
"""Prove the units: `python -m sim.formal [NAME ...] [--broken] [--list]`."""

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from sim.formal.engine import run
from sim.formal.harness import Proof
from sim.formal.proofs import ALL, named
from sim.toolchain import ToolError


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 if a proof fails, or does not fail for a broken copy; 2 for bad input."""
    arguments = build_parser().parse_args(argv)
    try:
        proofs = named(arguments.names) if arguments.names else ALL
        if arguments.list:
            wide = max(len(proof.name) for proof in proofs)
            for proof in proofs:
                print(f"{proof.name.ljust(wide)}  {proof.unit}: {proof.claim}")
                for change in proof.broken if arguments.broken else ():
                    old, new = (" ".join(text.split()) for text in (change.old, change.new))
                    print(f"{''.ljust(wide)}  broken: {old} -> {new}")
            return 0
        with tempfile.TemporaryDirectory(prefix="formal-", dir=_scratch()) as folder:
            return prove(proofs, Path(folder), arguments.broken)
    except (ValueError, ToolError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _scratch() -> Path:
    # Not the system's folder: yosys, a WebAssembly program, has one of its own of that name.
    scratch = Path("build")
    scratch.mkdir(exist_ok=True)
    return scratch


def prove(proofs: Iterable[Proof], folder: Path, broken: bool) -> int:
    """Run proofs, print a line for each; the exit status."""
    proofs = list(proofs)
    wide = max(len(proof.name) for proof in proofs)
    failed, caught, changes, seconds = 0, 0, 0, 0.0
    for proof in proofs:
        result = run(proof, folder / proof.name)
        seconds += result.seconds
        print(f"{proof.name.ljust(wide)}  {result}  ({result.seconds:.1f} s)", flush=True)
        if result.failed:
            failed += 1
            print(result.trace)
        for number, change in enumerate(proof.broken if broken else ()):
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
    return int(bool(failed) or caught < changes)


if __name__ == "__main__":
    sys.exit(main())
