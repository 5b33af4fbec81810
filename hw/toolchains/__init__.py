# SPDX-License-Identifier: Apache-2.0
"""Toolchains from sources to bitstream, by name."""

from collections.abc import Sequence

from hw.toolchains.ecp5 import Ecp5
from hw.toolchains.gowin import Gowin
from hw.toolchains.ice40 import Ice40
from hw.toolchains.toolchain import Timing, Toolchain, ToolError
from hw.toolchains.vivado import Vivado
from hw.toolchains.xilinx import XilinxOpen

__all__ = ["NAMES", "Timing", "ToolError", "Toolchain", "get", "installed"]

_TOOLCHAINS: dict[str, Toolchain] = {
    each.name: each for each in (Ecp5(), Gowin(), Ice40(), XilinxOpen(), Vivado())}
NAMES = tuple(_TOOLCHAINS)


def get(name: str) -> Toolchain:
    """The toolchain of that name; ValueError if there is none."""
    if name not in _TOOLCHAINS:
        raise ValueError(f"toolchain must be one of {', '.join(NAMES)}, not {name!r}")
    return _TOOLCHAINS[name]


def installed(names: Sequence[str]) -> Toolchain | None:
    """The first of `names` whose tools are there."""
    return next((each for each in map(get, names) if each.missing() is None), None)
