# SPDX-License-Identifier: Apache-2.0
"""One HTML page about a network and its hardware: `python -m sim.report DIR`.

Simulates one image, compares it with the golden model, and puts what was measured beside what the
paper published and what a build and the explorer left behind.  The page opens offline.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hw.command import Outcome, Parser, doing, execute, note
from hw.compiler import Program
from hw.model import MANIFEST, WEIGHTS, sha256
from hw.network import NetworkConfig
from hw.toolchains.nextpnr import FLOORPLAN
from quantize.comparison import Row as Beside
from sim.build import write_whole
from sim.html_report.facts import gather, manifest_accuracy, read_json
from sim.html_report.page import render
from sim.load import add_arguments, load_inputs, load_program, surroundings
from sim.simulation import Simulation, simulate

BUILDS, EXPLORED, OUT = Path("build"), Path("build/explore"), Path("build/reports")
REPORT = "report.json"
BUILD_KEYS = ("board", "part", "available", "used", "modules")


def find_build(model: Path, builds: Path = BUILDS) -> Path | None:
    """The newest folder of `hw.build` that was made of these weights."""
    wanted = sha256(model / WEIGHTS)
    found = []
    for path in builds.glob(f"*/{REPORT}"):
        manifest = path.with_name(MANIFEST)
        if manifest.is_file() and read_json(manifest, ()).get("inputs", {}).get(WEIGHTS) == wanted:
            if set(BUILD_KEYS) <= set(read_json(path, ())):
                found.append(path)
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def find_explored(name: str, board: str | None, explored: Path = EXPLORED) -> Path | None:
    """What `hw.explore` wrote last for a network, on that board if one is given."""
    found = [path for path in explored.glob(f"{name}-{board or '*'}.json") if path.is_file()]
    return max(found, key=lambda path: path.stat().st_mtime) if found else None


def of_checkpoint(path: Path, network: NetworkConfig) -> tuple[list[Beside], dict[int, float]]:
    """A Spikformer beside the checkpoint's network, and the accuracy of each number of bits.

    ValueError for a checkpoint that cannot be read, or is of another network.
    """
    from quantize.baseline import checkpoint_case  # PyTorch models are not needed otherwise
    from quantize.bits import accuracy_by_bits
    from quantize.comparison import compare as beside

    case = checkpoint_case(path, 0, None, None)
    ours, theirs = (each.to_dict() | {"name": ""} for each in (case.ours.config, network))
    if ours != theirs:
        odd = next(key for key in theirs if ours[key] != theirs[key])
        raise ValueError(f"--checkpoint must be of the model's network, with {odd} "
                         f"{theirs[odd]!r}, not {ours[odd]!r}")
    return beside(case.ours, case.theirs, case.x), accuracy_by_bits(path)


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim.report",
        description="Write one self-contained HTML page: network, layers, energy, spikes, memory, "
                    "resources, the explorer's front.")
    add_arguments(parser)
    parser.set_defaults(samples=1)
    parser.add_argument("--image", type=Path, metavar="FILE",
                        help="a picture or .npy file instead of the first held-out image")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE",
                        help="that the model was made of: adds a Spikformer of equal shape, and "
                             "the accuracy of 8, 6 and 4 bits (from its data set)")
    parser.add_argument("--build", type=Path, metavar="DIR",
                        help="folder of hw.build (default: the newest in build/ of these weights)")
    parser.add_argument("--explored", type=Path, metavar="FILE",
                        help=f"points of hw.explore (default: {EXPLORED}/NAME-BOARD.json)")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help=f"the page (default: {OUT}/<name of DIR>.html)")
    return parser


def beside(model: Path, program: Program, checkpoint: Path | None = None,
           folder: Path | None = None, points: Path | None = None) -> dict[str, Any]:
    """What the page shows beside the simulation; ValueError for files that are none of ours.

    model:      directory that the program was compiled from
    checkpoint: that it was made of
    folder:     of `hw.build`; None: the newest of these weights
    points:     of `hw.explore`; None: those of this network and board
    """
    network = program.model.network
    spikformer: Sequence[Beside] | None = None
    accuracy = manifest_accuracy(program)
    if checkpoint is not None:
        spikformer, measured = of_checkpoint(checkpoint, network)
        accuracy |= measured
    folder = folder or find_build(model)
    build: Mapping[str, Any] | None = None
    if folder is not None:
        build = read_json(folder / REPORT, BUILD_KEYS)
        if (placed := folder / FLOORPLAN).is_file():
            build = {**build, "floorplan": read_json(placed, ("modules",))["modules"]}
    path = points or find_explored(network.name or model.name, build["board"] if build else None)
    explored = None if path is None else read_json(path, ("points",))
    return {"spikformer": spikformer, "accuracy": accuracy, "build": build, "explored": explored}


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 if the RTL hangs or differs from the golden model; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    program = load_program(arguments.model, arguments)
    inputs = load_inputs(arguments.model, program.model, 1, arguments.image)
    more = beside(arguments.model, program, arguments.checkpoint, arguments.build,
                  arguments.explored)
    done = simulate(program, inputs, **surroundings(arguments))
    out = arguments.out or OUT / f"{arguments.model.resolve().name}.html"
    write_page(done, out, more)
    print("\n".join(done.comparison.lines()))
    note(f"wrote {out}")
    return Outcome(done.to_dict() | {"page": out}, int(not done.comparison.equal))


def write_page(done: Simulation, out: Path, more: Mapping[str, Any]) -> None:
    """The page about the first inference of a simulation; `more` is what `beside` returns."""
    with doing("drawing the page"):
        page = render(gather(done.program, done.inputs.values[0], done.inputs.labels[0],
                             done.inferences[0], done.golden[0], done.comparison, done.rows,
                             **more))
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, page)


if __name__ == "__main__":
    sys.exit(main())
