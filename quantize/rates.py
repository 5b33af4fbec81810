# SPDX-License-Identifier: Apache-2.0
"""Firing rates of a trained network: what the authors measured on 8-512, carried to any depth.

The numbers and their source: `quantize/data`.  Nobody published rates of the other networks, so a
block takes those of the same relative depth: the first and the last block those of 8-512's first
and last, the blocks between are interpolated.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hw.network import NetworkConfig

OPERATIONS = Path(__file__).parent / "data" / "spikingformer_8_512_imagenet_ops.csv"
MEASURED_DEPTH = 8

# Names of the log by LIF of ours: LIF i of the tokenizer, and the LIFs of a block.
_TOKENIZER = {f"patch_embed.block{i + 1}_lif": f"patch_embed.proj_lif{i or ''}" for i in range(4)}
_TOKENIZER_INPUT = {f"patch_embed.block{i}": f"patch_embed.{name}" for i, name in
                    enumerate(("proj_conv1", "proj_conv2", "proj_conv3", "rpe_conv"), 1)}
_BLOCK = {"attn.proj_lif": "attn.proj_lif", "attn.q_lif": "attn.q_lif",
          "attn.k_lif": "attn.k_lif", "attn.v_lif": "attn.v_lif",
          "attn.attn_lif": "attn.attn_lif", "mlp.mlp1_lif": "mlp.fc1_lif",
          "mlp.mlp2_lif": "mlp.fc2_lif"}


@dataclass(frozen=True)
class MeasuredLayer:
    """One row of the log.

    dense:    operations of all timesteps if every input were 1, padding included
    acs, macs: operations by the paper's convention
    rate:     share of nonzero inputs, of nonzero outputs for a LIF; 0 to 1
    """

    name: str
    kind: str
    dense: int
    acs: float
    macs: float
    rate: float


def measured() -> dict[str, MeasuredLayer]:
    """The authors' rows of 8-512, in the order of execution, by the names of their log."""
    with OPERATIONS.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["layer"]: MeasuredLayer(
        row["layer"], row["kind"], int(row["dense_ops_all_timesteps"]), float(row["acs"]),
        float(row["macs"]), float(row["percent_nonzero"]) / 100) for row in rows}


def target_rates(network: NetworkConfig) -> dict[str, float]:
    """Firing rate of every LIF of `network.layers()` (before pooling), by `Layer.lif`, 0 to 1.

    The LIF of a spiking classifier, which the authors do not have, takes the rate of the last LIF
    that reads the residual stream.
    """
    rows = measured()
    targets = {lif: rows[name].rate for lif, name in _TOKENIZER.items()}
    for block in range(network.depth):
        depth = block * (MEASURED_DEPTH - 1) / max(network.depth - 1, 1)
        for lif, name in _BLOCK.items():
            targets[f"block.{block}.{lif}"] = _at(rows, depth, name)
    if network.classifier.spiking:
        targets["head_lif"] = rows[f"block.{MEASURED_DEPTH - 1}.mlp.fc1_lif"].rate
    return {layer.lif: targets[layer.lif] for layer in network.layers() if layer.lif}


def pooled_rates(network: NetworkConfig) -> dict[str, float]:
    """What tokenizer convolutions read behind a max-pool, by `Layer.lif` of the LIF before it.

    Only where this network pools as 8-512 does.
    """
    rows = measured()
    return {f"{name}_lif": rows[row].rate for i, (name, row) in enumerate(_TOKENIZER_INPUT.items())
            if network.pool_stages[i]}


def _at(rows: Mapping[str, MeasuredLayer], depth: float, name: str) -> float:
    """Rate of a LIF at a fractional depth."""
    lower = min(int(depth), MEASURED_DEPTH - 2)
    first, second = (rows[f"block.{i}.{name}"].rate for i in (lower, lower + 1))
    return first + (second - first) * (depth - lower)
