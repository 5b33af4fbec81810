# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to a model directory: calibrate, quantize, measure, write."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hw.bounds import layer_bounds, signed_width
from hw.command import doing, progress_bar
from hw.model import FixedPointModel, Samples, check_output
from hw.network import Output
from quantize import activity, datasets, fixed
from quantize.checkpoint import Checkpoint
from quantize.fuse import fuse
from quantize.golden import GoldenModel
from quantize.spikingformer import predict

CALIBRATION_IMAGES = 256
BATCH = 64
STORED_BYTES = 1 << 20    # of sample images in a model directory, unless told how many


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
        for part in progress_bar(torch.from_numpy(images).split(BATCH, axis), desc="calibration",
                             unit="batch", leave=False):
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
    with progress_bar(total=len(images), desc="float and integer model", unit="image",
                  leave=False) as bar:
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


@dataclass(frozen=True)
class Quantized:
    """A fixed-point model that was written.

    directory: where
    samples:   held-out inputs that are stored with it, or None
    accuracy:  of float and integer model; None for a checkpoint without a data set
    largest:   absolute value of the residual stream in calibration
    """

    directory: Path
    model: FixedPointModel
    samples: Samples | None
    accuracy: Accuracy | None
    largest: float

    def lines(self) -> list[str]:
        """Layers, residual stream and accuracy, in words."""
        residual = self.model.residual
        lines = [*layer_table(self.model),
                 (f"residual stream: {residual.width} bits, {residual.fraction} of them fraction; "
                  f"largest value in calibration {self.largest:.2f}")]
        if self.accuracy is not None:
            lines.append(accuracy_line(self.accuracy, self.model.accuracy["dataset"]))
            if len(self.samples.labels) < self.accuracy.images:
                lines.append(f"the directory holds the first {len(self.samples.labels)} of these "
                             "images")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Its figures, for programs."""
        return {"directory": self.directory, "network": self.model.network.to_dict(),
                "weight_bits": self.model.weight_bits, "residual": self.model.residual,
                "residual_calibration_maximum": self.largest, "accuracy": self.model.accuracy,
                "activity": self.model.activity}


def quantize(checkpoint: Checkpoint, out: Path | str, *, bits: int = 8, residual_width: int = 16,
             residual_fraction: int | None = None, calibration: np.ndarray | None = None,
             samples: int | None = None, stored_samples: int | None = None) -> Quantized:
    """Turn a checkpoint into integers, measure them, and write the model directory `out`.

    bits:              of a weight, 8, 6 or 4
    residual_width:    bits of a word of the residual stream
    residual_fraction: of these; None: as many as calibration allows
    calibration:       inputs [n, C, H, W] or [n, T, C, H, W] as the checkpoint was trained on,
                       before normalization; None: from its data set
    samples:           held-out images to measure the accuracy with; None: all
    stored_samples:    of these to put into the directory; None: as many as fit into 1 MB

    The directory appears complete or not at all.  ValueError for unsuitable arguments, and for a
    checkpoint without a data set that comes without `calibration`.
    """
    out = Path(out)
    for option, value in (("samples", samples), ("stored", stored_samples)):
        if value is not None and value < 1:
            raise ValueError(f"--{option} must be at least 1, not {value!r}")
    check_output(out)
    fixed.residual_format(residual_width, 1.0, residual_fraction)
    data = datasets.load(checkpoint.dataset) if checkpoint.dataset else None
    calibration = check_calibration(calibration, checkpoint, data)
    largest = calibrate(checkpoint, _for_float(calibration, checkpoint))
    residual = fixed.residual_format(residual_width, largest, residual_fraction)
    provenance = checkpoint.provenance | {"residual_calibration_maximum": largest}
    with doing("integers"):
        model = fixed.quantize(checkpoint.config, fuse(checkpoint.config, checkpoint.state_dict),
                               checkpoint.input_format, residual, bits, provenance)
    held_out, accuracy = None, None
    if data is not None:
        images, labels = data.test_images[:samples], data.test_labels[:samples]
        held_out = Samples(model.input.quantize(images), labels)
        accuracy = evaluate(checkpoint, model, datasets.normalize(images, model.input), held_out)
        model = replace(model, accuracy=accuracy.to_dict() | {"dataset": data.name})
        held_out = stored(held_out, stored_samples)
    # What layers of the hardware take two positions at a time depends on it (`hw.reuse`).
    inputs = model.input.quantize(calibration) if held_out is None else held_out.inputs
    model = replace(model, activity=activity.measure(model, inputs))
    model.save(out, held_out)
    return Quantized(out, model, held_out, accuracy, largest)


def accuracy_line(accuracy: Accuracy, name: str) -> str:
    n = accuracy.images
    return (f"{name}, {n} held-out images: float {100 * accuracy.float_correct / n:.2f} %, integer "
            f"{100 * accuracy.integer_correct / n:.2f} %, same label on {accuracy.same_label}, "
            f"{accuracy.saturations} saturations")


def read_calibration(path: Path) -> np.ndarray:
    """The array of a .npy file; ValueError if it is none of real numbers."""
    try:
        images = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"calibration file must be a .npy array: {error}") from None
    if not isinstance(images, np.ndarray) or images.dtype.kind not in "biuf":
        raise ValueError("calibration file must be one .npy array of real numbers, "
                         f"not {getattr(images, 'dtype', 'an archive')}")
    return images


def check_calibration(images: np.ndarray | None, checkpoint: Checkpoint,
                      data: datasets.Dataset | None) -> np.ndarray:
    """Inputs before normalization, [n, C, H, W] or [n, T, C, H, W]; by default of the data set."""
    network = checkpoint.config
    if images is None and data is None:
        raise ValueError("a checkpoint without a data set of its own needs --calibration FILE.npy")
    if images is None:
        images = data.train_images[:CALIBRATION_IMAGES]
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
