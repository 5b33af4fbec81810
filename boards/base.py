# SPDX-License-Identifier: Apache-2.0
"""A board as data: its device, clock, link and lights, and the Amaranth platform that builds it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from hw.families import XC7, Family
from hw.model import SHIPPED_MODEL

BLOCK_RAM = "block_ram"
KINDS = ("flash", "sdram", "ddr3", "dram")


@dataclass(frozen=True)
class Resources:
    """What a device has, in the units of its family (`hw.families.Family.labels`).

    lut:   LUTs; of 7 series with six inputs, of ECP5 with four
    ff:    flip-flops
    ram:   block RAMs; of 7 series 36 Kbit, each of which can be two RAMB18
    carry: carry chain cells
    dsp:   multipliers, listed to show that none is used
    """

    lut: int
    ff: int
    ram: int
    carry: int
    dsp: int

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"{item.name} must be a non-negative integer, not {value!r}")


@dataclass(frozen=True)
class ExternalMemory:
    """A memory chip of a board that can hold the weights.

    kind:     flash, sdram, ddr3, or dram, which belongs to the processors of a `Board.peripheral`
    size:     of the chip in bytes
    resource: name and number of the platform's resource
    offset:   of the weights in it, behind the configuration bitstream where that is there too; a
              multiple of 4 KB, since bursts must not cross one
    loader:   command that writes the image {image} to {offset}; none for what the host loads
    toolchains: those of the board's that can build its pins; none: all of them
    clocking: in place of the board's, for a controller that needs more clocks than `sync`
    """

    kind: str
    size: int
    resource: tuple[str, int] = ("", 0)
    offset: int = 0
    loader: str = ""
    toolchains: tuple[str, ...] = ()
    clocking: Callable[[int, int], Any] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.offset % 4096 or not 0 <= self.offset < self.size:
            raise ValueError("offset must be a multiple of 4096 within the chip, "
                             f"not {self.offset!r}")

    @property
    def writable(self) -> bool:
        """The host writes the image, and the accelerator may keep there what it spills."""
        return self.kind in ("sdram", "ddr3")

    @property
    def room(self) -> int:
        """Bytes for an image."""
        return self.size - self.offset

    @property
    def residual_offset(self) -> int:
        """Of a spilled residual stream, in bytes; whatever the program, as it can be changed."""
        return self.size // 2

    @property
    def maps_offset(self) -> int:
        """Of spilled spike maps; they have a quarter of the chip, as the residual stream has."""
        return self.size // 4 * 3


@dataclass(frozen=True)
class Board:
    """A board that `python -m hw.build` and `boards.top` can target.

    name:      of --board, and of the module that describes it
    part:      device, package and speed grade as the vendor writes them
    resources: of the device
    clock_mhz: the board's oscillator, on the platform's default clock pin
    platform:  makes a new platform; one platform builds one design
    uart:      name and number of the platform's resource with the subsignals rx and tx
    leds:      name and number of resources with one output each: heartbeat, busy, error; a board
               with fewer shows the first of them
    family:    of the device
    toolchains: names that `hw.toolchains.get` knows; the first one that is installed is used
    core_mhz:  of domain `sync`, which drives everything; 0: clock_mhz
    clocking:  makes the component with the ports i, o and locked that turns one into the other,
               from both frequencies in Hz
    loader:    command that puts the bitstream {bit} on the board
    memories:  chips that can hold the weights, besides block RAM
    hardware:  arguments of `hw.config.HardwareConfig.for_model` that it takes unless told
               otherwise; none: what `python -m hw.explore` chooses
    model:     of the network that it runs unless told otherwise
    peripheral: the device has processors, and the accelerator is a peripheral of them (`hw.soc`);
               clock, serial line, lights and pins are theirs
    """

    name: str
    part: str
    resources: Resources
    clock_mhz: float
    platform: Callable[[], Any]
    uart: tuple[str, int] = ("uart", 0)
    leds: tuple[tuple[str, int], ...] = ()
    family: Family = XC7
    toolchains: tuple[str, ...] = ("xilinx", "vivado")
    core_mhz: float = 0
    clocking: Callable[[int, int], Any] | None = None
    loader: str = ""
    memories: tuple[ExternalMemory, ...] = ()
    hardware: Mapping[str, Any] = field(default_factory=dict)
    model: Path = SHIPPED_MODEL
    peripheral: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"board name must be a Python identifier, not {self.name!r}")
        for name in ("clock_mhz", "sync_mhz"):
            if not (value := getattr(self, name)) > 0:
                raise ValueError(f"{name} must be positive, not {value!r}")

    @property
    def sync_mhz(self) -> float:
        """Of domain `sync`."""
        return self.core_mhz or self.clock_mhz

    @property
    def clock_hz(self) -> int:
        """Of domain `sync`."""
        return round(self.sync_mhz * 1e6)

    @property
    def oscillator_hz(self) -> int:
        return round(self.clock_mhz * 1e6)

    @property
    def weight_memories(self) -> tuple[str, ...]:
        """Where the weights may be, the preferred one first."""
        return (BLOCK_RAM, *(memory.kind for memory in self.memories))

    def memory(self, kind: str) -> ExternalMemory | None:
        """The chip of that kind, None for block RAM; ValueError if the board has none."""
        if kind not in self.weight_memories:
            raise ValueError(f"weight memory of {self.name} must be one of "
                             f"{', '.join(self.weight_memories)}, not {kind!r}")
        return next((memory for memory in self.memories if memory.kind == kind), None)

    def with_memory(self, memory: ExternalMemory | None) -> "Board":
        """The board of a design that uses that chip of it, with the clocks for both."""
        if memory is None or memory.clocking is None:
            return self
        return replace(self, clocking=memory.clocking)

    @property
    def ram_bits(self) -> int:
        """Block RAM of the device."""
        return self.resources.ram * self.family.ram_bits
