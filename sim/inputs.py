# SPDX-License-Identifier: Apache-2.0
"""The input side of a run: samples checked and in the order of the port, files of a run."""

from pathlib import Path
from typing import Any

import numpy as np

from hw.model import in_port_order


def check_inputs(program: Any, inputs: np.ndarray) -> np.ndarray:
    """Inputs as int64, after a look at shape and range.

    Raises ValueError unless they are [n, C, H, W], or [n, T, C, H, W] for events, within the
    model's input format.
    """
    network, fmt = program.model.network, program.model.input
    shape = (network.in_channels, network.image_height, network.image_width)
    if not network.static_input:
        shape = (network.timesteps, *shape)
    inputs = np.asarray(inputs)
    if inputs.ndim != len(shape) + 1 or inputs.shape[1:] != shape or not len(inputs):
        raise ValueError(f"inputs must have shape [n, {', '.join(map(str, shape))}], "
                         f"not {list(inputs.shape)!r}")
    if not np.issubdtype(inputs.dtype, np.integer):
        raise ValueError(f"inputs must be integers, not {inputs.dtype.name!r}")
    inputs = inputs.astype(np.int64)
    if inputs.min() < fmt.minimum or inputs.max() > fmt.maximum:
        raise ValueError(f"inputs must be {fmt.minimum} to {fmt.maximum}, "
                         f"not {int(inputs.min())} to {int(inputs.max())}")
    return inputs


def prepare(program: Any, inputs: np.ndarray, directory: Path) -> list[str]:
    """Write the samples and name all files as plusargs.

    A program that begins at a later layer takes no samples.
    """
    network = program.model.network
    samples = np.concatenate([in_port_order(each) for each in inputs])
    if getattr(program, "first_layer", 0):
        samples = samples[:0]
    samples &= (1 << program.hardware.input_width) - 1
    (directory / "inputs").write_text("\n".join(f"{value:x}" for value in samples.tolist()) + "\n")
    if program.hardware.streamed:
        (directory / "weights").write_bytes(program.stream)
    words = len(inputs) * (network.num_classes + 3 * len(network.layers()))
    names = [f"+{name}={directory / name}"
             for name in ("inputs", "spikes", "residual", "outputs", "layers", "activity")]
    return [*names, f"+weights={directory / 'weights'}", f"+traffic={directory / 'traffic'}",
            f"+weights_bytes={len(program.stream)}", f"+residual_bytes={program.residual_bytes}",
            f"+maps_bytes={program.map_bytes}",
            f"+samples={len(samples)}", f"+words={words}"]
