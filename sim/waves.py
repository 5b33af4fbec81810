# SPDX-License-Identifier: Apache-2.0
"""A view of a waveform for people: `FILE.gtkw` beside `FILE.vcd`, for GTKWave.

All layers share the units, so a layer is a stretch of time.  The group `layers` comes first: the
layer by its name, the instruction, what the cycle is spent on, timestep and position of what is
written, and which units give results.  Then the times between which each layer runs, and a group
for each unit with its ports, enums by their names, signed values as such, words of the residual
stream with their binary point.  Marker A is where the first layer begins, B the second, and so on.
"""

import math
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
# Bits that tell which unit is at work, and how they are called.  Behind the lanes it is what is
# written that tells: beats of all layers pass through all units of the finish pipeline.
AT_WORK = {"dut.loader.i__valid": "loader: samples come", "dut.gather.o__valid": "gather: spikes",
           "dut.lanes.o__valid": "lanes: sums", "dut.attention.kv0.busy": "attention: K^T V, Q",
           "residual_valid": "residual: written", "spikes_valid": "spikes: written",
           "dut.finish.logits__valid": "logits", "dut.readout.o__valid": "readout"}
# Pixels of the window, and those that GTKWave's zoom counts as one unit.
WINDOW, SIGNALS_WIDTH, ZOOM_UNIT = (1400, 900), 340, 200
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


class SaveFile(GTKWSave):
    """With a binary point: pyvcd has no call for its place, which GTKWave wants after the flags."""

    fraction = 0

    def _set_flags(self, flags: GTKWFlag) -> None:
        super()._set_flags(flags)
        if flags & GTKWFlag.fpdecshift:
            self._p(f"[fpshift_count] {self.fraction}")


class View:
    """A save file in the making, and the translations that it needs beside it."""

    def __init__(self, path: Path, file: Any, signals: Mapping[str, tuple[str, str]]) -> None:
        self._path, self._signals = path, signals
        self.save = SaveFile(file)

    def translation(self, name: str, values: Mapping[int, str]) -> str:
        """A file with names of decimal values; its absolute path, as GTKWave wants it."""
        path = self._path.with_name(f"{self._path.stem}.{name}.txt").resolve()
        write_whole(path, make_translation_filter([*values.items()], datafmt="dec") + "\n")
        return str(path)

    def trace(self, name: str, shape: Any = None, fraction: int = 0, names: str | None = None,
              *, alias: str, **options: Any) -> bool:
        """Show a signal as its shape says, if the waveform has it.

        fraction: bits behind the binary point
        names:    a file of `translation`
        alias:    what it is called
        """
        if name not in self._signals:
            return False
        if names is None and isinstance(shape, EnumType):
            names = self.translation(shape.__name__, {each.value: each.name for each in shape})
        width = 1 if shape is None else Shape.cast(shape).width
        style = "hex" if width > 32 else "dec"
        if shape is not None and Shape.cast(shape).signed:
            style = "signed"
        flags, self.save.fraction = GTKWFlag.fpdecshift if fraction else GTKWFlag(0), fraction
        self.save.trace(self._signals[name][0], alias=alias, datafmt=style,
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
            # Of an alias, too, GTKWave shows what is behind the last dot only.
            view.trace(name, shape, fraction if STREAM.search(name) else 0,
                       alias=name.removeprefix(f"{scope}.").replace(".", " "))
    for child in first_of_each(unit.children):
        add_unit(view, child, f"{scope}.{child.name}", fraction, signals)


def zoom(starts: Sequence[int]) -> float:
    """That at which the window has all layers, the last of which is taken for a short one."""
    units = (WINDOW[0] - SIGNALS_WIDTH) / ZOOM_UNIT
    return -math.log2(max(1.05 * starts[-1] / units, 1)) if starts else -10.0


def add_layers(view: View, layers: Sequence[str]) -> None:
    """What runs, and where it is."""
    with view.save.group("layers"):
        view.trace(f"{DUT}.sequencer.instruction.layer", Shape(8), alias="layer",
                   color=GTKWColor.yellow,
                   names=view.translation("layers", dict(enumerate(layers))))
        view.trace("testbench.activity_clear", alias="layer begins", color=GTKWColor.red)
        view.trace(f"{DUT}.sequencer.instruction.op", Op, alias="instruction")
        view.trace("testbench.activity", Activity, alias="cycle spent on")
        for kind in ("spikes", "residual"):
            view.trace(f"testbench.{kind}_timestep", Shape(5), alias=f"{kind}: timestep",
                       color=GTKWColor.orange)
            view.trace(f"testbench.{kind}_position", Shape(16), alias=f"{kind}: position")
        for name, alias in AT_WORK.items():
            view.trace(f"testbench.{name}", alias=alias)
        view.trace("testbench.clk", alias="clk")


def add_times(view: View, layers: Sequence[str], starts: Sequence[int]) -> None:
    """A closed group of the times between which each layer of the first inference runs."""
    with view.save.group("times of the layers", closed=True):
        for name, begin, end in zip(layers, starts, [*starts[1:], None], strict=False):
            view.save.blank(f"{name}: --start {begin}" + (f" --end {end}" if end else ""))


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
        save.size(*WINDOW)
        save.sst_expanded(False)
        save.signals_width(SIGNALS_WIDTH)
        clear = signals["testbench.activity_clear"][1]
        starts = layer_starts(waves, clear, len(layers))
        save.zoom_markers(zoom(starts), starts[0] if starts else -1,
                          **dict(zip(ascii_lowercase, starts)))
        for letter, name in zip(ascii_lowercase.upper(), layers):
            # Short, as neighbours are near: the whole name is in the first row.
            file.write(f"[markername] {letter}{name.rpartition('.')[2]}\n")
        add_layers(view, layers)
        if starts:
            add_times(view, layers, starts)
        for unit in first_of_each(design.children):
            add_unit(view, unit, f"{DUT}.{unit.name}", program.model.residual.fraction, signals)
    partial.replace(path)
    return path
