# SPDX-License-Identifier: Apache-2.0
"""What this hardware executes in an inference, beside what the paper's convention counts.

Additions by kind: the exact in-bounds ACs that the RTL counts (padding taps excluded, the encoder
once per image), and residual additions, which the paper leaves out.  Memory traffic: bits that the
on-chip memories of weights, spikes and residual stream read and write, from the memory plan and the
counted events.  Not counted: biases and thresholds, membrane potentials, token sums and the
counters of attention, which are small memories beside the neurons.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

from hw.compiler import Program
from hw.layout import Geometry, LayerPlan
from hw.network import Kind, Layer, Output, pooled
from quantize.energy import Operations, energy_nj, total


@dataclass(frozen=True)
class Work:
    """Additions of one kind.

    acs:   executed
    paper: the same by Eq. 18; None where the paper counts nothing
    """

    name: str
    acs: float
    paper: Operations | None


@dataclass(frozen=True)
class Traffic:
    """Bits that one kind of memory reads and writes in an inference."""

    name: str
    read: float
    written: float


KINDS = {Kind.ENCODER: "encoder", Kind.CONV: "convolutions", Kind.ATTENTION: "attention",
         Kind.CLASSIFIER: "classifier"}


def additions(layers: Sequence[Layer], acs: Sequence[float], paper: Sequence[Operations],
              timesteps: int) -> list[Work]:
    """Executed ACs by kind of layer beside the paper's, then what the paper leaves out.

    acs, paper: of each layer
    """
    rows = [Work(name, sum(count for layer, count in zip(layers, acs) if layer.kind is kind),
                 total(each for layer, each in zip(layers, paper) if layer.kind is kind))
            for kind, name in KINDS.items()]
    return [*rows, Work("residual additions", residual_additions(layers, timesteps), None)]


def residual_additions(layers: Iterable[Layer], timesteps: int) -> int:
    """One for each value of each layer that adds to the residual stream."""
    return sum(timesteps * layer.positions * layer.out_channels for layer in layers if layer.adds)


def weight_bits(plan: LayerPlan, acs: float, lanes: int, bits: int) -> float:
    """Weight bits read: each event reads a row of all lanes, in every tile.

    Idle banks read their row of zeros, which is not counted.
    """
    if not plan.layer.has_weights:
        return 0.0
    return acs / plan.layer.out_channels * plan.tiles * lanes * bits


def source_words(plan: LayerPlan) -> int:
    """Spike words that a layer reads from its source.

    Each tile visits the in-bounds taps of every position.  Attention reads q, k and v once.
    """
    if plan.layer.kind is Kind.ATTENTION:
        return sum(source.size for source in plan.sources)
    source, layer = plan.sources[0], plan.layer
    visits = source.positions
    if layer.kernel == 3:
        visits = (3 * layer.height - 2) * (3 * layer.width - 2)
    return plan.tiles * visits * source.steps * source.words


def windows(size: int) -> int:
    """Pairs of a position and a pooling window that contains it, along one axis."""
    return size + sum(y // 2 + 1 < pooled(size) for y in range(1, size, 2))


def target_words(plan: LayerPlan) -> tuple[int, int]:
    """Spike words read and written where a layer's spikes go.

    With pooling every window takes the word of each of its positions; all but the first read the
    window's word before.
    """
    target, layer = plan.destination, plan.layer
    if target is None:
        return 0, 0
    if not layer.pool:
        return 0, target.size
    written = windows(layer.height) * windows(layer.width) * target.steps * target.words
    return written - target.size, written


def residual_bits(plan: LayerPlan, geometry: Geometry, timesteps: int,
                  width: int) -> tuple[int, int]:
    """Bits of the residual stream read and written by a layer."""
    layer = plan.layer
    if layer.output is not Output.RESIDUAL:
        return 0, 0
    channels = geometry.words(layer.out_channels) * geometry.spike_word
    bits = timesteps * layer.positions * channels * width
    return bits if layer.adds else 0, bits


def on_chip(program: Program, acs: Sequence[float]) -> list[Traffic]:
    """Traffic of the on-chip memories; `acs` by layer."""
    plan, hardware = program.plan, program.hardware
    geometry, timesteps = hardware.geometry, program.model.network.timesteps
    weights = sum(weight_bits(layer, count, geometry.lanes, hardware.weight_bits)
                  for layer, count in zip(plan.layers, acs, strict=True))
    targets = [target_words(layer) for layer in plan.layers]
    read = sum(map(source_words, plan.layers)) + sum(words for words, _ in targets)
    # The image, and the bit planes of the token sums, are written before a layer reads them.
    written = plan.input.size + (plan.planes.size if plan.planes else 0)
    written += sum(words for _, words in targets)
    loaded = sum(layer.tiles * layer.tile_rows for layer in plan.layers) if program.stream else 0
    row_bits = geometry.banks * geometry.lanes * hardware.weight_bits
    rows = [Traffic("weights", weights, loaded * row_bits),
            Traffic("spikes", read * geometry.spike_word, written * geometry.spike_word)]
    if not getattr(hardware, "spills_residual", False):
        residual = [residual_bits(layer, geometry, timesteps, hardware.residual_width)
                    for layer in plan.layers]
        rows.append(Traffic("residual stream", sum(bits for bits, _ in residual),
                            sum(bits for _, bits in residual)))
    return rows


def off_chip(program: Program) -> dict[str, int]:
    """Bytes through the external port per inference, by name; empty with everything on chip."""
    traffic: Any = getattr(program, "traffic", None)
    if traffic is None:
        return {"weights and program": len(program.stream)} if program.stream else {}
    values = asdict(traffic) if is_dataclass(traffic) else dict(traffic)
    return {str(name).replace("_", " "): value for name, value in values.items()
            if isinstance(value, int)}


def lines(program: Program, work: Sequence[Work], traffic: Sequence[Traffic]) -> list[str]:
    """The report as lines of text."""
    headings = (f"{'executed':>16}{'energy nJ':>14}{'paper AC':>16}{'paper MAC':>16}"
                f"{'energy nJ':>14}")
    text = [f"{'additions of one inference':<28}{headings}"]
    for each in work:
        paper = ("" if each.paper is None else
                 f"{each.paper.acs:>16,.0f}{each.paper.macs:>16,.0f}{each.paper.energy_nj:>14,.1f}")
        text.append(f"  {each.name:<26}{each.acs:>16,.0f}{energy_nj(each.acs):>14,.1f}{paper}")
    text.append(f"{'on-chip memory traffic':<28}{'bits read':>16}{'bits written':>16}")
    text += [f"  {each.name:<26}{each.read:>16,.0f}{each.written:>16,.0f}" for each in traffic]
    outside = off_chip(program)
    if outside:
        text.append("off-chip memory traffic")
        text += [f"  {name:<26}{count:>16,} bytes" for name, count in outside.items()]
    return text
