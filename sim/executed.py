# SPDX-License-Identifier: Apache-2.0
"""What this hardware executes in an inference, beside what the paper's convention counts.

Additions by kind: the exact in-bounds ACs that the RTL counts (padding taps excluded, the encoder
once per image), those of them that it executes (what two neighbouring positions share is added
once, `hw.reuse`), and residual additions, which the paper leaves out.  Memory traffic: bits that
the on-chip memories of weights, spikes and residual stream read and write, from the memory plan and
the counted events.  Not counted: biases and thresholds, membrane potentials, token sums and the
counters of attention, which are small memories beside the neurons.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hw.compiler import Program
from hw.config import HardwareConfig
from hw.layout import LINE_WORDS, Arrangement, Geometry, LayerPlan, MemoryPlan
from hw.network import Kind, Layer, Output, pooled
from quantize.energy import Operations, energy_nj, total


@dataclass(frozen=True)
class Work:
    """Additions of one kind.

    acs:      that the sums contain
    executed: of these, by the adders
    paper:    acs by Eq. 18; None where the paper counts nothing
    """

    name: str
    acs: float
    executed: float
    paper: Operations | None


@dataclass(frozen=True)
class Traffic:
    """Bits that one kind of memory reads and writes in an inference."""

    name: str
    read: float
    written: float


KINDS = {Kind.ENCODER: "encoder", Kind.CONV: "convolutions", Kind.ATTENTION: "attention",
         Kind.CLASSIFIER: "classifier"}


def executed_additions(plan: LayerPlan, acs: float, events: float) -> float:
    """Additions of a layer that the adders execute.

    acs:    by the layer's counter, which counts what each sum contains
    events: that the lanes took; each adds a row of weights, in every tile again.  The attention has
            none; with positions beside each other an event reaches the lanes of one, or of both
    """
    if not plan.layer.has_weights or plan.beside:
        return acs
    return events * plan.layer.out_channels / plan.tiles


def additions(layers: Sequence[Layer], acs: Sequence[float], executed: Sequence[float],
              paper: Sequence[Operations], timesteps: int) -> list[Work]:
    """ACs by kind of layer beside the paper's, then what the paper leaves out.

    acs, executed, paper: of each layer
    """
    def add(kind: Kind, counts: Sequence[float]) -> float:
        return sum(count for layer, count in zip(layers, counts, strict=True)
                   if layer.kind is kind)

    rows = [Work(name, add(kind, acs), add(kind, executed),
                 total(each for layer, each in zip(layers, paper) if layer.kind is kind))
            for kind, name in KINDS.items()]
    residual = residual_additions(layers, timesteps)
    return [*rows, Work("residual additions", residual, residual, None)]


def residual_additions(layers: Iterable[Layer], timesteps: int) -> int:
    """One for each value of each layer that adds to the residual stream."""
    return sum(timesteps * layer.positions * layer.out_channels for layer in layers if layer.adds)


def weight_bits(plan: LayerPlan, events: float, lanes: int, bits: int) -> float:
    """Weight bits read: each event reads a row of all lanes.

    Idle banks read their row of zeros, which is not counted.
    """
    return events * lanes * bits if plan.layer.has_weights else 0.0


def source_lines(plan: LayerPlan, hardware: HardwareConfig, planes: int = 1) -> int:
    """Lines of spike memory that a layer reads from its source.

    Each tile visits the in-bounds kernel rows of every position and step; an encoder does so for
    each of the sample's bit planes.  Attention reads a line of q, k and v for each of its groups.
    """
    source, layer = plan.sources[0], plan.layer
    if layer.kind is Kind.ATTENTION:
        engines = hardware.attention_engines * hardware.attention_lanes
        groups = source.words * hardware.geometry.spike_word // engines
        return len(plan.sources) * source.positions * source.steps * groups
    if source.arrangement is Arrangement.GRID:
        lines = (3 * layer.height - 2) * layer.width * source.steps * source.words * planes
    else:
        lines = source.positions * source.steps * source.step_lines
    # A pair of positions has three groups, two positions beside each other have one.
    return plan.tiles * lines * (3 if plan.pairs else 1 if plan.beside else 2) // 2


def windows(size: int) -> int:
    """Pairs of a position and a pooling window that contains it, along one axis."""
    return size + sum(y // 2 + 1 < pooled(size) for y in range(1, size, 2))


def target_accesses(plan: LayerPlan) -> tuple[int, int]:
    """Lines read and words written where a layer's spikes go.

    With pooling a word is written into each window of its position, after their line was read,
    once for each row of windows.
    """
    target, layer = plan.destination, plan.layer
    if target is None:
        return 0, 0
    words = target.steps * target.words
    if not layer.pool:
        return 0, target.positions * words
    rows = windows(layer.height)
    return rows * layer.width * words, rows * windows(layer.width) * words


def window_lines(plan: MemoryPlan) -> tuple[int, int]:
    """Lines of windowed maps read on their way to external memory, and written on their way back.

    The rows come back once for each tile of the layer that reads them.
    """
    maps = [plan.input, *(layer.destination for layer in plan.layers if layer.destination)]
    out = sum(each.height * each.row_lines for each in maps if each.windowed)
    back = sum(layer.tiles * source.height * source.row_lines
               for layer in plan.layers for source in layer.sources if source.windowed)
    return out, back


def residual_bits(plan: LayerPlan, geometry: Geometry, timesteps: int,
                  width: int) -> tuple[int, int]:
    """Bits of the residual stream read and written by a layer."""
    layer = plan.layer
    if layer.output is not Output.RESIDUAL:
        return 0, 0
    channels = geometry.words(layer.out_channels) * geometry.spike_word
    bits = timesteps * layer.positions * channels * width
    return bits if layer.adds else 0, bits


def on_chip(program: Program, events: Sequence[float]) -> list[Traffic]:
    """Traffic of the on-chip memories; `events` that the lanes took, by layer."""
    plan, hardware = program.plan, program.hardware
    geometry, timesteps = hardware.geometry, program.model.network.timesteps
    weights = sum(weight_bits(layer, count, geometry.lanes, hardware.weight_bits)
                  for layer, count in zip(plan.layers, events, strict=True))
    planes = program.model.input.bits
    targets = [target_accesses(layer) for layer in plan.layers]
    lines_out, lines_back = window_lines(plan)
    read = lines_out + sum(lines for lines, _ in targets) + sum(
        source_lines(layer, hardware, planes if layer.layer.kind is Kind.ENCODER else 1)
        for layer in plan.layers)
    # The image, and the bit planes of the token sums, are written before a layer reads them.
    before = [plan.input] + [plan.planes] * (plan.planes is not None)
    written = sum(each.positions * each.steps * each.words for each in before)
    written += sum(words for _, words in targets) + lines_back * LINE_WORDS
    loaded = sum(layer.tiles * layer.tile_rows for layer in plan.layers) if program.stream else 0
    row_bits = geometry.banks * geometry.lanes * hardware.weight_bits
    rows = [Traffic("weights", weights, loaded * row_bits),
            Traffic("spikes", read * geometry.line_bits, written * geometry.spike_word)]
    if not hardware.spills_residual:
        residual = [residual_bits(layer, geometry, timesteps, hardware.residual_width)
                    for layer in plan.layers]
        rows.append(Traffic("residual stream", sum(bits for bits, _ in residual),
                            sum(bits for _, bits in residual)))
    return rows


def lines(work: Sequence[Work], traffic: Sequence[Traffic]) -> list[str]:
    """The report as lines of text."""
    headings = (f"{'AC':>16}{'executed':>16}{'energy nJ':>14}{'paper AC':>16}{'paper MAC':>16}"
                f"{'energy nJ':>14}")
    text = [f"{'additions of one inference':<28}{headings}"]
    for each in work:
        paper = ("" if each.paper is None else
                 f"{each.paper.acs:>16,.0f}{each.paper.macs:>16,.0f}{each.paper.energy_nj:>14,.1f}")
        text.append(f"  {each.name:<26}{each.acs:>16,.0f}{each.executed:>16,.0f}"
                    f"{energy_nj(each.executed):>14,.1f}{paper}")
    text.append(f"{'on-chip memory traffic':<28}{'bits read':>16}{'bits written':>16}")
    text += [f"  {each.name:<26}{each.read:>16,.0f}{each.written:>16,.0f}" for each in traffic]
    return text
