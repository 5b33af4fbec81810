# SPDX-License-Identifier: Apache-2.0
"""Checkpoint to fixed-point model directory: `python -m quantize CHECKPOINT --out DIR`."""

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from hw.bounds import layer_bounds, signed_width
from hw.model import WEIGHT_BITS, FixedPointModel, Samples, check_output
from hw.network import Output
from quantize import activity, datasets, fixed
from quantize.checkpoint import Checkpoint
from quantize.fuse import fuse
from quantize.golden import GoldenModel
from quantize.options import add_checkpoint_options, load_from_options
from quantize.spikingformer import predict

CALIBRATION_IMAGES = 256
BATCH = 64
STORED_BYTES = 1 << 20    # of sample images in a model directory, unless --stored says how many


@dataclass(frozen=True)
class Accuracy:
    """Float and integer model on the same held-out images."""

    images: int
    float_correct: int
    integer_correct: int
    same_label: int
    saturations: int

    def to_dict(self) -> dict[str, Any]:
        return {"images": self.images, "float": self.float_correct / self.images,
                "integer": self.integer_correct / self.images,
                "same_label": self.same_label / self.images, "saturations": self.saturations}


def calibrate(checkpoint: Checkpoint, images: np.ndarray) -> float:
    """Largest absolute value of the residual stream on normalized float inputs."""
    model, largest = checkpoint.model(), 0.0
    axis = 0 if checkpoint.config.static_input else 1
    with torch.no_grad():
        for part in torch.from_numpy(images).split(BATCH, axis):
            record: dict[str, Any] = {}
            model(part, record)
            largest = max(largest, *(float(entry.residual.abs().max())
                                     for entry in record.values() if entry.residual is not None))
    return largest


def evaluate(checkpoint: Checkpoint, model: FixedPointModel, images: np.ndarray,
             samples: Samples) -> Accuracy:
    """Run both models; `images` are what the float model reads, `samples` the same as integers."""
    network, golden = checkpoint.model(), GoldenModel(model)
    batch = min(BATCH, golden.batch)
    floats, integers, saturations = [], [], 0
    with tqdm(total=len(images), desc="float and integer model", unit="image", leave=False) as bar:
        for first in range(0, len(images), batch):
            part = slice(first, first + batch)
            floats.append(predict(network, torch.from_numpy(images[part])).argmax(1).numpy())
            for step in golden.steps(samples.inputs[part]):
                if step.saturations is not None:
                    saturations += int(step.saturations.sum())
            integers.append(step.logits.argmax(1).numpy())
            bar.update(len(integers[-1]))
    floats, integers = np.concatenate(floats), np.concatenate(integers)
    return Accuracy(len(images), int((floats == samples.labels).sum()),
                    int((integers == samples.labels).sum()), int((floats == integers).sum()),
                    saturations)


