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

from hw.compiler import Program
from hw.model import MANIFEST, WEIGHTS, sha256
from hw.network import NetworkConfig
from hw.toolchains.nextpnr import FLOORPLAN
from quantize.comparison import Row as Beside
from quantize.golden import GoldenModel
from sim.build import write_whole
from sim.compare import Comparison, compare
from sim.counts import count
from sim.html_report.facts import gather, manifest_accuracy, read_json
from sim.html_report.page import render
from sim.load import add_arguments, fail, load_inputs, load_program, surroundings
from sim.run import SimulationError, Simulator
from sim.toolchain import ToolError

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


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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


def beside(arguments: argparse.Namespace, program: Program) -> dict[str, Any]:
    """What the page shows beside the simulation; ValueError for files that are none of ours."""
    network = program.model.network
    spikformer: Sequence[Beside] | None = None
    accuracy = manifest_accuracy(program)
    if arguments.checkpoint is not None:
        spikformer, measured = of_checkpoint(arguments.checkpoint, network)
        accuracy |= measured
    folder = arguments.build or find_build(arguments.model)
    build: Mapping[str, Any] | None = None
    if folder is not None:
        build = read_json(folder / REPORT, BUILD_KEYS)
        if (placed := folder / FLOORPLAN).is_file():
            build = {**build, "floorplan": read_json(placed, ("modules",))["modules"]}
    path = arguments.explored or find_explored(network.name or arguments.model.name,
                                               build["board"] if build else None)
    explored = None if path is None else read_json(path, ("points",))
    return {"spikformer": spikformer, "accuracy": accuracy, "build": build, "explored": explored}


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 if the RTL hangs or differs from the golden model; 2 for bad input."""
    arguments = build_parser().parse_args(argv)
    try:
        program = load_program(arguments.model, arguments)
        inputs = load_inputs(arguments.model, program.model, 1, arguments.image)
        more = beside(arguments, program)
        inferences = Simulator.build(program).run(inputs.values, progress=True,
                                                  **surroundings(arguments))
    except (ValueError, OSError, ToolError) as error:
        return fail(error)
    except SimulationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    golden = GoldenModel(program.model).run(inputs.values)
    comparison = Comparison()
    comparison.add(compare(inferences[0], golden[0]))
    page = render(gather(program, inputs.values[0], inputs.labels[0], inferences[0], golden[0],
                         comparison, count(inferences, golden, program), **more))
    out = arguments.out or OUT / f"{arguments.model.resolve().name}.html"
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, page)
    except OSError as error:
        return fail(error)
    print("\n".join(comparison.lines()))
    print(f"wrote {out}")
    return 0 if comparison.equal else 1


if __name__ == "__main__":
    sys.exit(main())
