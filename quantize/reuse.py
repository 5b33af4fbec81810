# SPDX-License-Identifier: Apache-2.0
"""What exact reuse could save of a network's additions: candidates, on real spikes.

`python -m quantize.reuse DIR` prints, for every convolution, the additions that each way to reuse
sums would leave, as a share of A (every set input of every window once):

  change in time    a timestep goes on from the sum of the one before: inputs that came are added,
                    those that went are subtracted, if that is less
  pairs in time     two timesteps share what both have set
  change along x    a position goes on from the sum of its left neighbour, likewise
  pairs along x     two neighbouring positions share what both have set: `hw.reuse` is this one
  products          Prosperity (arXiv 2503.03379): of 256 rows of 16 inputs, each starts from the
                    largest of those whose set inputs it has, too
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from hw.command import Outcome, Parser, execute, progress_bar
from hw.model import FixedPointModel, Samples
from hw.network import Kind
from quantize.golden import GoldenModel
from quantize.sources import source_maps

CANDIDATES = ("change in time", "pairs in time", "change along x", "pairs along x", "products")
PRODUCT_ROWS, PRODUCT_INPUTS = 256, 16


def windows(source: np.ndarray, kernel: int) -> np.ndarray:
    """Inputs of each position: bool [T, inputs, H, W] from spikes [T, C, H, W]."""
    if kernel == 1:
        return source
    columns = F.unfold(torch.from_numpy(source).float(), kernel, padding=kernel // 2)
    return columns.numpy().astype(bool).reshape(len(source), -1, *source.shape[2:])


def changed(inputs: np.ndarray) -> int:
    """Additions along the first axis, each from the sum before it where that takes less."""
    alone = inputs.sum(1)
    steps = np.minimum((inputs[1:] ^ inputs[:-1]).sum(1), alone[1:])
    return int(alone[0].sum() + steps.sum())


def paired(inputs: np.ndarray) -> int:
    """Additions of pairs along the first axis that share what both have."""
    even = len(inputs) // 2 * 2
    return int((inputs[0:even:2] | inputs[1:even:2]).sum() + inputs[even:].sum())


def products(rows: np.ndarray) -> int:
    """Additions of rows [n, inputs] that start from the largest subset among their neighbours."""
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % PRODUCT_INPUTS)))
    codes = rows.reshape(len(rows), -1, PRODUCT_INPUTS) @ (1 << np.arange(PRODUCT_INPUTS))
    ones = rows.reshape(len(rows), -1, PRODUCT_INPUTS).sum(2)
    total = 0
    for first in range(0, len(rows), PRODUCT_ROWS):
        for part in range(codes.shape[1]):
            code, count = (each[first:first + PRODUCT_ROWS, part] for each in (codes, ones))
            within = (code[None, :] & ~code[:, None]) == 0   # row j is a subset of row i
            # Of equal rows the first one is computed.
            order = np.arange(len(code))
            within &= (code[None, :] != code[:, None]) | (order[None, :] < order[:, None])
            total += int((count - np.where(within, count[None, :], 0).max(1)).sum())
    return total


def left(source: np.ndarray, kernel: int) -> dict[str, int]:
    """Set inputs of all windows that each candidate leaves to add; "" is all of them."""
    inputs = windows(source, kernel)
    along_x = inputs.transpose(3, 1, 0, 2)
    rows = inputs.transpose(0, 2, 3, 1).reshape(-1, inputs.shape[1])
    return {"": int(inputs.sum()), "change in time": changed(inputs),
            "pairs in time": paired(inputs), "change along x": changed(along_x),
            "pairs along x": paired(along_x), "products": products(rows)}


def report(layers: Mapping[str, tuple[int, dict[str, int]]]) -> list[str]:
    """A line a layer: additions, and the share of them that each candidate leaves."""
    lines = [f"{'layer':<22}{'A':>14}" + "".join(f"{name:>16}" for name in CANDIDATES)]
    total = dict.fromkeys(("", *CANDIDATES), 0)
    for name, (outputs, counts) in layers.items():
        total = {key: total[key] + outputs * counts[key] for key in total}
        shares = "".join(f"{counts[key] / max(1, counts['']):>16.1%}" for key in CANDIDATES)
        lines.append(f"{name:<22}{outputs * counts['']:>14,}{shares}")
    shares = "".join(f"{total[key] / max(1, total['']):>16.1%}" for key in CANDIDATES)
    return [*lines, f"{'convolutions':<22}{total['']:>14,}{shares}"]


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m quantize.reuse",
        description="Count the additions that ways of exact reuse would leave, on the first sample "
                    "of a model directory.")
    parser.add_argument("model", type=Path, metavar="DIR", help="model directory with samples")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    model, samples = FixedPointModel.load(arguments.model), Samples.load(arguments.model)
    maps = source_maps(GoldenModel(model), samples.inputs[0])
    convolutions = [layer for layer in model.network.layers() if layer.kind is Kind.CONV]
    layers = {layer.name: (layer.out_channels, left(maps[layer.name], layer.kernel))
              for layer in progress_bar(convolutions, desc="reuse", unit="layer", leave=False)}
    print("\n".join(report(layers)))
    return Outcome({"layers": {name: {"outputs": outputs, "left": counts}
                               for name, (outputs, counts) in layers.items()}})


if __name__ == "__main__":
    sys.exit(main())
