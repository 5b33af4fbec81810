# SPDX-License-Identifier: Apache-2.0
"""Lines and branches of the Python that the test suite runs, by coverage.py.

Worker processes of pytest and commands that tests start count, too: pyproject.toml's
`[tool.coverage]` says how.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.toolchain import ToolError


@dataclass(frozen=True)
class Share:
    """Reached and all, of a module or of a package."""

    name: str
    lines: int
    all_lines: int
    branches: int
    all_branches: int

    @classmethod
    def of(cls, name: str, parts: Sequence["Share"]) -> "Share":
        """The sum of parts."""
        return cls(name, *(sum(getattr(part, field) for part in parts)
                           for field in ("lines", "all_lines", "branches", "all_branches")))

    @property
    def missing(self) -> int:
        return self.all_lines - self.lines + self.all_branches - self.branches


def run_tests(arguments: Sequence[str], folder: Path, workers: int = 1) -> bool:
    """Run pytest under coverage.py; whether all tests passed.

    arguments: of pytest
    folder:    afterwards holds `python.json` and the pages in `html`
    workers:   of pytest

    Raises ToolError if coverage.py is not installed or no data came.
    """
    if importlib.util.find_spec("coverage") is None:
        raise ToolError("coverage of the Python needs coverage.py, which is not installed: run "
                        "`pip install 'spikeloom[test]'`")
    folder.mkdir(parents=True, exist_ok=True)
    data = f"--data-file={folder.absolute() / 'data'}"
    for old in folder.glob("data*"):
        old.unlink()
    spread = ["-n", str(workers), "--dist", "loadfile"] if workers > 1 else []
    environment = {"OMP_NUM_THREADS": "1"} | os.environ
    tests = subprocess.run([sys.executable, "-m", "coverage", "run", data, "-m", "pytest",
                            *spread, *arguments], env=environment, check=False)
    for command in (("combine", "--quiet"), ("json", "--quiet", "-o", str(folder / "python.json")),
                    ("html", "--quiet", "-d", str(folder / "html"))):
        done = subprocess.run([sys.executable, "-m", "coverage", command[0], data, *command[1:]],
                              text=True, capture_output=True, check=False)
        if done.returncode:
            last = (done.stdout + done.stderr).strip().splitlines()[-1:]
            raise ToolError(f"coverage {command[0]} must find data of the tests, but failed with: "
                            f"{(last or ['no message'])[0]}")
    return tests.returncode == 0


def read_shares(path: Path) -> list[Share]:
    """Each module of a `python.json`, those with most unreached first."""
    files: Mapping[str, Any] = json.loads(path.read_text())["files"]
    shares = []
    for name, each in files.items():
        total = each["summary"]
        shares.append(Share(name, total["covered_lines"], total["num_statements"],
                            total.get("covered_branches", 0), total.get("num_branches", 0)))
    return sorted(shares, key=lambda share: (-share.missing, share.name))
