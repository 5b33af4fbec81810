# SPDX-License-Identifier: Apache-2.0
"""The commands of the project and their parsers, read from the code.  Nothing here knows Sphinx."""

import argparse
import importlib
import re
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).parents[2]
PACKAGES = ("hw", "quantize", "sim", "boards")
HELP = re.compile(r"python -m (?P<name>[\w.]+) --help")
GUARD = 'if __name__ == "__main__":'


class _Captured(BaseException):
    """A parser was about to print its help; no error, so no `except Exception` takes it."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        super().__init__(parser.prog)
        self.parser = parser


def names() -> list[str]:
    """What can follow `python -m`, sorted: modules that act when run, and packages that do."""
    found = []
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            if GUARD in path.read_text().splitlines():
                parts = path.relative_to(ROOT).with_suffix("").parts
                found.append(".".join(parts[:-1] if parts[-1] == "__main__" else parts))
    return sorted(found)


def parser(name: str) -> argparse.ArgumentParser:
    """The parser whose help `python -m name --help` prints.

    The command itself is run up to the point where it prints, so it does not matter where it makes
    its parser.  ValueError for a command that prints no help.
    """
    package = (ROOT / Path(*name.split("."))).is_dir()
    module = importlib.import_module(f"{name}.__main__" if package else name)

    def capture(parser: argparse.ArgumentParser, file: object = None) -> None:
        raise _Captured(parser)

    with mock.patch.object(argparse.ArgumentParser, "print_help", capture):
        try:
            module.main(["--help"])
        except _Captured as captured:
            return captured.parser
    raise ValueError(f"python -m {name} must print its help for --help")


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of its subcommands by name; empty for most."""
    return {name: each for action in parser._actions
            if isinstance(action, argparse._SubParsersAction)
            for name, each in action.choices.items()}


def help_of(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    """Its help with default and the like filled in, as argparse prints it."""
    if not action.help:
        return ""
    values = {name: value for name, value in vars(action).items() if value is not argparse.SUPPRESS}
    return action.help % (values | {"prog": parser.prog})
