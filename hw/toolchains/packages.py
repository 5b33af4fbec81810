# SPDX-License-Identifier: Apache-2.0
"""Packages of Debian or Ubuntu unpacked into a cache, not installed: no root, nothing else changes.

For what has no wheel on PyPI; the system's own apt downloads it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hw.toolchains.provision import cache_folder as xilinx_folder


def cache_folder(name: str) -> Path:
    """Of unpacked packages, outside of any work tree."""
    return xilinx_folder().with_name(name)


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


def provide(what: str, packages: Sequence[str], target: Path) -> int:
    """`unpack` as a command: exit status 0; 1 if apt fails; 2 if something is missing."""
    for needed in ("apt-get", "dpkg-deb"):
        if shutil.which(needed) is None:
            print(f"error: {needed} must be on the PATH: {what} comes from Debian or Ubuntu",
                  file=sys.stderr)
            return 2
    try:
        unpack(packages, target)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"error: {error.cmd[0]} failed; what it said is above (apt-get update may help)",
              file=sys.stderr)
        return 1
    print(f"unpacked {what} into {target}")
    return 0
