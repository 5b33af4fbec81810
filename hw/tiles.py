# SPDX-License-Identifier: Apache-2.0
"""The stream of weight tiles: what the hardware reads from memory, once per inference, in order.

A tile is everything that `lanes` output channels of a layer need: their weight rows in every bank
and their parameter rows.  A tile is loaded at `base` as soon as `wait` tiles are done, which
the compiler chooses such that the tile overwrites nothing that is still needed.  With room for two
tiles the next one is loaded while this one is used.

Memory image, in beats of the port (little endian):
  block 0 (BURST beats)   bytes 0 to 3 MAGIC, 4 to 7 the number of beats that follow the block, 8 to
                          11 CRC-32 (zlib's) of all bytes but 8 to 15, 12 bytes of a beat, 16 to
                          23 `HardwareConfig.digest`
  then, without gaps      a program record, and one tile record after the other
Record: one beat with `Record` in its low 64 bits, then
  program  `count` instruction words, 32 bits each, the last beat filled up
  tile     `params` parameter rows, then `count` times a weight row of each bank; every row starts
           a beat
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from amaranth import unsigned
from amaranth.lib import data, enum, wiring
from amaranth.lib.wiring import Out

from hw.axi import BURST

VERSION = 2
MAGIC = int.from_bytes(b"SPL%d" % VERSION, "little")
CRC_PLACE = 8
_HEADER = struct.Struct("<4sIIB3x8s")
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


@dataclass(frozen=True)
class _Plan:
    """Places of the first tiles, as one way to go on from: see `place_tiles`.

    done:   cycle in which each tile is done
    loaded: cycle in which the last one is loaded
    """

    placements: tuple[Placement, ...] = ()
    done: tuple[float, ...] = ()
    loaded: float = 0.0

    @property
    def live(self) -> tuple[Placement, ...]:
        """Tiles that need not be done when the next one is loaded."""
        return self.placements[self.oldest:]

    @property
    def oldest(self) -> int:
        return self.placements[-1].wait if self.placements else 0

    def place(self, base: int, rows: int, work: float, row_cycles: float) -> "_Plan":
        """Load a tile at `base` as early as what lies there allows."""
        index = len(self.placements)
        wait = max(self.oldest, index + 1 - PARAM_SLOTS)
        for earlier, other in enumerate(self.live, self.oldest):
            if other.base < base + rows and base < other.base + other.rows:
                wait = max(wait, earlier + 1)
        loaded = max(self.loaded, self.done[wait - 1] if wait else 0.0) + rows * row_cycles
        done = max(loaded, self.done[-1] if self.done else 0.0) + work
        return _Plan((*self.placements, Placement(rows, base, wait)), (*self.done, done), loaded)


# Ways to place the tiles so far that are followed at the same time.
_BEAM = 12


def place_tiles(rows: Sequence[int], capacity: int, work: Sequence[float] = (),
                row_cycles: float = 1.0) -> list[Placement]:
    """Place tiles of so many rows in rows 1 to `capacity` - 1, so that little time is waited.

    A tile may lie wherever the tiles before it that overlap it are done by then.  Large tiles need
    their room in one piece, so where the small ones before them lie matters: a beam search over
    places beside other tiles and at the ends looks for the earliest end of the last tile.

    work:       estimated cycles in which each tile is used (default: as long as loading it takes)
    row_cycles: cycles to load a row

    Raises ValueError, one sentence, if a tile is larger than that.
    """
    plans = [_Plan()]
    for index, size in enumerate(rows):
        if size > capacity - 1:
            raise ValueError(f"weight memory must hold a tile of {size} rows in each bank beside "
                             f"the zero row, not {capacity - 1!r}")
        last = capacity - size   # row 0 stays zero
        following = {}
        for plan in plans:
            beside = {edge for tile in plan.live
                      for edge in (tile.base + tile.rows, tile.base - size)}
            for base in {1, last} | {edge for edge in beside if 1 <= edge <= last}:
                placed = plan.place(base, size, work[index] if work else size * row_cycles,
                                    row_cycles)
                # Plans with the same live tiles have the same future, but for their times.
                key = tuple((tile.base, tile.rows) for tile in placed.live)
                rank = (placed.done[-1], placed.loaded, placed.oldest, key)
                if key not in following or rank < following[key][0]:
                    following[key] = rank, placed
        plans = [placed for _, placed in sorted(following.values(), key=lambda each: each[0])]
        plans = plans[:_BEAM]
    return list(plans[0].placements)


def encode_stream(program: Sequence[int],
                  tiles: Iterable[tuple[Placement, Sequence[int], np.ndarray]],
                  port_bits: int, param_bits: int, hardware: bytes = bytes(8)) -> bytes:
    """The memory image of a program and its tiles.

    tiles:    placement, parameter rows, weight rows uint8 [rows, banks, bytes of a row]
    hardware: digest of the configuration that it is for
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
    return seal(body, port_bits, hardware)


def seal(body: bytes, port_bits: int, hardware: bytes) -> bytes:
    """The records `body`, whole beats, with the block before them."""
    beat = port_bits // 8
    block = _HEADER.pack(MAGIC.to_bytes(4, "little"), len(body) // beat, 0, beat, hardware).ljust(
        BURST * beat, b"\0")
    crc = image_crc(block + body).to_bytes(4, "little")
    return block[:CRC_PLACE] + crc + block[CRC_PLACE + 4:] + body


def image_crc(image: bytes) -> int:
    """Of all bytes but those around the place of the CRC itself."""
    return zlib.crc32(image[CRC_PLACE + 8:], zlib.crc32(image[:CRC_PLACE]))


def check_image(image: bytes, hardware: bytes | None = None) -> None:
    """ValueError, one sentence, unless this is a whole image of this version, as it was written.

    hardware: digest of the configuration that it must be for, None for any
    """
    magic = MAGIC.to_bytes(4, "little")
    if image[:3] != magic[:3]:
        raise ValueError(f"a weight image must begin with {magic!r}, not {image[:4]!r}")
    if image[3:4] != magic[3:]:
        raise ValueError(f"a weight image must be of version {VERSION} of its format, "
                         f"not {image[3:4]!r}")
    if len(image) < _HEADER.size:
        raise ValueError(f"a weight image must have at least {_HEADER.size} bytes, "
                         f"not {len(image):,}")
    _, beats, crc, beat, made_for = _HEADER.unpack_from(image)
    size = (BURST + beats) * beat
    if len(image) != size:
        raise ValueError(f"a weight image must have the {size:,} bytes that its header says, "
                         f"not {len(image):,}")
    if image_crc(image) != crc:
        raise ValueError(f"a weight image must have the CRC that its header says, {crc:08x}, "
                         f"not {image_crc(image):08x}: it is damaged")
    if hardware is not None and made_for != hardware:
        raise ValueError(f"a weight image must be made for the hardware of the board, "
                         f"{hardware.hex()}, not for {made_for.hex()}")
