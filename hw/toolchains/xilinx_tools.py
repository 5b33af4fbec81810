# SPDX-License-Identifier: Apache-2.0
"""Where the open tools for Xilinx 7 series are: installed, or unpacked by
`hw.toolchains.provision`.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from hw.toolchains.packages import cache_folder

TOOLS = ("nextpnr-himbaechel-xilinx", "xc7frames2bit", "bitread")
CACHE_NAME = "xilinx"


@dataclass(frozen=True)
class Tools:
    """Where the tools are.

    root: what their packages were unpacked into; "/" if they are installed
    """

    root: Path

    @property
    def chips(self) -> Path:
        """Chip databases of nextpnr, chipdb-FABRIC.bin."""
        return self.root / "usr/share/nextpnr/himbaechel/xilinx"

    @property
    def database(self) -> Path:
        """prjxray's, a folder for each family."""
        return self.root / "usr/share/prjxray/database"

    def command(self, tool: str) -> list[str]:
        """Runs a tool, unpacked ones with the libraries they came with."""
        if self.root == Path("/"):
            return [tool]
        (libraries,) = self.root.glob("usr/lib/*-linux-gnu*")
        (loader,) = libraries.glob("ld-linux*.so.*")
        return [str(loader), "--library-path", str(libraries), str(self.root / "usr/bin" / tool)]


def find_tools() -> Tools | None:
    """The tools of the system, else those of the cache, else None."""
    installed = Tools(Path("/"))
    if all(map(shutil.which, TOOLS)) and installed.chips.is_dir() and installed.database.is_dir():
        return installed
    unpacked = Tools(cache_folder(CACHE_NAME))
    return unpacked if unpacked.database.is_dir() else None
