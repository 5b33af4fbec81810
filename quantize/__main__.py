# SPDX-License-Identifier: Apache-2.0
"""Checkpoint to fixed-point model directory: `python -m quantize CHECKPOINT --out DIR`."""

import argparse
import sys
from pathlib import Path

from hw.command import Outcome, Parser, execute, note
from hw.model import WEIGHT_BITS
from quantize.options import add_checkpoint_options, load_from_options
from quantize.pipeline import (
    CALIBRATION_IMAGES,
    quantize,
    read_calibration,
    read_held_out,
)


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m quantize",
        description="Turn a trained checkpoint into integers: a model directory for hw.build and "
                    "sim.")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT",
                        help=".safetensors, or .pth, which is read without executing anything")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help="model directory, replaced when it is complete")
    parser.add_argument("--bits", type=int, choices=WEIGHT_BITS, default=8, help="of a weight (8)")
    parser.add_argument("--residual-width", type=int, default=16, metavar="BITS",
                        help="of a word of the residual stream (16)")
    parser.add_argument("--residual-fraction", type=int, metavar="BITS",
                        help="of these; default: as many as calibration allows")
    parser.add_argument("--calibration", type=Path, metavar="FILE.npy",
                        help="inputs [n, C, H, W] or [n, T, C, H, W] as the checkpoint was trained "
                             "on, before normalization; default: from its data set")
    parser.add_argument("--data", type=Path, metavar="FILE.npz",
                        help="held-out inputs (pixels in [0, 1], or event counts) and labels, "
                             "instead of its data set; without --calibration the first "
                             f"{CALIBRATION_IMAGES} calibrate, too")
    parser.add_argument("--samples", type=int, metavar="N",
                        help="held-out images to measure the accuracy with (all)")
    parser.add_argument("--stored", type=int, metavar="N",
                        help="of these to put into the directory, for simulation and boards (as "
                             "many as fit into 1 MB)")
    add_checkpoint_options(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    checkpoint = load_from_options(arguments.checkpoint, arguments)
    note(*(f"note: {each}" for each in checkpoint.notes))
    if checkpoint.ignored:
        note(f"ignored {len(checkpoint.ignored)} unused tensors: {', '.join(checkpoint.ignored)}")
    calibration = arguments.calibration and read_calibration(arguments.calibration)
    held_out = arguments.data and read_held_out(arguments.data, checkpoint)
    made = quantize(checkpoint, arguments.out, bits=arguments.bits,
                    residual_width=arguments.residual_width,
                    residual_fraction=arguments.residual_fraction, calibration=calibration,
                    held_out=held_out, samples=arguments.samples,
                    stored_samples=arguments.stored)
    print("\n".join(made.lines()))
    note(f"wrote {made.directory}")
    return Outcome(made.to_dict())


if __name__ == "__main__":
    sys.exit(main())
