# SPDX-License-Identifier: Apache-2.0
"""The stream of weight tiles: what the hardware reads from memory, once per inference, in order.

A tile is everything that `lanes` output channels of a layer need: their weight rows in every bank
and their parameter rows.  The weight banks are a ring of rows: a tile is loaded at `base` as soon
as `wait` tiles are done, which the compiler chooses such that the tile overwrites nothing that is
still needed.  With room for two tiles the next one is loaded while this one is used.

Memory image, in beats of the port (little endian):
  block 0 (BURST beats)   first beat: MAGIC in bits 0..31, number of beats that follow in 32..63
  then, without gaps      a program record, and one tile record after the other
Record: one beat with `Record` in its low 64 bits, then
  program  `count` instruction words, 32 bits each, the last beat filled up
  tile     `params` parameter rows, then `count` times a weight row of each bank; every row starts
           a beat
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from amaranth import unsigned
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import Out

from hw.axi import BURST

MAGIC = 0x314C5053   # "SPL1"
# Tiles whose parameters are on chip at once; also the most that are ahead of the finish pipeline.
PARAM_SLOTS = 8
TILE_COUNT_BITS = 16


class RecordKind(enum.Enum, shape=2):
    """What follows the header of a record."""

    PROGRAM = 1
    TILE = 2


class Record(data.StructLayout):
    """Header of a record; `base` and `wait` as in `Placement`."""

    def __init__(self) -> None:
        super().__init__({"kind": RecordKind, "params": 14, "count": 16, "base": 16,
                          "wait": unsigned(TILE_COUNT_BITS)})


class RowWrite(wiring.Signature):
    """Write port of a memory that the stream fills; `select` names the bank."""

    def __init__(self, address: int, bits: int, banks: int = 1) -> None:
        super().__init__({"en": Out(1), "select": Out(range(max(2, banks))),
                          "address": Out(address), "data": Out(bits)})


@dataclass(frozen=True)
class Placement:
    """Where a tile lies in the weight banks.

    rows: weight rows in each bank, from row `base` on
    wait: tiles of this inference that must be done before it may be loaded
    """

    rows: int
    base: int
    wait: int


def place_tiles(rows: Sequence[int], capacity: int) -> list[Placement]:
    """Place tiles of so many rows one after the other in a ring of rows 1 to `capacity` - 1.

    Raises ValueError, one sentence, if a tile is larger than that.
    """
    placements: list[Placement] = []
    head = 1   # row 0 stays zero
    oldest = 0   # first tile that is not known to be done
    for index, size in enumerate(rows):
        if size > capacity - 1:
            raise ValueError(f"weight memory must hold a tile of {size} rows in each bank beside "
                             f"the zero row, not {capacity - 1!r}")
        if head + size > capacity:
            head = 1
        wait = max(oldest, index + 1 - PARAM_SLOTS)
        for earlier in range(oldest, index):
            other = placements[earlier]
            if other.base < head + size and head < other.base + other.rows:
                wait = max(wait, earlier + 1)
        oldest = wait
        placements.append(Placement(size, head, wait))
        head += size
    return placements


def encode_stream(program: Sequence[int],
                  tiles: Iterable[tuple[Placement, Sequence[int], np.ndarray]],
                  port_bits: int, param_bits: int) -> bytes:
    """The memory image of a program and its tiles.

    tiles: placement, parameter rows, weight rows uint8 [rows, banks, bytes of a row]
    """
    beat = port_bits // 8

    def record(**fields: int | RecordKind) -> bytes:
        return Record().const(fields).as_value().value.to_bytes(beat, "little")

    words = b"".join(word.to_bytes(4, "little") for word in program)
    parts = [record(kind=RecordKind.PROGRAM, count=len(program)),
             words.ljust(-(-len(words) // beat) * beat, b"\0")]
    for placement, params, rows in tiles:
        parts.append(record(kind=RecordKind.TILE, params=len(params), count=placement.rows,
                            base=placement.base, wait=placement.wait))
        parts += [row.to_bytes(-(-param_bits // port_bits) * beat, "little") for row in params]
        parts.append(np.pad(rows, ((0, 0), (0, 0), (0, -rows.shape[2] % beat))).tobytes())
    body = b"".join(parts)
    head = (MAGIC | len(body) // beat << 32).to_bytes(beat, "little")
    return head.ljust(BURST * beat, b"\0") + body
