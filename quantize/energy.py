# SPDX-License-Identifier: Apache-2.0
"""Energy of an inference: by counted additions, and by the paper's convention.

Counted: 0.9 pJ for each AC that really happens.  The paper (arXiv 2304.11954, Eq. 18 and 19)
multiplies firing rates with dense operations instead:

    E = 4.6 pJ * MAC + 0.9 pJ * AC

What the authors' released counter takes into that sum (their repository, `ops.py` and
`flops_counter.py` of the energy calculation):

- convolutions and the classifier: dense operations of all timesteps, padding taps included, and one
  more per output where the layer has a bias of its own (proj, mlp1, mlp2, head);
- the first convolution as MACs in every timestep, although a static input never changes; the
  classifier, which reads a mean, as MACs once; everything else as ACs, dense times mean input;
- attention as T * heads * N * d^2 * (min(rate_k, rate_v) + rate_q), from rates alone;
- no neurons, pooling, BatchNorm, residual additions, and no memory traffic.

`python -m quantize.energy` recomputes the authors' totals of 8-512 from their counts by layer, and
the energies of the paper's Table 1 from its operations.
"""

import argparse
import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import TYPE_CHECKING

from hw.command import Outcome, Parser, execute
from hw.network import Kind, Layer, NetworkConfig
from quantize.models import find
from quantize.rates import MeasuredLayer, measured

if TYPE_CHECKING:   # only the type: energy needs no PyTorch
    from quantize.golden import LayerResult

PJ_PER_AC = 0.9     # 45 nm, 32-bit float addition
PJ_PER_MAC = 4.6    # 45 nm, 32-bit float multiply-accumulate

BRANCH_RATES = Path(__file__).parent / "data" / "spikingformer_8_512_imagenet_ssa_rates.csv"


@dataclass(frozen=True)
class Operations:
    """ACs and MACs of one inference."""

    acs: float = 0.0
    macs: float = 0.0

    def __add__(self, other: "Operations") -> "Operations":
        return Operations(self.acs + other.acs, self.macs + other.macs)

    @property
    def energy_nj(self) -> float:
        """Eq. 19."""
        return (self.acs * PJ_PER_AC + self.macs * PJ_PER_MAC) / 1000

    @property
    def energy_mj(self) -> float:
        return self.energy_nj / 1e6


# What the authors' logs of whole-ImageNet runs end with.
LOGGED = {"imagenet-8-512": Operations(6.51754094076244e9, 0.347329512e9),
          "imagenet-8-768": Operations(12.513659576717108e9, 0.520993768e9)}

# Table 1 of the paper: operations in G, energy in mJ.
TABLE_1 = {"imagenet-8-384": (3.88, 4.69), "imagenet-8-512": (6.52, 7.46),
           "imagenet-8-768": (12.54, 13.68)}
# An energy from operations that are rounded to 0.01 G, against an energy rounded to 0.01 mJ.
TABLE_1_ROUNDING = 0.005 * PJ_PER_AC + 0.005


def energy_nj(acs: float) -> float:
    """Energy of so many ACs in nJ."""
    return acs * PJ_PER_AC / 1000


def total(operations: Iterable[Operations]) -> Operations:
    """The sum, with a single rounding."""
    listed = list(operations)
    return Operations(fsum(each.acs for each in listed), fsum(each.macs for each in listed))


def dense_operations(layer: Layer, timesteps: int) -> int:
    """Operations of a layer with weights as the paper counts them if every input were 1.

    Padding taps and biases of the layer's own are included; biases that only folding of BatchNorm
    brings are not.
    """
    taps = layer.kernel ** 2 * layer.in_channels
    biased = layer.name == "head" or layer.name.endswith((".proj", ".mlp1", ".mlp2"))
    return timesteps * layer.positions * layer.out_channels * (taps + biased)


def attention_operations(channels: int, head_dim: int, tokens: int, timesteps: int,
                         rates: Sequence[float]) -> Operations:
    """SSA from the firing rates of q, k and v: T * heads * N * d^2 * (min(k, v) + q) ACs."""
    q, k, v = rates
    return Operations(timesteps * tokens * channels * head_dim * (min(k, v) + q))


def paper_operations(layer: Layer, rates: Sequence[float], timesteps: int,
                     head_dim: int) -> Operations:
    """ACs and MACs of one layer in the paper's convention (Eq. 18).

    rates: mean input spike rate; for attention those of q, k and v; ignored for multi-bit inputs
    """
    if layer.kind is Kind.ATTENTION:
        return attention_operations(layer.out_channels, head_dim, layer.positions, timesteps, rates)
    dense = dense_operations(layer, timesteps)
    if layer.kind is Kind.ENCODER:
        return Operations(macs=dense)
    if layer.kind is Kind.CLASSIFIER and not len(rates):
        # The released heads read a mean of multi-bit values, once; with a LIF they read spikes.
        return Operations(macs=layer.out_channels * (layer.in_channels + 1))
    return Operations(dense * rates[0])


def paper_counts(layer: Layer, results: Sequence["LayerResult"]) -> Operations:
    """Operations (Eq. 18) of a layer at the mean firing rates of some images."""
    rates = [sum(column) / len(results) for column in zip(*(r.rates for r in results), strict=True)]
    return paper_operations(layer, rates, results[0].timesteps, results[0].head_dim)


def multiplied_operations(network: NetworkConfig) -> float:
    """MACs of the paper's convention, which no firing rate changes: encoder and classifier."""
    layers = [layer for layer in network.layers()
              if layer.kind in (Kind.ENCODER, Kind.CLASSIFIER)]
    return total(paper_operations(layer, (), network.timesteps, network.head_dim)
                 for layer in layers).macs


