# SPDX-License-Identifier: Apache-2.0
"""From command-line words to a program and inputs, shared by the commands of sim."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hw.compiler import Program, compile_model
from hw.model import SHIPPED_MODEL, FixedPointModel, Samples
from hw.options import add_hardware_options, hardware, positive
from sim.run import DEFAULT_LATENCY


@dataclass(frozen=True)
class Inputs:
    """What to infer: integers [n, C, H, W] or [n, T, C, H, W], and labels where they are known."""

    values: np.ndarray
    labels: tuple[int | None, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments that choose model, number of samples, hardware and pauses."""
    parser.add_argument("model", nargs="?", type=Path, default=SHIPPED_MODEL, metavar="DIR",
                        help="model directory (default: the shipped digits network)")
    parser.add_argument("--samples", type=positive, default=1, metavar="N",
                        help="held-out images of the model directory to run (default: 1)")
    add_hardware_options(parser)
    group = parser.add_argument_group("surroundings of the accelerator")
    group.add_argument("--gaps", type=positive, metavar="SEED",
                       help="pseudo-random pauses at the input and output streams")
    group.add_argument("--latency", type=positive, default=DEFAULT_LATENCY, metavar="CYCLES",
                       help="from a read request to external memory's first beat "
                            "(default: %(default)s)")
    group.add_argument("--stalls", type=positive, metavar="SEED",
                       help="pseudo-random pauses of external memory")


def surroundings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `Simulator.run` that the command line gives."""
    return {"gaps": arguments.gaps, "latency": arguments.latency, "stalls": arguments.stalls}


def load_program(directory: Path, options: argparse.Namespace) -> Program:
    """The model of `directory`, compiled for the hardware of `options`; ValueError as they say."""
    model = FixedPointModel.load(directory)
    return compile_model(model, hardware([model], options))


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
