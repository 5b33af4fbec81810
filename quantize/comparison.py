# SPDX-License-Identifier: Apache-2.0
"""Operations of a Spikingformer and a Spikformer of equal shape on the same images, layer by layer.

Both are observed in the same way, by what each convolution reads; operations follow by the paper's
convention (`quantize.energy`), of Spikformer by both recalculations (`quantize.spikformer`).
"""

import csv
import io
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hw.command import progress_bar
from hw.network import Kind, Layer
from quantize.energy import Operations, paper_operations, total
from quantize.spikformer import Count, Spikformer, convolution_name, operations
from quantize.spikingformer import Spikingformer

LARGEST_INTEGER_BITS = 8


@dataclass
class Meter:
    """Statistics of a module's tensors, over all timesteps and images.

    bits:   set bits of the values; only where they are whole numbers below 2**LARGEST_INTEGER_BITS
    binary: no value but 0 and 1
    """

    sum: float = 0.0
    bits: float = 0.0
    count: int = 0
    largest: float = 0.0
    binary: bool = True

    def add(self, x: Tensor) -> None:
        total_sum = float(x.sum(dtype=torch.float64))
        self.sum += total_sum
        self.count += x.numel()
        self.largest = max(self.largest, float(x.max()))
        if bool(((x == 0) | (x == 1)).all()):
            self.bits += total_sum
            return
        self.binary = False
        if bool(((x >= 0) & (x == x.round())).all()):
            whole = x.to(torch.int64)
            self.bits += float(sum((whole >> i & 1).sum() for i in range(LARGEST_INTEGER_BITS)))

    @property
    def mean(self) -> float:
        return self.sum / self.count

    @property
    def mean_bits(self) -> float:
        return self.bits / self.count


@dataclass(frozen=True)
class Row:
    """One layer of both networks.

    rate:    mean input of Spikingformer; None for attention and for real inputs
    mean, largest, binary:  input of Spikformer
    ours:    operations of Spikingformer
    spikes, multiplied:  of Spikformer, by both calculations
    bits:    of Spikformer on binary hardware that scans integers bit by bit
    """

    layer: str
    rate: float | None
    ours: Operations
    mean: float | None
    largest: float | None
    binary: bool
    spikes: Operations
    multiplied: Operations
    bits: Operations


def observe(model: nn.Module, x: Tensor, static: bool, inputs: Sequence[str],
            outputs: Sequence[str]) -> dict[str, Meter]:
    """Statistics of what modules read (`inputs`) and give (`outputs`), by module path."""
    meters = {name: Meter() for name in (*inputs, *outputs)}
    with ExitStack() as stack, torch.no_grad():
        for name in inputs:
            stack.callback(model.get_submodule(name).register_forward_pre_hook(
                lambda _, arguments, name=name: meters[name].add(arguments[0])).remove)
        for name in outputs:
            stack.callback(model.get_submodule(name).register_forward_hook(
                lambda _, __, result, name=name: meters[name].add(result)).remove)
        for image in progress_bar(x.split(1, 0 if static else 1), desc=type(model).__name__,
                                  unit="image", leave=False):
            model(image)
    return meters


def spikingformer_convolution(layer: Layer) -> str:
    """Module path of a Spikingformer layer's convolution."""
    return "head" if layer.kind is Kind.CLASSIFIER else f"{layer.name}_conv"


def _branches(layer: Layer) -> list[str]:
    """Module paths of the LIFs of q, k and v, the same in both networks."""
    return [layer.name.replace("ssa", f"{branch}_lif") for branch in "qkv"]


