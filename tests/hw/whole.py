# SPDX-License-Identifier: Apache-2.0
"""The whole accelerator in Amaranth's simulator, with every traced value read back as arrays."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from amaranth import Cat

from hw.accelerator import Accelerator
from hw.axi import block_bytes
from hw.compiler import Program
from hw.network import Output
from sim.benches.maps import LINE
from tests.hw.axi_memory import AxiMemory, Pauses
from tests.hw.harness import Bench, signed

# Marks a value that no trace word has brought.
MISSING = -(10 ** 9)


@dataclass
class Traced:
    """One layer of one inference as the RTL gave it; maps are [T, C, H, W]."""

    spikes: np.ndarray | None = None
    residual: np.ndarray | None = None
    acs: int = 0
    cycles: int = 0
    saturations: int = 0


@dataclass
class Inference:
    """What one inference gave; faults are sentences about words that should not be."""

    layers: list[Traced]
    logits: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def samples_of(program: Program, image: np.ndarray) -> list[int]:
    """Image [C, H, W] or events [T, C, H, W] in the order of the input port: y, x, (T,) C."""
    mask = (1 << program.hardware.input_width) - 1
    return [int(value) & mask for value in np.moveaxis(image, (-2, -1), (0, 1)).reshape(-1)]


PLACE = {"layer": 8, "position": 16, "timestep": 5, "word": 8}


def _packed(port: Any) -> Cat:
    return Cat(*(getattr(port, name) for name in (*PLACE, "valid")), port.data)


def _unpacked(word: int, valid_bits: int) -> tuple[int, ...]:
    """Layer, position, timestep, word, `valid` and data."""
    values = []
    for bits in (*PLACE.values(), valid_bits):
        values.append(word & (1 << bits) - 1)
        word >>= bits
    return (*values, word)


def connect_memories(bench: Bench, dut: Accelerator, program: Program,
                     pauses: Pauses) -> dict[str, AxiMemory]:
    """Memories at all ports, full of noise but for the image; each region at an address of its own.

    What lies before and behind a region must stay as it is: see `overwritten`.
    """
    hardware, noise = program.hardware, np.random.default_rng(3)
    memories = {}
    regions = {"weights": len(program.stream), "residual": program.residual_bytes,
               "maps": program.map_bytes}
    for name, size in regions.items():
        if not size:
            continue
        base = 5 * block_bytes(hardware.port_bits) * (1 + len(memories))
        base += -base % 4096
        memory = AxiMemory(hardware.port_bits, bytearray(noise.bytes(base + size + 4096)), pauses)
        port = getattr(dut, name)
        bench.hold(getattr(dut, f"{name}_address"), base)
        if name == "weights":
            memory.contents[base:base + size] = program.stream
            memory.serve_reads(bench, port)
            bench.hold(dut.enable, 1)
        else:
            memory.serve_reads(bench, port.read)
            memory.serve_writes(bench, port.write)
        memories[name] = memory
    return memories


def overwritten(memory: AxiMemory, before: bytes, size: int) -> bool:
    """Something outside of the last `size` bytes before the final page has changed."""
    end = len(before) - 4096
    return (memory.contents[:end - size], memory.contents[end:]) != (before[:end - size],
                                                                     before[end:])


def infer(program: Program, images: list[np.ndarray], gaps: tuple[int, int] = (0, 0),
          max_cycles: int = 200_000, pauses: Pauses | None = None) -> list[Inference]:
    """Run the images one after the other without reset."""
    bench = Bench(dut := Accelerator(program.hardware, program.memory, trace=True), seed=1,
                  max_cycles=max_cycles)
    samples = [value for image in images for value in samples_of(program, image)]
    bench.source(dut.i, samples, gaps[0])
    memories = connect_memories(bench, dut, program, pauses or Pauses())
    before = {name: bytes(memory.contents) for name, memory in memories.items()}
    network = program.model.network
    words = network.num_classes + 3 * len(network.layers())
    output = bench.sink(dut.o, words * len(images), gaps[1])
    # One monitor for both traces and the output, as every further one costs simulation time.
    spikes, residual = dut.trace_spikes, dut.trace_residual
    found: list[list[int]] = [[], []]
    ends: list[tuple[int, int]] = []

    async def watch(ctx):
        async for _, _, spike, spike_word, beat, residual_word, last in ctx.tick().sample(
                spikes.valid, _packed(spikes), residual.valid, _packed(residual),
                dut.o.valid & dut.o.ready & dut.o.payload.last):
            if spike:
                found[0].append(spike_word)
            if beat:
                found[1].append(residual_word)
            if last:
                ends.append((len(found[0]), len(found[1])))
    bench.sim.add_testbench(watch, background=True)
    bench.run(extra=5)

    results, start = [], (0, 0)
    for number, end in enumerate(ends):
        traces = [[_unpacked(word, (LINE, 1)[kind]) for word in found[kind][start[kind]:end[kind]]]
                  for kind in (0, 1)]
        results.append(_inference(program, output[number * words:(number + 1) * words], *traces))
        start = end
    if len(output) != words * len(images) or len(ends) != len(images):
        results[-1].faults.append(f"{len(output)} output words and {len(ends)} last marks")
    sizes = {"weights": 0, "residual": program.residual_bytes, "maps": program.map_bytes}
    for name, memory in memories.items():
        results[-1].faults += [f"{name}: {fault}" for fault in memory.faults]
        if overwritten(memory, before[name], sizes[name]):
            results[-1].faults.append(f"{name}: something beside the region was overwritten")
    return results


def _inference(program: Program, output: list[dict], spike_words: list[tuple[int, ...]],
               residual_words: list[tuple[int, ...]]) -> Inference:
    network, geometry = program.model.network, program.hardware.geometry
    T, layers = network.timesteps, network.layers()
    result = Inference([Traced() for _ in layers])
    result.logits = [word["data"] for word in output[:network.num_classes]]
    for i, traced in enumerate(result.layers):
        counters = output[network.num_classes + 3 * i:][:3]
        traced.acs, traced.cycles, traced.saturations = (word["data"] for word in counters)
    if [word["last"] for word in output] != [0] * (len(output) - 1) + [1]:
        result.faults.append("last must mark the last word only")
    for layer, traced in zip(layers, result.layers):
        shape = (T, layer.out_channels, layer.positions)
        if layer.lif:
            traced.spikes = np.full(shape, MISSING)
        if layer.output is Output.RESIDUAL:
            traced.residual = np.full(shape, MISSING)
    width = program.hardware.residual_width
    for kind, size, step, words in (("spikes", geometry.spike_word, 1, spike_words),
                                    ("residual", geometry.neurons, width, residual_words)):
        for index, position, timestep, first, valid, data in words:
            values = getattr(result.layers[index], kind)
            channels = program.traces[index].channels
            slots = [(n, channel) for n in range(LINE * size) if valid >> n // size & 1
                     for channel in channels[first * size + n:first * size + n + 1]]
            if len(slots) != valid.bit_count() * size:
                result.faults.append(f"{layers[index].name} {kind}: there is no word {first}")
            for i, channel in slots:
                value = data >> i * step & (1 << step) - 1
                where = f"{layers[index].name} {kind} t {timestep} token {position} slot {i}"
                if channel < 0:
                    if value and kind == "spikes":
                        result.faults.append(f"{where}: padding must not spike")
                elif values[timestep, channel, position] != MISSING:
                    result.faults.append(f"{where}: came twice")
                else:
                    values[timestep, channel, position] = (value if step == 1
                                                           else signed(value, step))
    for layer, traced in zip(layers, result.layers):
        for kind in ("spikes", "residual"):
            values = getattr(traced, kind)
            if values is not None:
                setattr(traced, kind, values.reshape(T, -1, layer.height, layer.width))
    return result
