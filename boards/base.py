# SPDX-License-Identifier: Apache-2.0
"""A board as data: its device, clock, link and lights, and the Amaranth platform that builds it."""

from collections.abc import Callable
from dataclasses import dataclass, fields

from amaranth.vendor import XilinxPlatform


@dataclass(frozen=True)
class Resources:
    """What a 7 series device has.

    lut:    6-input LUTs
    ff:     flip-flops, eight a slice
    ramb36: block RAMs of 36 Kbit, each of which can be two RAMB18
    carry4: carry chains of four bits, one a slice
    dsp:    DSP48E1, listed to show that none is used
    """

    lut: int
    ff: int
    ramb36: int
    carry4: int
    dsp: int

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"{item.name} must be a non-negative integer, not {value!r}")


@dataclass(frozen=True)
class Board:
    """A board that `python -m hw.build` and `boards.top` can target.

    name:      of --board, and of the module that describes it
    part:      device, package and speed grade as Vivado writes them
    resources: of the device
    clock_mhz: the clock of domain `sync`, which the platform takes from its default clock pin
    platform:  makes a new platform; one platform builds one design
    uart:      name and number of the platform's resource with the subsignals rx and tx
    leds:      name and number of resources with one output each: heartbeat, busy, error; a board
               with fewer shows the first of them
    """

    name: str
    part: str
    resources: Resources
    clock_mhz: float
    platform: Callable[[], XilinxPlatform]
    uart: tuple[str, int] = ("uart", 0)
    leds: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"board name must be a Python identifier, not {self.name!r}")
        if not self.clock_mhz > 0:
            raise ValueError(f"clock_mhz must be positive, not {self.clock_mhz!r}")

    @property
    def clock_hz(self) -> int:
        return round(self.clock_mhz * 1e6)