def compare(ours: Spikingformer, theirs: Spikformer, x: Tensor) -> list[Row]:
    """One row per layer; x [n, C, H, W] or [T, n, C, H, W], normalized."""
    network = ours.config
    layers = network.layers()
    weighted = [layer for layer in layers if layer.has_weights]
    branches = [name for layer in layers if layer.kind is Kind.ATTENTION
                for name in _branches(layer)]
    left, right = (observe(model, x, network.static_input, [name(each) for each in weighted],
                           branches)
                   for model, name in ((ours, spikingformer_convolution),
                                       (theirs, convolution_name)))
    rows = []
    for layer in layers:
        if layer.kind is Kind.ATTENTION:
            ours_rates, their_rates = (tuple(meters[name].mean for name in _branches(layer))
                                       for meters in (left, right))
            counts = [paper_operations(layer, rates, network.timesteps, network.head_dim)
                      for rates in (ours_rates, *(3 * [their_rates]))]
            rows.append(Row(layer.name, None, counts[0], None, None, True, *counts[1:]))
            continue
        a, b = left[spikingformer_convolution(layer)], right[convolution_name(layer)]
        spiking = layer.kind is Kind.CONV or (layer.kind is Kind.CLASSIFIER and a.binary)
        counts = [operations(layer, mean, b.binary, (), network.timesteps, network.head_dim, count)
                  for mean, count in ((b.mean, Count.SPIKES), (b.mean, Count.MULTIPLIED),
                                      (b.mean_bits, Count.SPIKES))]
        integer = layer.kind is Kind.CONV
        rows.append(Row(
            layer.name, a.mean if spiking else None,
            paper_operations(layer, (a.mean,) if spiking else (), network.timesteps,
                             network.head_dim),
            b.mean if integer else None, b.largest if integer else None, b.binary, *counts))
    return rows


HEADINGS = ("layer", "rate", "AC M", "MAC M", "uJ", "| mean", "max", "1: AC M", "MAC M", "uJ",
            "| 2: AC M", "MAC M", "uJ")


def table(rows: Sequence[Row]) -> list[str]:
    """The rows and their sum as aligned text."""
    def figures(each: Operations) -> tuple[str, str, str]:
        return f"{each.acs / 1e6:,.3f}", f"{each.macs / 1e6:,.3f}", f"{each.energy_nj / 1e3:,.2f}"

    def line(name: str, rate: float | None, mean: float | None, largest: float | None,
             counts: Sequence[Operations]) -> tuple[str, ...]:
        ours, spikes, multiplied = map(figures, counts)
        return (name, "" if rate is None else f"{rate:.2%}", *ours,
                "|" if mean is None else f"| {mean:.4f}",
                "" if largest is None else f"{largest:.0f}", *spikes, f"| {multiplied[0]}",
                *multiplied[1:])

    cells = [HEADINGS, *(line(row.layer, row.rate, row.mean, row.largest,
                              (row.ours, row.spikes, row.multiplied)) for row in rows)]
    cells.append(line("total", None, None, None, sums(rows)[:3]))
    widths = [max(len(row[i]) for row in cells) for i in range(len(HEADINGS))]
    return ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
            for row in cells]


def sums(rows: Sequence[Row]) -> tuple[Operations, Operations, Operations, Operations]:
    """Of Spikingformer; of Spikformer by calculation 1, calculation 2 and by bits."""
    return tuple(total(getattr(row, name) for row in rows)
                 for name in ("ours", "spikes", "multiplied", "bits"))


def summary(rows: Sequence[Row]) -> list[str]:
    """Totals and what Spikingformer saves, as lines of text."""
    ours, *others = sums(rows)
    integers = [row for row in rows if not row.binary and row.mean is not None]
    largest = max((row.largest or 0 for row in integers), default=0)
    lines = [f"{len(integers)} convolutions of Spikformer read integers, up to {largest:.0f}",
             f"{'Spikingformer':<52}{_figures(ours)}"]
    for text, each in zip(("Spikformer, 1: integer n is n additions",
                           "Spikformer, 2: inputs that are not binary multiply",
                           "Spikformer, integers bit by bit on binary hardware"), others,
                          strict=True):
        saved = 1 - ours.energy_mj / each.energy_mj
        lines.append(f"{text:<52}{_figures(each)}  Spikingformer saves {saved:.1%}")
    return lines


def _figures(each: Operations) -> str:
    return (f"{each.acs / 1e9:>10.6f} G AC {each.macs / 1e9:>10.6f} G MAC "
            f"{each.energy_mj:>10.6f} mJ")


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """The rows in full precision; the file appears complete or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    counts = ("ours", "spikes", "multiplied", "bits")
    writer.writerow(["layer", "rate", "mean", "largest", "binary",
                     *(f"{count}_{kind}" for count in counts for kind in ("acs", "macs"))])
    for row in rows:
        writer.writerow([row.layer, row.rate, row.mean, row.largest, row.binary,
                         *(getattr(getattr(row, count), kind) for count in counts
                           for kind in ("acs", "macs"))])
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text.getvalue())
    partial.replace(path)
