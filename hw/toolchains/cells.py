# SPDX-License-Identifier: Apache-2.0
"""Standard-cell libraries for the ASIC target, unpacked into a cache: `python -m
hw.toolchains.cells`.

Debian and Ubuntu package two libraries of Oklahoma State University with qflow.  The packages are
downloaded with apt and unpacked, not installed: no root, and nothing outside the cache changes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hw.toolchains.provision import cache_folder as xilinx_folder

# Of two processes, 180 nm and 350 nm.
LIBRARIES = ("osu018", "osu035")
HOW = "make tools-asic unpacks them, and --liberty FILE names another library"


def cache_folder() -> Path:
    """Of the unpacked libraries, outside of any work tree."""
    return xilinx_folder().with_name("asic")


def find_library(name: str = LIBRARIES[0]) -> Path | None:
    """The Liberty file of a library: the system's, else that of the cache, else None."""
    place = Path("usr/share/qflow/tech", name, f"{name}_stdcells.lib")
    found = (root / place for root in (Path("/"), cache_folder()))
    return next((path for path in found if path.is_file()), None)


def provision(target: Path) -> None:
    """Download and unpack all libraries into `target`, which appears complete or not at all.

    Raises subprocess.CalledProcessError if apt or dpkg fails.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".asic-") as temporary:
        root = Path(temporary) / "root"
        root.mkdir()
        packages = [f"qflow-tech-{name}" for name in LIBRARIES]
        subprocess.run(["apt-get", "--quiet=2", "-o", "APT::Sandbox::User=root", "download",
                        *packages], cwd=temporary, check=True, stdout=subprocess.DEVNULL)
        for archive in sorted(Path(temporary).glob("*.deb")):
            subprocess.run(["dpkg-deb", "--extract", archive, root], check=True)
        os.replace(root, target)


def build_parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m hw.toolchains.cells",
        description="Unpack standard-cell libraries for the ASIC target into a cache.")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if apt fails; 2 if something is missing."""
    build_parser().parse_args(argv)
    if all(map(find_library, LIBRARIES)):
        print(f"the libraries are there: {', '.join(map(str, map(find_library, LIBRARIES)))}")
        return 0
    for needed in ("apt-get", "dpkg-deb"):
        if shutil.which(needed) is None:
            print(f"error: {needed} must be on the PATH: the libraries come from Debian or Ubuntu",
                  file=sys.stderr)
            return 2
    try:
        provision(cache_folder())
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        print(f"error: {error.cmd[0]} failed; what it said is above (apt-get update may help)",
              file=sys.stderr)
        return 1
    print(f"unpacked {', '.join(LIBRARIES)} into {cache_folder()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
