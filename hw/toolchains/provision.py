# SPDX-License-Identifier: Apache-2.0
"""The open tools for Xilinx 7 series, unpacked into a cache: `python -m hw.toolchains.provision`.

Debian's unstable distribution packages nextpnr for these devices, its chip databases, and prjxray
with its database.  They and all libraries that they need are downloaded with an apt configuration
of their own and unpacked, not installed: no root, and nothing outside the cache changes.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hw.command import CommandError, Outcome, Parser, doing, execute, progress_bar
from hw.toolchains.packages import cache_folder
from hw.toolchains.xilinx_tools import CACHE_NAME, find_tools

PACKAGES = ("nextpnr-himbaechel-xilinx", "nextpnr-himbaechel-xilinx-chipdb", "prjxray",
            "prjxray-database")
SUITE = "sid"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def debian_mirror() -> str:
    """The mirror of Debian in the system's own apt configuration; ValueError if it has none."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)|$(ORIGIN)|$(LABEL)",
         "Created-By: Packages"], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        uri, origin, label = line.split("|")
        # Before the first apt-get update, apt knows no origin.
        if (origin, label) == ("Debian", "Debian") or (
                "$(" in origin and uri.rstrip("/").endswith("/debian")):
            return uri
    raise ValueError("apt must be configured with a mirror of Debian, or one be given: "
                     "make tools-xilinx MIRROR=URL")


def apt_options(state: Path) -> list[str]:
    """An apt that knows the files below `state` and nothing of the system's packages."""
    folders = {"Dir::Etc::sourcelist": state / "sources.list", "Dir::Etc::sourceparts": state / "-",
               "Dir::State": state / "state", "Dir::State::status": state / "status",
               "Dir::Cache": state / "cache"}
    options = [f"{name}={folder}" for name, folder in folders.items()]
    options += ["APT::Install-Recommends=false", "APT::Sandbox::User=root"]
    return [part for option in options for part in ("-o", option)]


def provision(mirror: str, keyring: Path, target: Path) -> int:
    """Download and unpack into `target`, which appears complete or not at all; packages unpacked.

    Raises ValueError for what is missing, subprocess.CalledProcessError if apt or dpkg fails.
    """
    if not keyring.is_file():
        raise ValueError("keyring must be a file with Debian's keys (on Ubuntu, install "
                         f"debian-archive-keyring), not {str(keyring)!r}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".xilinx-") as temporary:
        state, root = Path(temporary) / "apt", Path(temporary) / "root"
        for folder in ("state/lists/partial", "cache/archives/partial", "-"):
            (state / folder).mkdir(parents=True)
        root.mkdir()
        (state / "status").touch()
        (state / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} {SUITE} main\n")
        apt = ["apt-get", "--quiet=2", *apt_options(state)]
        with doing("apt-get update and download"):
            subprocess.run([*apt, "update"], check=True, stdout=subprocess.DEVNULL)
            subprocess.run([*apt, "--yes", "--download-only", "install", *PACKAGES], check=True,
                           stdout=subprocess.DEVNULL)
        archives = sorted((state / "cache/archives").glob("*.deb"))
        for archive in progress_bar(archives, desc="unpacking", unit=" packages"):
            subprocess.run(["dpkg-deb", "--extract", archive, root], check=True)
        os.replace(root, target)
    return len(archives)


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m hw.toolchains.provision",
        description="Unpack the open place and route tools for Xilinx 7 series into a cache.")
    parser.add_argument("--mirror", metavar="URL", help="of Debian (that of apt's configuration)")
    parser.add_argument("--keyring", type=Path, default=KEYRING, metavar="FILE",
                        help="with Debian's keys (%(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if apt fails; 2 if something is missing."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    if (tools := find_tools()) is not None:
        print(f"the tools for Xilinx are there, in {tools.root}")
        return Outcome({"folder": tools.root, "packages": 0})
    for needed in ("apt-get", "dpkg-deb"):
        if shutil.which(needed) is None:
            raise ValueError(f"{needed} must be on the PATH: the tools come from Debian")
    try:
        count = provision(arguments.mirror or debian_mirror(), arguments.keyring,
                          cache_folder(CACHE_NAME))
    except subprocess.CalledProcessError as error:
        raise CommandError(f"{error.cmd[0]} failed; what it said is above") from None
    print(f"unpacked {count} packages into {cache_folder(CACHE_NAME)}")
    return Outcome({"folder": cache_folder(CACHE_NAME), "packages": count})


if __name__ == "__main__":
    sys.exit(main())
