# SPDX-License-Identifier: Apache-2.0
"""Standard-cell libraries for the ASIC target, unpacked into a cache: `python -m
hw.toolchains.cells`.

Debian and Ubuntu package two libraries of Oklahoma State University with qflow.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hw.command import Outcome, Parser, execute
from hw.toolchains import packages

# Of two processes, 180 nm and 350 nm.
LIBRARIES = ("osu018", "osu035")
HOW = "make tools-asic unpacks them, and --liberty FILE names another library"


def cache_folder() -> Path:
    """Of the unpacked libraries, outside of any work tree."""
    return packages.cache_folder("asic")


def find_library(name: str = LIBRARIES[0]) -> Path | None:
    """The Liberty file of a library: the system's, else that of the cache, else None."""
    place = Path("usr/share/qflow/tech", name, f"{name}_stdcells.lib")
    found = (root / place for root in (Path("/"), cache_folder()))
    return next((path for path in found if path.is_file()), None)


def build_parser() -> Parser:
    return Parser(
        prog="python -m hw.toolchains.cells",
        description="Unpack standard-cell libraries for the ASIC target into a cache.")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if apt fails; 2 if something is missing."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    if not all(map(find_library, LIBRARIES)):
        packages.provide(", ".join(LIBRARIES), [f"qflow-tech-{name}" for name in LIBRARIES],
                         cache_folder())
    found = [*map(find_library, LIBRARIES)]
    print(f"the libraries are there: {', '.join(map(str, found))}")
    return Outcome({"libraries": found})


if __name__ == "__main__":
    sys.exit(main())
