# SPDX-License-Identifier: Apache-2.0
"""How active the inputs of each layer are: what the compiler decides by (`hw.reuse`).

`python -m quantize.activity DIR` measures it on the samples of a model directory and stores it
there.  Nothing that the hardware computes depends on it, only how fast.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from hw.command import Outcome, Parser, execute, progress_bar
from hw.model import Activity, FixedPointModel, Samples
from hw.network import Kind
from quantize.golden import GoldenModel, LayerResult

# Inputs that are enough for averages over all their positions.
IMAGES = 4


def of_layer(results: list[LayerResult]) -> Activity:
    """Activity of one layer over several images."""
    layer, count = results[0].layer, len(results)
    taps = (count * results[0].timesteps * layer.positions * layer.in_channels
            * layer.kernel ** 2 * layer.out_channels)
    return Activity(round(sum(each.acs for each in results) / taps, 4),
                    round(2 * sum(each.shared for each in results) / taps, 4))


def measure(model: FixedPointModel, inputs: np.ndarray) -> dict[str, Activity]:
    """Activity of every convolution on the first `IMAGES` of `inputs`, by layer name."""
    golden = GoldenModel(model)
    images = [[result.without_maps() for result in golden.results(image)]
              for image in progress_bar(inputs[:IMAGES], desc="activity", unit="image")]
    return {same[0].name: of_layer(list(same)) for same in zip(*images, strict=True)
            if same[0].layer.kind is Kind.CONV}


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m quantize.activity",
        description="Measure how active the inputs of each layer are, on the model's own samples, "
                    "and store it in the model directory.")
    parser.add_argument("model", type=Path, metavar="DIR", help="model directory with samples")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    model, samples = FixedPointModel.load(arguments.model), Samples.load(arguments.model)
    activity = measure(model, samples.inputs)
    replace(model, activity=activity).save(arguments.model, samples)
    print(f"{'layer':<22} {'density':>8} {'shared':>8} {'saved in pairs':>15}")
    for name, each in activity.items():
        saved = each.shared / (2 * each.density) if each.density else 0.0
        print(f"{name:<22} {each.density:>8.2%} {each.shared:>8.2%} {saved:>15.1%}")
    return Outcome({"layers": activity})


if __name__ == "__main__":
    sys.exit(main())
