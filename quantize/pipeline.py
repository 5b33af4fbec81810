# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to a model directory: calibrate, quantize, measure, write."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hw.bounds import layer_bounds, signed_width
from hw.command import doing, first_line, progress_bar
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
    batch, count = min(BATCH, golden.batch), len(samples.labels)
    static = checkpoint.config.static_input   # of events, the timestep leads
    floats, integers, saturations = [], [], 0
    with progress_bar(total=count, desc="float and integer model", unit="image",
                  leave=False) as bar:
        for first in range(0, count, batch):
            part = slice(first, first + batch)
            read = torch.from_numpy(images[part] if static else images[:, part])
            floats.append(predict(network, read).argmax(1).numpy())
            for step in golden.steps(samples.inputs[part]):
                if step.saturations is not None:
                    saturations += int(step.saturations.sum())
            integers.append(step.logits.argmax(1).numpy())
            bar.update(len(integers[-1]))
    floats, integers = np.concatenate(floats), np.concatenate(integers)
    return Accuracy(count, int((floats == samples.labels).sum()),
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
class HeldOut:
    """Inputs that the network was not trained on, and their labels.

    images: [n, C, H, W] or [n, T, C, H, W] before normalization: pixels in [0, 1], event counts
    labels: int64 [n]
    name:   of the data, for the reader
    """

    images: np.ndarray
    labels: np.ndarray
    name: str


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
             held_out: HeldOut | None = None, samples: int | None = None,
             stored_samples: int | None = None) -> Quantized:
    """Turn a checkpoint into integers, measure them, and write the model directory `out`.

    bits:              of a weight, 8, 6 or 4
    residual_width:    bits of a word of the residual stream
    residual_fraction: of these; None: as many as calibration allows
    calibration:       inputs [n, C, H, W] or [n, T, C, H, W] as the checkpoint was trained on,
                       before normalization; None: from its data set, else of `held_out`
    held_out:          to measure the accuracy with; None: from its data set, if it has one
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
    if held_out is None and checkpoint.dataset:
        data = datasets.load(checkpoint.dataset)
        held_out = HeldOut(data.test_images, data.test_labels, data.name)
        calibration = data.train_images if calibration is None else calibration
    if calibration is None and held_out is not None:
        calibration = held_out.images
    calibration = check_inputs(calibration, checkpoint, "calibration inputs")[:CALIBRATION_IMAGES]
    largest = calibrate(checkpoint, _for_float(calibration, checkpoint))
    residual = fixed.residual_format(residual_width, largest, residual_fraction)
    provenance = checkpoint.provenance | {"residual_calibration_maximum": largest}
    with doing("integers"):
        model = fixed.quantize(checkpoint.config, fuse(checkpoint.config, checkpoint.state_dict),
                               checkpoint.input_format, residual, bits, provenance)
    kept, accuracy = None, None
    if held_out is not None:
        images = check_inputs(held_out.images, checkpoint, "held-out inputs")[:samples]
        kept = Samples(model.input.quantize(images), held_out.labels[:samples])
        accuracy = evaluate(checkpoint, model, _for_float(images, checkpoint), kept)
        model = replace(model, accuracy=accuracy.to_dict() | {"dataset": held_out.name})
        kept = stored(kept, stored_samples)
    # What layers of the hardware take two positions at a time depends on it (`hw.reuse`).
    inputs = model.input.quantize(calibration) if kept is None else kept.inputs
    model = replace(model, activity=activity.measure(model, inputs))
    model.save(out, kept)
    return Quantized(out, model, kept, accuracy, largest)


def accuracy_line(accuracy: Accuracy, name: str) -> str:
    n = accuracy.images
    return (f"{name}, {n} held-out images: float {100 * accuracy.float_correct / n:.2f} %, integer "
            f"{100 * accuracy.integer_correct / n:.2f} %, same label on {accuracy.same_label}, "
            f"{accuracy.saturations} saturations")


def read_calibration(path: Path) -> np.ndarray:
    """The array of a .npy file; ValueError if it is none of real numbers."""
    try:
        # Mapped: reading would first set aside as much as the header says.
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy parses the header as Python, which can fail in any way
        raise ValueError(f"calibration file must be a .npy array: {first_line(error)}") from None
    if not isinstance(images, np.ndarray) or images.dtype.kind not in "biuf":
        raise ValueError("calibration file must be one .npy array of real numbers, "
                         f"not {getattr(images, 'dtype', 'an archive')}")
    return np.array(images)


def read_held_out(path: Path, checkpoint: Checkpoint) -> HeldOut:
    """Arrays `inputs` and `labels` of a .npz file; ValueError if they are not as they must be."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("inputs", "labels")}
    except Exception as error:  # likewise, and zipfile can fail, too
        raise ValueError("--data must be a .npz file with inputs and labels, as numpy.savez("
                         f"FILE, inputs=..., labels=...) writes it: {first_line(error)}") from None
    inputs, labels = arrays["inputs"], arrays["labels"]
    if inputs.dtype.kind not in "biuf" or not inputs.ndim:
        raise ValueError(f"inputs of --data must be real numbers, not {inputs.dtype}")
    classes = checkpoint.config.num_classes
    if labels.dtype.kind not in "iu" or labels.shape != inputs.shape[:1] or (
            labels.size and not 0 <= labels.min() <= labels.max() < classes):
        raise ValueError(f"labels of --data must be {len(inputs)} integers from 0 to {classes - 1}"
                         f", one for each input, not {labels.dtype} of shape {labels.shape!r}")
    return HeldOut(inputs, labels.astype(np.int64), path.name)


def check_inputs(images: np.ndarray | None, checkpoint: Checkpoint, what: str) -> np.ndarray:
    """Inputs before normalization, [n, C, H, W] or [n, T, C, H, W], with the network's shape."""
    network = checkpoint.config
    if images is None:
        raise ValueError("a checkpoint without a data set of its own needs --data FILE.npz, or at "
                         "least --calibration FILE.npy")
    shape = (network.in_channels, network.image_height, network.image_width)
    if not network.static_input:
        shape = (network.timesteps, *shape)
    if images.ndim != len(shape) + 1 or images.shape[1:] != shape or not len(images):
        raise ValueError(f"{what} must have shape (n, {', '.join(map(str, shape))}), "
                         f"not {images.shape!r}")
    if not np.isfinite(images).all():
        raise ValueError(f"{what} must be finite, not NaN or infinity")
    return images


def _for_float(images: np.ndarray, checkpoint: Checkpoint) -> np.ndarray:
    """What the float model reads: normalized, events with the timestep leading."""
    images = datasets.normalize(images, checkpoint.input_format)
    return (images if checkpoint.config.static_input
            else np.ascontiguousarray(images.swapaxes(0, 1)))
