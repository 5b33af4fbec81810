# SPDX-License-Identifier: Apache-2.0
"""Memories of an accelerator, from its configuration alone, and the block RAM that they take.

The shapes are those of the elaborated design (`hw.memory_map` finds them there; a test compares),
and the choice of block RAM, LUT RAM or logic is the one of yosys' memory_libmap for 7 series.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from hw.axi import READ_AHEAD
from hw.config import HardwareConfig
from hw.current import ParamRow
from hw.drain import param_address_bits
from hw.isa import WORD_BITS, Instruction
from hw.layout import LINE_WORDS

# Costs that memory_libmap compares: a RAMB18 and a RAMB36, one unit of LUT RAM (four LUTs), bits of
# logic of a ROM.  Shapes are width by depth of one unit.
_HALF, _FULL, _LUTRAM, _ROM_BITS = 129, 257, 8, 64
_TWO_PORTS = ((_HALF, ((18, 1 << 10), (9, 1 << 11), (4, 1 << 12), (2, 1 << 13), (1, 1 << 14))),
              (_FULL, ((36, 1 << 10), (18, 1 << 11), (9, 1 << 12), (4, 1 << 13), (2, 1 << 14),
                       (1, 1 << 15))))
_READ_AND_WRITE = ((_HALF, ((36, 1 << 9), *_TWO_PORTS[0][1])),
                   (_FULL, ((72, 1 << 9), *_TWO_PORTS[1][1])))
_LUTRAM_SHAPES = ((6, 32), (3, 64))


@dataclass(frozen=True)
class Ram:
    """`count` memories of `depth` words of `bits`, read in the cycle after the address.

    two_reads: both ports read (and one of them writes); else one reads, one writes
    rom:       never written: logic may be cheaper
    block:     asked for (the attribute `ram_style`): nothing else is considered
    """

    name: str
    count: int
    depth: int
    bits: int
    two_reads: bool = False
    rom: bool = False
    block: bool = False


def _best(memory: Ram) -> tuple[int, int]:
    """RAMB18 of one memory (0: LUT RAM or logic), and how many of them lie behind each other."""
    cost, halves, deep = min(
        (cost * wide * deep, wide * deep * (1 if cost == _HALF else 2), deep)
        for cost, shapes in (_TWO_PORTS if memory.two_reads else _READ_AND_WRITE)
        for width, depth in shapes
        for wide, deep in [(ceil(memory.bits / width), ceil(memory.depth / depth))])
    others = [_LUTRAM * ceil(memory.bits / width) * ceil(memory.depth / depth)
              for width, depth in _LUTRAM_SHAPES]
    if memory.rom:
        others.append(memory.bits * memory.depth / _ROM_BITS)
    if min(others) < cost and not memory.block:
        return 0, 1
    return halves, deep


def block_rams(memory: Ram) -> float:
    """RAMB36 (a RAMB18 is half of one) that all memories of this kind take."""
    return memory.count * _best(memory)[0] / 2


def multiplexed(memory: Ram) -> int:
    """Bits that LUTs select from block RAMs that lie behind each other, of all memories."""
    reads = 2 if memory.two_reads else 1
    return memory.count * reads * memory.bits * (_best(memory)[1] - 1)


def rams(hardware: HardwareConfig) -> Iterator[Ram]:
    """The memories of which a block RAM could be made: those that are read with a clock."""
    geometry, streamed = hardware.geometry, hardware.streamed
    yield Ram("weights", geometry.banks, hardware.weight_rows,
              geometry.lanes * hardware.weight_bits, two_reads=geometry.ports == 2,
              rom=not streamed, block=not streamed)
    if hardware.parity:
        yield Ram("parity of the weights", geometry.banks, hardware.weight_rows, 1,
                  two_reads=geometry.ports == 2, rom=not streamed)
    depth = 1 << param_address_bits(hardware) if streamed else max(2, hardware.param_rows)
    yield Ram("parameters", 1, depth, ParamRow(hardware).size, rom=not streamed,
              block=streamed)
    for half, lines in enumerate(hardware.spike_lines):
        yield Ram(f"spikes, half {half}", LINE_WORDS, max(2, lines), geometry.spike_word)
    if not hardware.spills_residual:
        yield Ram("residual stream", 1, max(2, hardware.residual_words),
                  geometry.neurons * hardware.residual_width + hardware.parity)
    yield Ram("attention counters", hardware.attention_engines,
              hardware.max_timesteps * hardware.attention_lanes, 4 * hardware.attention_lanes)
    # At most: of a program that is known, what never changes is not stored.
    words = hardware.program_words if streamed else (
        (hardware.program_layers + 3) * Instruction(hardware).words)
    yield Ram("program", 1, words, WORD_BITS, rom=not streamed)
    # Queues; one word of them is in the register behind the memory.
    ports = streamed + 2 * hardware.spills_residual + 2 * hardware.spills_maps
    if ports:
        yield Ram("queues of the ports", ports, READ_AHEAD - 1, hardware.port_bits)
    if hardware.spills_residual:
        yield Ram("queues of the residual stream", 2, 8 * geometry.beats - 1,
                  geometry.neurons * hardware.residual_width)


def block_ram(hardware: HardwareConfig) -> float:
    """RAMB36 of the whole accelerator."""
    return sum(map(block_rams, rams(hardware)))
