# SPDX-License-Identifier: Apache-2.0
"""Where a program keeps what: on-chip memories, regions of external memory, bytes that move.

The on-chip memories are those of the elaborated design, so none can be forgotten.  Registers are
not among them: accumulators of lanes, counters of attention in use, pipeline stages.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from amaranth.hdl import Fragment, Shape
from amaranth.hdl._mem import MemoryInstance

from hw.accelerator import Accelerator
from hw.axi import BURST
from hw.compiler import Program
from hw.isa import Op
from hw.layout import SpikeMap

# Regions of external memory begin at a multiple of this: bursts must not cross 4 KB.
ALIGNMENT = 4096
WEIGHTS = "weights"

# What the memories are for, by where they are in the design, numbers replaced by `*` (but those of
# the halves).  The order is that of the table; what is not here is a queue.
NAMES = {
    "lanes.banks.bank*": WEIGHTS,
    "finish.current.params": "parameters",
    "memory.half0bank*": "spikes, half 0",
    "memory.half1bank*": "spikes, half 1",
    "finish.residual.stream": "residual stream",
    "finish.lif.state": "membranes",
    "finish.logits.sums": "sums of bit planes",
    "finish.token_sum.sums": "token sums",
    "attention.kv*.memory": "attention counters",
    "sequencer.program": "program",
    "readout.logits": "logits",
    "readout.counters": "layer counters",
}


@dataclass(frozen=True)
class Memory:
    """On-chip memories of one purpose: `count` of them, each `entries` words of `bits`."""

    name: str
    count: int
    entries: int
    bits: int

    @property
    def total(self) -> int:
        """Bits in all."""
        return self.count * self.entries * self.bits


@dataclass(frozen=True)
class Region:
    """Bytes of external memory, reached through the port `port` at `offset`."""

    name: str
    port: str
    offset: int
    size: int


@dataclass(frozen=True)
class PortTraffic:
    """Bytes that an inference moves through a port; whole beats, as the port has no strobes."""

    port: str
    read: int
    written: int


@dataclass(frozen=True)
class MemoryMap:
    """Everything that a program keeps somewhere.

    regions: one after the other, from offset 0; a host may put each port's at another address
    traffic: of one inference
    """

    memories: tuple[Memory, ...]
    regions: tuple[Region, ...]
    traffic: tuple[PortTraffic, ...]

    @property
    def on_chip_bits(self) -> int:
        return sum(memory.total for memory in self.memories)

    @property
    def bits_besides_weights(self) -> int:
        """On-chip bits that are not there for the weights."""
        return sum(memory.total for memory in self.memories if memory.name != WEIGHTS)

    def lines(self) -> list[str]:
        """The map as text."""
        text = [f"{'on-chip memory':<24}{'entries':>15}{'bits each':>11}{'bits':>14}{'KB':>10}"]
        for each in self.memories:
            count = f"{each.count} x " if each.count > 1 else ""
            text.append(f"  {each.name:<22}{f'{count}{each.entries:,}':>15}{each.bits:>11,}"
                        f"{each.total:>14,}{each.total / 8192:>10,.1f}")
        for name, bits in (("all", self.on_chip_bits),
                           ("besides weights", self.bits_besides_weights)):
            text.append(f"  {name:<22}{'':>26}{bits:>14,}{bits / 8192:>10,.1f}")
        if self.regions:
            text.append(f"{'external memory':<24}{'port':>15}{'offset':>11}{'bytes':>14}")
            text += [f"  {each.name:<22}{each.port:>15}{each.offset:>#11x}{each.size:>14,}"
                     for each in self.regions]
        if self.traffic:
            text.append(f"{'bytes of an inference':<24}{'read':>26}{'written':>14}")
            text += [f"  port {each.port:<17}{each.read:>26,}{each.written:>14,}"
                     for each in self.traffic]
        return text


def memory_map(program: Program) -> MemoryMap:
    """The map of a program on its hardware, which is elaborated for it (a few seconds)."""
    return MemoryMap(tuple(memories(program)), tuple(regions(program)), tuple(traffic(program)))


def memories(program: Program) -> list[Memory]:
    """The on-chip memories, those of equal purpose and size together."""
    design = Fragment.get(Accelerator(program.hardware, program.memory), None)
    counts: dict[tuple[str, int, int], int] = {}
    for path, entries, bits in _instances(design, ()):
        place = re.sub(r"(?<!half)\d+", "*", path)
        name = NAMES.get(place) or f"queue {place.removesuffix('.storage').removesuffix('.queue')}"
        counts[name, entries, bits] = counts.get((name, entries, bits), 0) + 1
    order = {name: index for index, name in enumerate(NAMES.values())}
    return sorted((Memory(name, count, entries, bits)
                   for (name, entries, bits), count in counts.items()),
                  key=lambda memory: order.get(memory.name, len(order)))


def _instances(fragment: Fragment, path: tuple[str, ...]) -> Iterator[tuple[str, int, int]]:
    """Path, depth and width of each memory below a fragment."""
    for child, name, _ in fragment.subfragments:
        if isinstance(child, MemoryInstance):
            yield ".".join((*path, name)), child._data.depth, Shape.cast(child._data.shape).width
        else:
            yield from _instances(child, (*path, name or ""))


def regions(program: Program) -> list[Region]:
    """What lies in external memory, one region after the other."""
    placed, offset = [], 0
    for name, port, size in (("program and weights", "weights", len(program.stream)),
                             ("residual stream", "residual", program.residual_bytes),
                             ("spike maps", "maps", program.map_bytes)):
        if size:
            placed.append(Region(name, port, offset, size))
            offset += -(-size // ALIGNMENT) * ALIGNMENT
    return placed


def traffic(program: Program) -> list[PortTraffic]:
    """Bytes that one inference of the program moves, by port; none with everything on chip."""
    hardware = program.hardware
    if not hardware.streamed:
        return []
    beat = hardware.port_bits // 8
    # Of the block before the records only the first beat is read.
    found = [PortTraffic("weights", len(program.stream) - (BURST - 1) * beat, 0)]
    steps = program.instructions
    if hardware.spills_residual:
        beats = [step.get("stream_beats", 0) for step in steps]
        read = sum(count for count, step in zip(beats, steps) if step.get("add_residual"))
        found.append(PortTraffic("residual", read * beat, sum(beats) * beat))
    if hardware.spills_maps:
        read = sum(step["source_beats"] * step["blocks"] * step["height"] * step["tiles"]
                   for step in steps if step.get("source_window"))
        written = sum(step["target_beats"] * target.blocks * target.height
                      for step, target in zip(steps, _targets(program))
                      if step.get("target_window"))
        found.append(PortTraffic("maps", read * beat, written * beat))
    return found


def _targets(program: Program) -> Sequence[SpikeMap | None]:
    """The map that each instruction writes, None where it writes none."""
    plan = program.plan
    return [plan.input if step["op"] is Op.LOAD else
            plan.planes if step["op"] is Op.PLANES else
            None if step["op"] is Op.END else plan.layers[step["layer"]].destination
            for step in program.instructions]