def branch_rates() -> list[tuple[float, float, float]]:
    """The authors' firing rates of q, k and v in every block of 8-512, in full precision."""
    with BRANCH_RATES.open(newline="") as file:
        return [(float(row["q"]), float(row["k"]), float(row["v"])) for row in csv.DictReader(file)]


def counted(name: str) -> bool:
    """Whether the authors' counter takes a module into the energy: it goes by the name."""
    return "conv" in name or "head" in name


def logged_operations(rows: Mapping[str, MeasuredLayer],
                      branches: Sequence[Sequence[float]],
                      network: NetworkConfig) -> dict[str, Operations]:
    """Operations of a network from counts by module and rates of q, k and v, by group of layers.

    rows:     by names of the authors' log, all timesteps
    branches: rates of q, k and v of every block
    """
    groups: dict[str, list[Operations]] = {}
    for name, row in rows.items():
        if counted(name):
            groups.setdefault(_group(name), []).append(Operations(row.acs, row.macs))
    groups["attention"] = [attention_operations(network.embed_dim, network.head_dim, network.tokens,
                                                network.timesteps, rates) for rates in branches]
    return {group: total(operations) for group, operations in groups.items()}


def _group(name: str) -> str:
    """The group of layers that a module of the log belongs to."""
    part = name.rpartition(".")[2]
    if part in ("q_conv", "k_conv", "v_conv"):
        return "q, k, v"
    if name.startswith("patch_embed"):
        return "encoder" if part == "proj_conv" else "tokenizer"
    return {"proj_conv": "proj", "fc1_conv": "mlp1", "fc2_conv": "mlp2"}.get(part, part)


def logged_rates(rows: Mapping[str, MeasuredLayer], branches: Sequence[Sequence[float]],
                 network: NetworkConfig) -> list[Sequence[float]]:
    """Input rates of every layer of `network.layers()`, as `paper_operations` takes them."""
    names = {"q": "q_conv", "k": "k_conv", "v": "v_conv", "proj": "proj_conv", "mlp1": "fc1_conv",
             "mlp2": "fc2_conv", "block1": "proj_conv1", "block2": "proj_conv2",
             "block3": "proj_conv3", "block4": "rpe_conv"}
    rates: list[Sequence[float]] = []
    for layer in network.layers():
        parent, _, part = layer.name.rpartition(".")
        if layer.kind is Kind.ATTENTION:
            rates.append(branches[int(layer.name.split(".")[1])])
        elif layer.kind is Kind.CONV:
            row = rows[f"{parent}.{names[part]}"]
            rates.append((row.acs / row.dense,))   # the log's rate has three digits only
        else:
            rates.append(())
    return rates


def _figures(operations: Operations) -> str:
    return (f"{operations.macs / 1e9:.6f} G MAC, {operations.acs / 1e9:.6f} G AC, "
            f"{operations.energy_mj:.6f} mJ")


def recomputation() -> list[str]:
    """The authors' totals of 8-512, from their counts by layer and from rates alone, as text."""
    network = find("imagenet-8-512").network
    rows, branches = measured(), branch_rates()
    groups = logged_operations(rows, branches, network)
    lines = ["8-512 on ImageNet from the authors' counts by layer",
             f"{'':<12}{'MAC G':>10}{'AC G':>11}{'mJ':>11}{'share':>8}"]
    whole = total(groups.values())
    for group, each in (*groups.items(), ("total", whole)):
        lines.append(f"{group:<12}{each.macs / 1e9:>10.6f}{each.acs / 1e9:>11.6f}"
                     f"{each.energy_mj:>11.6f}{each.energy_mj / whole.energy_mj:>8.1%}")
    layers = zip(network.layers(), logged_rates(rows, branches, network), strict=True)
    again = total(paper_operations(layer, rates, network.timesteps, network.head_dim)
                  for layer, rates in layers)
    return [*lines, f"from shapes and firing rates alone: {_figures(again)}",
            f"the authors' log ends with: {_figures(LOGGED['imagenet-8-512'])}"]


def table_1() -> list[str]:
    """The energies of the paper's Table 1 from its operations, as text."""
    lines = ["Table 1 of the paper: energy from its operations (AC); MAC from the shapes",
             f"{'':<16}{'MAC G':>10}{'AC G':>8}{'mJ':>9}{'paper':>8}"]
    for name, (acs, paper) in TABLE_1.items():
        each = Operations(acs * 1e9, multiplied_operations(find(name).network))
        verdict = "" if abs(each.energy_mj - paper) <= TABLE_1_ROUNDING else "  differs"
        lines.append(f"{name:<16}{each.macs / 1e9:>10.6f}{acs:>8.2f}{each.energy_mj:>9.4f}"
                     f"{paper:>8.2f}{verdict}")
    return [*lines, f"(rounding of its columns allows {TABLE_1_ROUNDING:.4f} mJ)",
            f"the authors' log of imagenet-8-768: {_figures(LOGGED['imagenet-8-768'])},",
            "of another epoch, attention taken for 12 heads"]


def build_parser() -> Parser:
    return Parser(
        prog="python -m quantize.energy",
        description="Recompute the authors' operations and energies from their counts by layer.")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    print("\n".join([*recomputation(), "", *table_1()]))
    groups = logged_operations(measured(), branch_rates(), find("imagenet-8-512").network)
    return Outcome({"groups": {
        name: {"macs": each.macs, "acs": each.acs, "energy_mj": each.energy_mj}
        for name, each in groups.items()}})


if __name__ == "__main__":
    sys.exit(main())
