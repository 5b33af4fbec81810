# SPDX-License-Identifier: Apache-2.0
"""Cycles of `hw.attention`: its groups run one after another, an entry takes its busiest engine."""

from dataclasses import dataclass

import numpy as np

from hw.config import HardwareConfig
from hw.cycles_lines import check_shape, stored
from hw.layout import LayerPlan

# Cycles of a group of channels beside Clear and its entries, by the states of `Attention` and
# `AttentionFetch`: Start-Keys, Events, Values; Settle, Start-Queries, Events; three stages, the
# step to each first entry that waits, and to each last entry and from it.
AROUND = 13
# From one entry to the next: it takes the place of the one that waits, which the memory fills.
LEAST = 2


@dataclass(frozen=True)
class AttentionRun:
    """cycles: from the start to the end; busy: of these, those with an event; events: of all."""

    cycles: int
    busy: int
    events: int


def run(hardware: HardwareConfig, plan: LayerPlan, queries: np.ndarray,
        keys: np.ndarray) -> AttentionRun:
    """A layer on the spikes of q and k, bool [T, C, H, W]; those of v cost no cycles.

    Raises ValueError for another shape.
    """
    geometry, placed = hardware.geometry, plan.sources[0]
    shape = (placed.steps, plan.layer.in_channels, placed.height, placed.width)
    lanes, engines = hardware.attention_lanes, hardware.attention_engines
    clear = hardware.max_timesteps * lanes

    def by_engine(source: np.ndarray) -> np.ndarray:
        """Events [groups, entries, engines], the entries by position, then timestep."""
        check_shape(plan.layer.name, source, shape)
        padded = stored(source, placed, geometry.spike_word)
        size = lanes * engines
        padded = np.pad(padded, ((0, 0), (0, -padded.shape[1] % size), (0, 0), (0, 0)))
        split = padded.reshape(len(padded), -1, engines, lanes, *padded.shape[2:])
        counts = split.sum(3).transpose(1, 3, 4, 0, 2)
        return counts.reshape(len(counts), -1, engines)

    counts_k, counts_q = by_engine(keys), by_engine(queries)
    worst_k, worst_q = counts_k.max(2), counts_q.max(2)
    # The engines of the last key are still writing while the state is Settle.
    settle = int((worst_k[:, -1] > 0).sum())
    # Of one timestep keys share rows of KV, and leave a cycle between them.
    between = np.maximum(worst_k[:, :-1], 1) + 1 if len(keys) == 1 else worst_k[:, :-1]
    spent_k = np.maximum(between, LEAST).sum() + np.maximum(worst_k[:, -1], 1).sum()
    spent_q = np.maximum(worst_q[:, :-1], LEAST).sum() + np.maximum(worst_q[:, -1], 1).sum()
    groups = len(worst_k)
    cycles = groups * (clear + AROUND) + int(spent_k + spent_q) + settle
    return AttentionRun(cycles, int(worst_k.sum() + worst_q.sum()),
                        int(counts_k.sum() + counts_q.sum()))
