# SPDX-License-Identifier: Apache-2.0
"""Command-line options for the facts that a foreign checkpoint cannot tell.

Used by every command that reads a checkpoint: `add_checkpoint_options(parser)` and, after parsing,
`load_from_options(path, args)`.
"""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from hw.model import InputFormat
from hw.network import Classifier
from quantize import models
from quantize.checkpoint import Checkpoint, inspect, load_checkpoint


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


def image_format(mean: tuple[float, ...], std: tuple[float, ...], bits: int = 8,
                 scale: float | None = None) -> InputFormat:
    """Encoder integers for pictures in [0, 1] that the network reads as (x - mean) / std.

    Signed as soon as a mean is above 0.  The scale, unless given, is the finest that no pixel value
    saturates.  ValueError if a std is not positive or the counts of mean and std differ.
    """
    if len(mean) != len(std):
        raise ValueError(f"std must have as many entries as mean, {len(mean)}, not {len(std)!r}")
    if not all(s > 0 for s in std):
        raise ValueError(f"std must be positive, not {min(std)!r}")
    signed = any(m > 0 for m in mean)
    fmt = InputFormat(bits=bits, signed=signed, scale=1.0, mean=mean, std=std)
    if scale is None:
        largest = max(max(abs(m), abs(1 - m)) / s for m, s in zip(mean, std, strict=True))
        scale = largest / max(fmt.maximum, 1)
    return InputFormat(bits=bits, signed=signed, scale=scale, mean=mean, std=std)


def event_format(channels: int, bits: int = 8, scale: float | None = None) -> InputFormat:
    """Encoder integers for event counts: the counts themselves, up to 2**bits - 1."""
    return InputFormat(bits=bits, signed=False, scale=1.0 if scale is None else scale,
                       mean=(0.0,) * channels, std=(1.0,) * channels)


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
    height, width = args.image_size or (None, None)
    given: dict[str, Any] = {
        "num_heads": args.heads, "tau": args.tau, "timesteps": args.timesteps,
        "image_height": height, "image_width": width, "pool_stages": args.pool_stages,
        "classifier": Classifier(args.classifier) if args.classifier else None,
        "static_input": args.input_kind == "image" if args.input_kind else None}
    named = models.find(args.network) if args.network else None
    if named:
        # The number of classes is left to the tensors: a size may be trained on other data.
        facts = {f.name: getattr(named.network, f.name) for f in fields(named.network)
                 if f.name != "num_classes"}
        given = facts | {name: value for name, value in given.items() if value is not None}
    weights = "state_dict_ema" if args.ema else "state_dict"
    return load_checkpoint(path, given=given, weights=weights,
                           input_format=_input_format(path, args, weights, named))


def _input_format(path: Path, args: argparse.Namespace, weights: str,
                  named: models.PaperModel | None) -> InputFormat | None:
    bits = 8 if args.input_bits is None else args.input_bits
    events = named is not None and not named.network.static_input
    if args.input_kind == "events" or (events and args.input_kind is None):
        if args.mean or args.std:
            raise ValueError("--mean and --std belong to images, not to events, which are counts")
        channels = inspect(path, weights).shapes["in_channels"]
        return event_format(channels, bits, args.input_scale)
    if (args.mean is None) != (args.std is None):
        raise ValueError("--mean and --std must be given together")
    if args.mean is not None:
        return image_format(tuple(args.mean), tuple(args.std), bits, args.input_scale)
    if named and named.dataset in models.NORMALIZATION:
        mean, std = models.NORMALIZATION[named.dataset]
        return image_format(mean, std, bits, args.input_scale)
    if args.input_bits is not None or args.input_scale is not None:
        raise ValueError("--input-bits and --input-scale need --mean and --std")
    return None
