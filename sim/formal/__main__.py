# SPDX-License-Identifier: Apache-2.0
"""Prove the units: `python -m sim.formal [NAME ...] [--broken] [--list]`."""

import argparse
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from hw.command import Outcome, Parser, execute, progress_bar, say
from hw.options import positive
from sim.formal.engine import Result, run
from sim.formal.harness import Break, Proof
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
    parser.add_argument("--workers", type=positive, default=1, metavar="N",
                        help="solvers at a time (default: %(default)s)")
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
        return prove(proofs, Path(folder), arguments.broken, arguments.workers)


def _scratch() -> Path:
    # Not the system's folder: yosys, a WebAssembly program, has one of its own of that name.
    scratch = Path("build")
    scratch.mkdir(exist_ok=True)
    return scratch


@contextmanager
def _solvers(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads, as what takes long are other programs; an error lets none begin that still waits."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def prove(proofs: Iterable[Proof], folder: Path, broken: bool, workers: int = 1) -> Outcome:
    """Run proofs, print a line for each in their order; exit status 1 if one fails.

    workers: solvers at a time
    """
    proofs = list(proofs)
    with _solvers(workers) as pool:
        # A proof, then its broken copies.
        waiting = [[(change, pool.submit(run, proof, folder / proof.name / str(number), change))
                    for number, change in enumerate([None, *(proof.broken if broken else ())])]
                   for proof in proofs]
        return _tell(proofs, waiting, broken)


def _tell(proofs: Sequence[Proof],
          waiting: Sequence[Sequence[tuple[Break | None, Future[Result]]]],
          broken: bool) -> Outcome:
    found: list[dict[str, object]] = []
    wide = max(len(proof.name) for proof in proofs)
    caught, changes, seconds = 0, 0, 0.0
    with progress_bar(total=sum(map(len, waiting)), unit="search") as bar:
        for proof, ((_, whole), *copies) in zip(proofs, waiting, strict=True):
            bar.set_description(proof.name)
            result = whole.result()
            bar.update()
            found.append({"name": proof.name, "result": str(result), "seconds": result.seconds,
                          "failed": result.failed})
            seconds += result.seconds
            say(f"{proof.name.ljust(wide)}  {result}  ({result.seconds:.1f} s)")
            if result.failed:
                say(result.trace)
            for number, (change, copy) in enumerate(copies, 1):
                result = copy.result()
                bar.update()
                seconds += result.seconds
                changes += 1
                caught += bool(result.failed)
                say(f"{''.ljust(wide)}  broken copy {number}: "
                    + (f"caught in cycle {result.depth}: {', '.join(result.failed)}"
                       if result.failed else f"NOT CAUGHT: {change.old!r} -> {change.new!r}")
                    + f"  ({result.seconds:.1f} s)")
    failed = sum(bool(each["failed"]) for each in found)
    print(f"{len(proofs) - failed} of {len(proofs)} proofs went through"
          + f", {caught} of {changes} broken copies were caught" * broken
          + f", {seconds:.0f} s of all solvers")
    return Outcome({"proofs": found, "broken_copies": changes, "caught": caught},
                   int(bool(failed) or caught < changes))


if __name__ == "__main__":
    sys.exit(main())
