# SPDX-License-Identifier: Apache-2.0
"""What all commands share: `--quiet` and `--json`, progress, and errors of one sentence.

A command is a parser and a function of its arguments:

    def main(argv: list[str] | None = None) -> int:
        return execute(build_parser(), run, argv)

`run` prints its result, tells what else happens with `note`, shows what takes long with
`progress_bar` or `doing`, and returns an `Outcome`.  It raises ValueError, OSError or ImportError
for bad input, and a `CommandError` where something else failed.  A reader who has seen enough, as
in `| head -1`, ends a command as SIGPIPE would: silently, with status 141.
"""

import argparse
import contextlib
import io
import json
import os
import select
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from tqdm import tqdm

BAD_INPUT, INTERRUPTED, UNREAD = 2, 130, 141
TICK_SECONDS = 1.0
_quiet = False


class CommandError(RuntimeError):
    """The input was good, but something failed; one sentence, and the exit status.

    result: what was found all the same, for `--json`
    """

    status = 1

    def __init__(self, text: str, result: Mapping[str, Any] | None = None) -> None:
        super().__init__(text)
        self.result = result or {}


@dataclass(frozen=True)
class Outcome:
    """What a command found, for `--json`, and its exit status."""

    result: Mapping[str, Any] = field(default_factory=dict)
    status: int = 0


class Parser(argparse.ArgumentParser):
    """With the options of all commands; a bad argument gives one sentence and exit status 2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        group = self.add_argument_group("output")
        # Without default: one of a subcommand would overwrite what was given before it.
        group.add_argument("--quiet", action="store_true", default=argparse.SUPPRESS,
                           help="the result only: no progress, no remarks")
        group.add_argument("--json", action="store_true", default=argparse.SUPPRESS,
                           help="the result as one JSON document, and nothing else on the "
                                "standard output")

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; {self.prog} --help lists what there is")


def execute(parser: Parser, run: Callable[[argparse.Namespace], Outcome],
            argv: Sequence[str] | None = None) -> int:
    """Parse and run; the exit status: 0, 1 if something failed, 2 for bad input.

    `words` of the arguments are the command line without `--quiet` and `--json`.
    """
    try:
        try:
            return _execute(parser, run, [*(sys.argv[1:] if argv is None else argv)])
        finally:   # --help leaves by SystemExit
            print(end="", flush=True)
    except BrokenPipeError:
        # What is still in the buffer would be tried again, and complained about, at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return UNREAD


def _execute(parser: Parser, run: Callable[[argparse.Namespace], Outcome],
             given: list[str]) -> int:
    global _quiet
    wants_json, quiet_before = "--json" in given, _quiet
    document = {"command": parser.prog.removeprefix("python -m ")}
    try:
        arguments = parser.parse_args(given)
        arguments.words = [word for word in given if word not in ("--quiet", "--json")]
        wants_json = getattr(arguments, "json", False)
        _quiet = getattr(arguments, "quiet", False)
        with contextlib.redirect_stdout(io.StringIO() if wants_json else sys.stdout):
            outcome = run(arguments)
    except KeyboardInterrupt as stop:   # what it carries says how to go on
        outcome = _failed("; ".join(["interrupted", *map(str, stop.args)]), INTERRUPTED)
    except CommandError as error:
        outcome = _failed(str(error), error.status, error.result)
    except (ValueError, OSError, ImportError) as error:
        if isinstance(error, BrokenPipeError) and _unread():
            raise
        outcome = _failed(sentence(error), BAD_INPUT)
    finally:
        _quiet = quiet_before
    if wants_json:
        print(json.dumps(document | {"status": outcome.status, **outcome.result}, indent=1,
                         default=_plain))
    return outcome.status


def _unread() -> bool:
    """Whether the standard output is a pipe that nobody reads any more; a broken pipe may also be
    one to a program of ours that died.
    """
    poll = select.poll()
    try:
        poll.register(sys.stdout, 0)   # errors are told without being asked for
    except ValueError:   # no file, in a notebook for example
        return False
    return bool(poll.poll(0))


def _failed(text: str, status: int, result: Mapping[str, Any] | None = None) -> Outcome:
    print(f"error: {text}", file=sys.stderr)
    return Outcome({"error": text, **(result or {})}, status)


def sentence(error: Exception) -> str:
    """What was wrong with the input; of the system's errors, with the file and no number."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{str(error.filename)!r} cannot be used: {error.strerror.lower()}"
    return str(error)


def first_line(error: Exception) -> str:
    """Of a message that others wrote, without its full stop."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def note(*lines: str) -> None:
    """Remarks that are no result: silent with `--quiet`."""
    if lines and not _quiet:
        say(*lines)


def say(*lines: str) -> None:
    """Results that come while a progress bar is shown."""
    tqdm.write("\n".join(lines), file=sys.stdout)   # keeps clear of the bars
    sys.stdout.flush()


def progress_bar(items: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """A progress bar; none with `--quiet`, nor where the standard error is no terminal."""
    return tqdm(items, **{"disable": None, **options, **({"disable": True} if _quiet else {})})


@contextlib.contextmanager
def doing(what: str) -> Iterator[None]:
    """Say what is under way, with its seconds, while a step runs whose length is not known."""
    over = threading.Event()
    with progress_bar(desc=what, bar_format="{desc} {elapsed}", leave=False) as bar:
        def tick() -> None:
            while not over.wait(TICK_SECONDS):
                bar.refresh()

        thread = threading.Thread(target=tick, daemon=True)
        if not bar.disable:
            thread.start()
        try:
            yield
        finally:
            over.set()
            if thread.is_alive():
                thread.join()


def _plain(value: Any) -> Any:
    """For JSON: what results consist of besides numbers, text, lists and mappings."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a result")
