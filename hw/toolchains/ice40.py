# SPDX-License-Identifier: Apache-2.0
"""Lattice iCE40 with tools from PyPI: yosys, nextpnr-ice40 and icepack."""

import re

from hw.families import ICE40
from hw.toolchains.pypi import PypiToolchain
from hw.toolchains.toolchain import yowasp

_PART = re.compile(r"iCE40(UP5K)-(SG48|UWG30)")


class Ice40(PypiToolchain):
    """yosys, nextpnr-ice40, icepack."""

    name, family, suffix = "ice40", ICE40, "bin"
    tool, how = "nextpnr-ice40", "make tools-ice40 does it (72 MB)"
    options = "--pcf", "{top}.pcf", "--asc", "{top}.asc"

    def device(self, part: str) -> list[str]:
        if (match := _PART.fullmatch(part)) is None:
            raise ValueError(f"part must be an iCE40 such as iCE40UP5K-SG48, not {part!r}")
        return [f"--{match[1].lower()}", "--package", match[2].lower()]

    def packer(self, top: str, part: str) -> tuple[str, list[str]]:
        return "icepack", yowasp(self.module, "run_icepack", f"{top}.asc", f"{top}.{self.suffix}")