def stored(samples: Samples, count: int | None) -> Samples:
    """The first `count` of the samples, by default those that fit into STORED_BYTES."""
    if count is None:
        count = max(1, STORED_BYTES // samples.inputs[0].nbytes)
    return Samples(samples.inputs[:count], samples.labels[:count])


def layer_table(model: FixedPointModel) -> list[str]:
    """Grids and proved widths, one line per layer with weights."""
    heading = (f"{'layer':<22} {'weights':>9} {'g':>2} {'threshold or shift':>19} {'sum':>4} "
               f"{'current':>7} {'state':>5}   (widths in bits)")
    lines = [heading]
    bounds = layer_bounds(model)
    for layer in model.network.layers():
        if not layer.has_weights:
            continue
        tensors, bound = model.tensors[layer.name], bounds[layer.name]
        if layer.output is Output.LOGITS:
            grid = "one for all classes"
        elif tensors.shift is not None:
            grid = f"shift {tensors.shift.min()}..{tensors.shift.max()}"
        else:
            grid = f"theta {tensors.threshold.min()}..{tensors.threshold.max()}"
        state = str(signed_width(bound.state)) if bound.state else "-"
        lines.append(f"{layer.name:<22} {tensors.weight.size:>9,} {tensors.bias_shift:>2} "
                     f"{grid:>19} {signed_width(bound.sum):>4} {signed_width(bound.current):>7} "
                     f"{state:>5}")
    return lines


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    parser.add_argument("--samples", type=int, metavar="N",
                        help="held-out images to measure the accuracy with (all)")
    parser.add_argument("--stored", type=int, metavar="N",
                        help="of these to put into the directory, for simulation and boards (as "
                             "many as fit into 1 MB)")
    add_checkpoint_options(parser)
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        run(arguments)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Quantize, measure, write; ValueError for anything wrong with the input."""
    for option in ("samples", "stored"):
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise ValueError(f"--{option} must be at least 1, not {value!r}")
    check_output(arguments.out)
    fixed.residual_format(arguments.residual_width, 1.0, arguments.residual_fraction)
    checkpoint = load_from_options(arguments.checkpoint, arguments)
    for note in checkpoint.notes:
        print(f"note: {note}")
    if checkpoint.ignored:
        print(f"ignored {len(checkpoint.ignored)} unused tensors: {', '.join(checkpoint.ignored)}")
    data = datasets.load(checkpoint.dataset) if checkpoint.dataset else None
    calibration = _calibration(arguments.calibration, checkpoint, data)
    largest = calibrate(checkpoint, _for_float(calibration, checkpoint))
    residual = fixed.residual_format(arguments.residual_width, largest,
                                     arguments.residual_fraction)
    provenance = checkpoint.provenance | {"residual_calibration_maximum": largest}
    model = fixed.quantize(checkpoint.config, fuse(checkpoint.config, checkpoint.state_dict),
                           checkpoint.input_format, residual, arguments.bits, provenance)
    print("\n".join(layer_table(model)))
    print(f"residual stream: {residual.width} bits, {residual.fraction} of them fraction; "
          f"largest value in calibration {largest:.2f}")
    samples = None
    if data is not None:
        images, labels = data.test_images[:arguments.samples], data.test_labels[:arguments.samples]
        samples = Samples(model.input.quantize(images), labels)
        accuracy = evaluate(checkpoint, model, datasets.normalize(images, model.input), samples)
        model = replace(model, accuracy=accuracy.to_dict() | {"dataset": data.name})
        print(accuracy_line(accuracy, data.name))
        samples = stored(samples, arguments.stored)
        if len(samples.labels) < accuracy.images:
            print(f"the directory holds the first {len(samples.labels)} of these images")
    # What layers of the hardware take two positions at a time depends on it (`hw.reuse`).
    inputs = model.input.quantize(calibration) if samples is None else samples.inputs
    model = replace(model, activity=activity.measure(model, inputs))
    model.save(arguments.out, samples)
    print(f"wrote {arguments.out}")


def accuracy_line(accuracy: Accuracy, name: str) -> str:
    n = accuracy.images
    return (f"{name}, {n} held-out images: float {100 * accuracy.float_correct / n:.2f} %, integer "
            f"{100 * accuracy.integer_correct / n:.2f} %, same label on {accuracy.same_label}, "
            f"{accuracy.saturations} saturations")


def _calibration(path: Path | None, checkpoint: Checkpoint,
                 data: datasets.Dataset | None) -> np.ndarray:
    """Inputs before normalization, [n, C, H, W] or [n, T, C, H, W]."""
    network = checkpoint.config
    if path is not None:
        try:
            images = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"calibration file must be a .npy array: {error}") from None
        if not isinstance(images, np.ndarray) or images.dtype.kind not in "biuf":
            raise ValueError("calibration file must be one .npy array of real numbers, "
                             f"not {getattr(images, 'dtype', 'an archive')}")
    elif data is not None:
        images = data.train_images[:CALIBRATION_IMAGES]
    else:
        raise ValueError("a checkpoint without a data set of its own needs --calibration FILE.npy")
    shape = (network.in_channels, network.image_height, network.image_width)
    if not network.static_input:
        shape = (network.timesteps, *shape)
    if images.ndim != len(shape) + 1 or images.shape[1:] != shape or not len(images):
        raise ValueError(f"calibration inputs must have shape (n, {', '.join(map(str, shape))}), "
                         f"not {images.shape!r}")
    if not np.isfinite(images).all():
        raise ValueError("calibration inputs must be finite, not NaN or infinity")
    return images


def _for_float(images: np.ndarray, checkpoint: Checkpoint) -> np.ndarray:
    """What the float model reads: normalized, events with the timestep leading."""
    images = datasets.normalize(images, checkpoint.input_format)
    return (images if checkpoint.config.static_input
            else np.ascontiguousarray(images.swapaxes(0, 1)))


if __name__ == "__main__":
    sys.exit(main())
