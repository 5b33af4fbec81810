# SPDX-License-Identifier: Apache-2.0
"""Runs that begin in the middle of a network: the program from a layer on.

What the layers before would have left in the memories is `sim.preload`'s part.
"""

from dataclasses import dataclass, replace
from functools import cached_property

from hw.axi import BURST
from hw.compiler import LayerTrace, Program
from hw.current import ParamRow
from hw.isa import Instruction, Op
from hw.sequencer import StoredProgram
from hw.tiles import Placement, Record, RecordKind, place_tiles, seal


@dataclass(frozen=True)
class LaterProgram(Program):
    """A program without its input and without the layers before number `first_layer`.

    stored: with weights on chip, what the program memory holds instead, in hardware that knows the
            whole program
    """

    first_layer: int = 0
    stored: tuple[int, ...] = ()

    @cached_property
    def traces(self) -> tuple[LayerTrace, ...]:
        return super().traces[self.first_layer:]


def from_layer(program: Program, first_layer: int) -> LaterProgram:
    """`program` from a layer on; ValueError if there is no layer of that number."""
    layers = program.plan.layers
    if not 0 < first_layer < len(layers):
        raise ValueError(f"the first layer must be number 1 to {len(layers) - 1}, "
                         f"not {first_layer!r}")
    kept = [number for number, step in enumerate(program.instructions)
            if step["op"] is Op.END or step.get("layer", -1) >= first_layer]
    steps = tuple(program.instructions[number] for number in kept)
    layout = Instruction(program.hardware)
    words = [word for step in steps for word in layout.encode(step)]
    fields = {name: getattr(program, name) for name in Program.__dataclass_fields__}
    fields |= {"instructions": steps}
    stored: tuple[int, ...] = ()
    if program.hardware.streamed:
        skipped = sum(layer.tiles for layer in layers[:first_layer])
        fields["tiles"] = tuple(place_tiles([tile.rows for tile in program.tiles[skipped:]],
                                            program.hardware.weight_rows))
        fields["stream"] = _stream(program, words, skipped, fields["tiles"])
    else:
        fields["memory"] = replace(program.memory, program=words)
        whole = StoredProgram.of(program.hardware, program.memory.program).words
        stored = tuple(whole[layout.words * number + word] for number in kept
                       for word in range(layout.words))
    return LaterProgram(**fields, first_layer=first_layer, stored=stored)


def _stream(program: Program, words: list[int], skipped: int,
            tiles: tuple[Placement, ...]) -> bytes:
    """The image of `hw.tiles` with other instructions, and without the first `skipped` tiles."""
    hardware, geometry = program.hardware, program.hardware.geometry
    beat = hardware.port_bits // 8

    def beats(bits: int) -> int:
        return -(-bits // hardware.port_bits)

    def padded(data: bytes) -> bytes:
        return data + bytes(-len(data) % beat)

    def record(**values: int | RecordKind) -> bytes:
        return padded(Record().const(values).as_value().value.to_bytes(8, "little"))

    parts = [record(kind=RecordKind.PROGRAM, count=len(words)),
             padded(b"".join(word.to_bytes(4, "little") for word in words))]
    row = geometry.banks * beats(geometry.lanes * hardware.weight_bits)
    offset = BURST * beat
    for number in range(-1, len(program.tiles)):   # -1: the old program
        header = Record().from_bits(int.from_bytes(program.stream[offset:offset + 8], "little"))
        body = beats(32 * header.count) if number < 0 else (
            header.params * beats(ParamRow(hardware).size) + header.count * row)
        following = offset + (1 + body) * beat
        if number >= skipped:
            tile = tiles[number - skipped]
            parts += [record(kind=RecordKind.TILE, params=header.params, count=tile.rows,
                             base=tile.base, wait=tile.wait),
                      program.stream[offset + beat:following]]
        offset = following
    return seal(b"".join(parts), hardware.port_bits, hardware.digest())
