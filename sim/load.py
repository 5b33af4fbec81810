# SPDX-License-Identifier: Apache-2.0
"""From command-line words to a program and inputs, shared by the commands of sim."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.compiler import Program, compile_model
from hw.config import HardwareConfig
from hw.layout import DEFAULT_BANKS, DEFAULT_LANES
from hw.model import SHIPPED_MODEL, FixedPointModel, Samples


@dataclass(frozen=True)
class Inputs:
    """What to infer: integers [n, C, H, W] or [n, T, C, H, W], and labels where they are known."""

    values: np.ndarray
    labels: tuple[int | None, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that choose model, hardware and number of samples."""
    parser.add_argument("model", nargs="?", type=Path, default=SHIPPED_MODEL, metavar="DIR",
                        help="model directory (default: the shipped digits network)")
    parser.add_argument("--samples", type=positive, default=1, metavar="N",
                        help="held-out images of the model directory to run (default: 1)")
    parser.add_argument("--lanes", type=positive, default=DEFAULT_LANES, metavar="N",
                        help="output channels that accumulate at once (default: %(default)s)")
    parser.add_argument("--banks", type=positive, default=DEFAULT_BANKS, metavar="N",
                        help="events that a lane adds per cycle (default: %(default)s)")
    parser.add_argument("--gaps", type=positive, metavar="SEED",
                        help="pseudo-random pauses at the input and output streams")


def positive(text: str) -> int:
    """A positive integer, for argparse."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text!r}")
    return value


def load_program(directory: Path, lanes: int, banks: int) -> Program:
    """The model of `directory`, compiled for hardware of its own size; ValueError as they say."""
    model = FixedPointModel.load(directory)
    return compile_model(model, HardwareConfig.for_model(model, lanes=lanes, banks=banks))


def load_inputs(directory: Path, model: FixedPointModel, samples: int,
                image: Path | None = None) -> Inputs:
    """The first `samples` held-out inputs of the directory, or one picture file.

    Raises ValueError if there are not as many, or if the file is not a picture.
    """
    if image is not None:
        from quantize.datasets import load_image  # PyTorch is not needed otherwise

        picture = load_image(image, model.network)
        return Inputs(model.input.quantize(picture)[None], (None,))
    stored = Samples.load(directory)
    if samples > len(stored.labels):
        raise ValueError(f"--samples must be at most {len(stored.labels)}, the number of samples "
                         f"in {str(directory)!r}, not {samples!r}")
    return Inputs(stored.inputs[:samples], tuple(int(label) for label in stored.labels[:samples]))


def fail(error: Exception) -> int:
    """Say what was wrong with the input, in argparse's manner; the exit status 2."""
    print(f"error: {error}", file=sys.stderr)
    return 2
