# SPDX-License-Identifier: Apache-2.0
"""Accuracy of a checkpoint against the bits of its weights, on its data set's held-out images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hw.model import WEIGHT_BITS, Samples
from quantize import datasets, fixed
from quantize.checkpoint import load_checkpoint
from quantize.fuse import fuse
from quantize.pipeline import CALIBRATION_IMAGES, calibrate, evaluate

RESIDUAL_WIDTH = 16


def accuracy_by_bits(path: Path, bits: Sequence[int] = WEIGHT_BITS,
                     images: int | None = None) -> dict[int, float]:
    """Share of right labels of the integer model by weight bits, of the float model under 0.

    images: held-out images to take (all)

    {} for a checkpoint without a data set.  ValueError as `load_checkpoint` says.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint.dataset is None:
        return {}
    data, fmt = datasets.load(checkpoint.dataset), checkpoint.input_format
    calibration = datasets.normalize(data.train_images[:CALIBRATION_IMAGES], fmt)
    if not checkpoint.config.static_input:
        calibration = np.ascontiguousarray(calibration.swapaxes(0, 1))
    held_out, labels = data.test_images[:images], data.test_labels[:images]
    residual = fixed.residual_format(RESIDUAL_WIDTH, calibrate(checkpoint, calibration))
    fused = fuse(checkpoint.config, checkpoint.state_dict)
    found: dict[int, float] = {}
    for each in bits:
        model = fixed.quantize(checkpoint.config, fused, fmt, residual, each, {})
        accuracy = evaluate(checkpoint, model, datasets.normalize(held_out, fmt),
                            Samples(fmt.quantize(held_out), labels))
        found[0] = accuracy.float_correct / accuracy.images
        found[each] = accuracy.integer_correct / accuracy.images
    return found
