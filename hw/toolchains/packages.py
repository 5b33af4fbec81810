# SPDX-License-Identifier: Apache-2.0
"""Packages of Debian or Ubuntu unpacked into a cache, not installed: no root, nothing else changes.

For what has no wheel on PyPI; the system's own apt downloads it.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hw.command import CommandError, doing, note


def cache_folder(name: str) -> Path:
    """Of unpacked packages, outside of any work tree."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "spikeloom" / name


def unpack(packages: Sequence[str], target: Path) -> None:
    """Download and unpack into `target`, which appears complete or not at all.

    Raises subprocess.CalledProcessError if apt or dpkg fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
        root = Path(temporary) / "root"
        root.mkdir()
        subprocess.run(["apt-get", "--quiet=2", "-o", "APT::Sandbox::User=root", "download",
                        *packages], cwd=temporary, check=True, stdout=subprocess.DEVNULL)
        for archive in sorted(Path(temporary).glob("*.deb")):
            subprocess.run(["dpkg-deb", "--extract", archive, root], check=True)
        os.replace(root, target)


def provide(what: str, packages: Sequence[str], target: Path) -> None:
    """`unpack` for a command: ValueError if something is missing, CommandError if apt fails."""
    for needed in ("apt-get", "dpkg-deb"):
        if shutil.which(needed) is None:
            raise ValueError(f"{needed} must be on the PATH: {what} comes from Debian or Ubuntu")
    try:
        with doing(f"unpacking {what}"):
            unpack(packages, target)
    except subprocess.CalledProcessError as error:
        raise CommandError(f"{error.cmd[0]} failed; what it said is above (apt-get update may "
                           "help)") from None
    note(f"unpacked {what} into {target}")
