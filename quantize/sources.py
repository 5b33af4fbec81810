# SPDX-License-Identifier: Apache-2.0
"""What every layer of the golden model reads, as `hw.cycles.predict` takes it."""

from collections.abc import Iterator

import numpy as np
import torch

from hw.network import Kind
from quantize.golden import GoldenModel, max_pool


def source_maps(golden: GoldenModel, image: np.ndarray) -> dict[str, np.ndarray | tuple]:
    """The source of each layer for one input [C, H, W] or [T, C, H, W], by the layer's name."""
    return dict(sources(golden, image))


def sources(golden: GoldenModel,
            image: np.ndarray) -> Iterator[tuple[str, np.ndarray | tuple[np.ndarray, ...]]]:
    """Name and source of each layer in turn.

    The input of the encoder, bool [T, C, H, W] of a convolution, (q, k, v) of attention, token sums
    int64 [C] of a classifier without spikes.
    """
    spiking = golden.model.network.classifier.spiking
    current, sums = np.asarray(image), None
    branches: list[np.ndarray] = []
    for result in golden.results(image):
        layer = result.layer
        if layer.kind is Kind.ATTENTION:
            yield layer.name, tuple(branches)
            branches = []
        else:
            yield layer.name, (sums if layer.kind is Kind.CLASSIFIER and not spiking else current)
        if result.residual is not None:
            sums = result.residual.sum((0, 2, 3))
        if layer.name.endswith((".attn.q", ".attn.k", ".attn.v")):
            branches.append(result.spikes)
        elif result.spikes is not None:
            current = result.spikes
            if layer.pool:
                current = max_pool(torch.from_numpy(current)[:, None])[:, 0].numpy()
