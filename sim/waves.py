# SPDX-License-Identifier: Apache-2.0
"""A view of a waveform for people: `FILE.gtkw` beside `FILE.vcd`, for GTKWave.

What runs comes first: the layer by its name, the timestep, the instruction, what the cycle is spent
on.  Then a group for each unit with its ports, enums by their names, signed values as such, words
of the residual stream with their binary point.  Marker A is where the first layer begins, B the
second, and so on.
"""

import mmap
import re
from collections.abc import Iterator, Mapping, Sequence
from enum import EnumType
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from amaranth.hdl import Shape
from vcd.gtkw import GTKWColor, GTKWFlag, GTKWSave, make_translation_filter

from hw.accelerator import Accelerator
from hw.activity import Activity
from hw.compiler import Program
from hw.hierarchy import Unit, hierarchy, leaves
from hw.isa import Op
from sim.build import write_whole

DUT = "testbench.dut"
# What many units read is shown where it comes from only.
SHARED = ("instruction", "clear")
# Signed values inside a unit that are worth a look: membrane potentials as they are kept.
INSIDE = {"LIF": re.compile(r"write__data\[\d+\]\.v")}
# Integers of the residual stream; all others are in a grid of their layer or channel.
STREAM = re.compile(r"residual\.o__payload\.values\[\d+\]$")
_SCOPE = re.compile(rb"\$scope \w+ (\S+) \$end|(\$upscope) \$end|"
                    rb"\$var \w+ (\d+) (\S+) (\S+(?: \[\d+:\d+\])?) \$end|(\$enddefinitions)")


def read_header(path: Path) -> dict[str, tuple[str, str]]:
    """Signals of a VCD file by full name: the name with its range, and the identifier code."""
    found: dict[str, tuple[str, str]] = {}
    scope: list[str] = []
    with path.open("rb") as file:
        for line in file:
            if (match := _SCOPE.search(line)) is None:
                continue
            opened, closed, _, code, name, end = (each and each.decode() for each in match.groups())
            if opened:
                scope.append(opened)
            elif closed:
                scope.pop()
            elif end:
                break
            else:
                base, _, span = name.partition(" ")
                full = ".".join([*scope, base])
                found[full] = (full + span, code)
    return found


def layer_starts(path: Path, code: str, count: int) -> list[int]:
    """Times of the first `count` rises of the bit with that identifier code."""
    pattern = re.compile(rb"^#(\d+)$|^1" + re.escape(code.encode()) + rb"$", re.MULTILINE)
    starts, now = [], 0
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        for match in pattern.finditer(text):
            if match[1]:
                now = int(match[1])
            else:
                starts.append(now)
                if len(starts) == count:
                    break
    return starts


class View:
    """A save file in the making, and the translations that it needs beside it."""

    def __init__(self, path: Path, file: Any, signals: Mapping[str, tuple[str, str]]) -> None:
        self._path, self._file, self._signals = path, file, signals
        self.save = GTKWSave(file)

    def translation(self, name: str, values: Mapping[int, str]) -> str:
        """A file with names of decimal values; its absolute path, as GTKWave wants it."""
        path = self._path.with_name(f"{self._path.stem}.{name}.txt").resolve()
        write_whole(path, make_translation_filter([*values.items()], datafmt="dec") + "\n")
        return str(path)

    def trace(self, name: str, shape: Any = None, fraction: int = 0, names: str | None = None,
              **options: Any) -> bool:
        """Show a signal as its shape says, if the waveform has it.

        fraction: bits behind the binary point
        names:    a file of `translation`
        """
        if name not in self._signals:
            return False
        if names is None and isinstance(shape, EnumType):
            names = self.translation(shape.__name__, {each.value: each.name for each in shape})
        width = 1 if shape is None else Shape.cast(shape).width
        style = "hex" if width > 32 else "dec"
        if shape is not None and Shape.cast(shape).signed:
            style = "signed"
        flags = GTKWFlag(0)
        if fraction:
            # pyvcd has no call for the number of bits; it holds from here on.
            self._file.write(f"[fpshift_count] {fraction}\n")
            flags = GTKWFlag.fpdecshift
        self.save.trace(self._signals[name][0], alias=name.removeprefix(f"{DUT}."), datafmt=style,
                        extraflags=flags, translate_filter_file=names, **options)
        return True


def shown_ports(unit: Unit) -> Iterator[tuple[str, Any]]:
    """Names below the unit and shapes of what is to be seen at its ports."""
    for port in unit.ports:
        if not (port.incoming and port.name in SHARED):
            yield from leaves(port.name, port.value.shape())


def first_of_each(units: Sequence[Unit]) -> Iterator[Unit]:
    """Of units that differ in their number only (lane0, lane1, ...) the first."""
    seen = set()
    for unit in units:
        if (name := unit.name.rstrip("0123456789")) not in seen:
            seen.add(name)
            yield unit


def add_unit(view: View, unit: Unit, scope: str, fraction: int,
             signals: Mapping[str, tuple[str, str]]) -> None:
    """A closed group of a unit's ports, then those of the units inside."""
    with view.save.group(scope.removeprefix(f"{DUT}."), closed=True):
        wanted = [(f"{scope}.{name}", shape) for name, shape in shown_ports(unit)]
        if (inside := INSIDE.get(unit.kind)) is not None:
            wanted += [(name, Shape(1, signed=True)) for name in signals
                       if name.startswith(f"{scope}.") and inside.fullmatch(name[len(scope) + 1:])]
        for name, shape in wanted:
            view.trace(name, shape, fraction if STREAM.search(name) else 0)
    for child in first_of_each(unit.children):
        add_unit(view, child, f"{scope}.{child.name}", fraction, signals)


def write_view(program: Program, waves: Path) -> Path:
    """Write the view of a waveform of the program's accelerator; its path.

    Translations of values to names are beside it, as .txt files that it names by absolute paths.
    """
    signals = read_header(waves)
    design = hierarchy(Accelerator(program.hardware, program.memory, True), "accelerator")
    layers = [trace.layer.name for trace in program.traces]
    path = waves.with_suffix(".gtkw")
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w") as file:
        view = View(path, file, signals)
        save = view.save
        save.dumpfile(str(waves.resolve()))
        save.treeopen(f"{DUT}.")
        save.signals_width(320)
        clear = signals["testbench.activity_clear"][1]
        starts = layer_starts(waves, clear, len(layers))
        save.zoom_markers(-10.0, starts[0] if starts else -1,
                          **dict(zip(ascii_lowercase, starts)))
        for letter, name in zip(ascii_lowercase.upper(), layers):
            file.write(f"[markername] {letter}{name}\n")
        with save.group("what runs"):
            view.trace("testbench.clk")
            view.trace(f"{DUT}.sequencer.instruction.layer", Shape(8), color=GTKWColor.yellow,
                       names=view.translation("layers", dict(enumerate(layers))))
            view.trace("testbench.activity_clear", color=GTKWColor.red)
            view.trace(f"{DUT}.sequencer.instruction.op", Op)
            view.trace("testbench.activity", Activity)
            for kind in ("spikes", "residual"):
                view.trace(f"testbench.{kind}_timestep", Shape(5), color=GTKWColor.orange)
                view.trace(f"testbench.{kind}_position", Shape(16))
        for unit in first_of_each(design.children):
            add_unit(view, unit, f"{DUT}.{unit.name}", program.model.residual.fraction, signals)
    partial.replace(path)
    return path
