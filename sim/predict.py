# SPDX-License-Identifier: Apache-2.0
"""Predicted cycles of every layer, beside simulated ones: `python -m sim.predict DIR`.

The prediction (`hw.cycles`) needs the program and the spikes of the golden model.  With `--check`
the RTL runs, too, and the exit status is 1 where a layer is further off than `--tolerance` percent.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from hw.command import Outcome, Parser, doing, execute, note
from hw.cycles import LayerCycles, Prediction, predict_inference
from hw.options import describe
from quantize.golden import GoldenModel
from quantize.sources import source_maps
from sim.load import add_arguments, load_inputs, load_program, surroundings
from sim.run import Simulator

HEADINGS = ("layer", "predicted", "compute", "weight wait", "fill, drain", "idle", "adders busy")


def table(prediction: Prediction, simulated: Sequence[int] | None = None) -> list[str]:
    """Lines of text: every layer and the whole; `simulated` cycles by layer, to compare with."""
    headings = [*HEADINGS, *(["simulated", "error"] if simulated else [])]
    cells = [headings]
    for number, layer in enumerate(prediction.layers):
        cells.append([layer.name, *(f"{value:,}" for value in (
            layer.cycles, layer.compute, layer.weight_wait, layer.fill_drain, layer.idle)),
            f"{layer.busy:.1%}"])
        if simulated:
            cells[-1] += [f"{simulated[number]:,}", f"{error(layer, simulated[number]):+.2%}"]
    layers = prediction.layers
    compute, wait, rest = (sum(getattr(layer, name) for layer in layers)
                           for name in ("compute", "weight_wait", "fill_drain"))
    events = sum(layer.events for layer in layers)
    cells.append(["inference", *(f"{value:,}" for value in (
        prediction.cycles, compute, wait, rest, prediction.idle)),
        f"{events / (layers[0].slots * prediction.cycles):.1%}"])
    if simulated:
        predicted = sum(layer.cycles for layer in layers)
        cells[-1] += [f"{sum(simulated):,}", f"{predicted / sum(simulated) - 1:+.2%}"]
    widths = [max(len(row[i]) for row in cells if i < len(row)) for i in range(len(headings))]
    return ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths))) for row in cells]


def error(layer: LayerCycles, simulated: int) -> float:
    """Predicted against simulated cycles of a layer."""
    return layer.cycles / simulated - 1


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim.predict",
        description="Predict the cycles of every layer from the golden model's spikes.")
    add_arguments(parser)
    parser.add_argument("--check", action="store_true", help="simulate the RTL and compare")
    parser.add_argument("--tolerance", type=float, default=2.0, metavar="PERCENT",
                        help="with --check: largest error of a layer (default: %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if the RTL takes other cycles than the tolerance allows; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    program = load_program(arguments.model, arguments)
    inputs = load_inputs(arguments.model, program.model, arguments.samples)
    golden = GoldenModel(program.model)
    runs: list[list[int] | None] = [None] * len(inputs.values)
    if arguments.check:
        with doing("generating and compiling the simulator"):
            simulator = Simulator.build(program)
        runs = [[layer.cycles for layer in inference.layers] for inference in
                simulator.run(inputs.values, progress=True, **surroundings(arguments))]
    note(describe(program.model, program.hardware))
    worst, images = 0.0, []
    for number, (image, simulated) in enumerate(zip(inputs.values, runs)):
        with doing("golden model and cycle model"):
            maps = source_maps(golden, image)
            start = time.perf_counter()
            prediction = predict_inference(program, maps, arguments.latency)
        print(f"image {number}, predicted in {time.perf_counter() - start:.1f} s")
        print("\n".join(table(prediction, simulated)))
        images.append({"cycles": prediction.cycles, "layers": prediction.layers,
                       "simulated": simulated})
        if simulated:
            worst = max(worst, *(abs(error(layer, cycles))
                                 for layer, cycles in zip(prediction.layers, simulated)))
    if arguments.check:
        print(f"largest error of a layer: {worst:.2%}")
    return Outcome({"images": images, "largest_error": worst if arguments.check else None},
                   int(arguments.check and worst * 100 > arguments.tolerance))


if __name__ == "__main__":
    sys.exit(main())
