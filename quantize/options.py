# SPDX-License-Identifier: Apache-2.0
"""Command-line options for the facts that a foreign checkpoint cannot tell.

Used by every command that reads a checkpoint: `add_checkpoint_options(parser)` and, after parsing,
`load_from_options(path, args)`.
"""

import argparse
from pathlib import Path

from hw.network import Classifier
from quantize.checkpoint import Checkpoint
from quantize.load import load


def parse_pool_stages(text: str) -> tuple[bool, bool, bool, bool]:
    """From "FFTT" to (False, False, True, True); argparse shows the message of the error."""
    if len(text) != 4 or set(text.upper()) - set("FT"):
        raise argparse.ArgumentTypeError(
            f"pool stages must be four letters T or F, such as FFTT, not {text!r}")
    first, second, third, fourth = (letter == "T" for letter in text.upper())
    return first, second, third, fourth


def parse_image_size(text: str) -> tuple[int, int]:
    """From "224" or "128x96" to (height, width)."""
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(
            f"image size must be HEIGHTxWIDTH or one number, not {text!r}")
    return int(parts[0]), int(parts[-1])


def add_checkpoint_options(parser: argparse.ArgumentParser) -> None:
    """Add what load_from_options reads; all are optional for checkpoints of quantize.train."""
    group = parser.add_argument_group(
        "checkpoints of others", "What tensors do not tell; needed where a checkpoint carries no "
        "metadata of this project, and refused where they contradict it.")
    group.add_argument("--network", metavar="NAME",
                       help="all of this as python -m quantize.models lists it under NAME; the "
                            "other options change single facts")
    group.add_argument("--heads", type=int, metavar="N", help="attention heads of a block")
    group.add_argument("--tau", type=float, help="time constant of the neurons, 2.0 or 1.5")
    group.add_argument("--timesteps", type=int, metavar="T")
    group.add_argument("--image-size", type=parse_image_size, metavar="HxW")
    group.add_argument("--pool-stages", type=parse_pool_stages, metavar="FFTT",
                       help="whether tokenizer stages 1 to 4 pool: FFTT for CIFAR, TTTT for "
                            "ImageNet and DVS")
    group.add_argument("--classifier", choices=[form.value for form in Classifier],
                       help="avgpool_fc in all published networks")
    group.add_argument("--input", choices=("image", "events"), dest="input_kind",
                       help="needed where the network has neither 1 nor 3 input channels")
    group.add_argument("--mean", type=float, nargs="+", metavar="M",
                       help="of the pixels in [0, 1], one number per channel")
    group.add_argument("--std", type=float, nargs="+", metavar="S")
    group.add_argument("--input-bits", type=int, metavar="BITS",
                       help="of the integers that the encoder reads (8)")
    group.add_argument("--input-scale", type=float, metavar="STEP",
                       help="value of one step of these integers")
    group.add_argument("--ema", action="store_true",
                       help="the averaged weights of a container that has both")


def load_from_options(path: Path, args: argparse.Namespace) -> Checkpoint:
    """Read a checkpoint with the options of `add_checkpoint_options`; ValueError as there."""
    return load(path, network=args.network, heads=args.heads, tau=args.tau,
                timesteps=args.timesteps, image_size=args.image_size,
                pool_stages=args.pool_stages, classifier=args.classifier, inputs=args.input_kind,
                mean=args.mean, std=args.std, input_bits=args.input_bits,
                input_scale=args.input_scale, ema=args.ema)
