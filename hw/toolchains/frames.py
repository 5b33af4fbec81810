# SPDX-License-Identifier: Apache-2.0
"""FASM to configuration frames of a 7 series device, by the text files of prjxray's database.

A FASM line sets a feature of a tile.  `segbits_TYPE.db` says which bits a feature of a tile type
sets or clears, as FRAME_BIT within the tile; `tilegrid.json` where the tile's bits begin: the
address of its first frame, and a word in it.  `ppips_TYPE.db` lists connections without bits.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FRAME_WORDS = 101
WORD_BITS = 32
_LINE = re.compile(
    r"(?P<feature>[\w.$]+)(?:\[(?P<high>\d+)(?::(?P<low>\d+))?\])?"
    r"(?:\s*=\s*(?:(?P<width>\d+)?'(?P<base>[hbd])(?P<digits>[0-9a-fA-F_]+)|(?P<plain>\d+)))?$")
_BASES = {"h": 16, "b": 2, "d": 10}
_INDEXED = re.compile(r"(.*)\[(\d+)\]")


class FasmError(ValueError):
    """A line of FASM that the database does not know, in one sentence."""


def set_features(lines: Iterable[str]) -> Iterator[tuple[str, str, int | None]]:
    """Tile, feature and index (None without one) of everything that FASM lines set to 1."""
    for number, raw in enumerate(lines, 1):
        line = re.sub(r"#.*|\{.*\}", "", raw).strip()
        if not line:
            continue
        if (match := _LINE.match(line)) is None:
            raise FasmError(f"line {number} of the FASM must be a feature, not {line!r}")
        tile, _, feature = match["feature"].partition(".")
        value = 1
        if match["digits"] is not None:
            value = int(match["digits"].replace("_", ""), _BASES[match["base"]])
        elif match["plain"] is not None:
            value = int(match["plain"])
        if match["high"] is None:
            if value:
                yield tile, feature, None
            continue
        low = int(match["low"] or match["high"])
        for index in range(int(match["high"]) - low + 1):
            if value >> index & 1:
                yield tile, feature, low + index


@dataclass(frozen=True)
class Bit:
    """A configuration bit relative to its tile, and what the feature makes of it."""

    frame: int
    bit: int
    value: bool


class Database:
    """A family's folder of prjxray's database, such as .../artix7, for one fabric (xc7a50t)."""

    def __init__(self, folder: Path, fabric: str) -> None:
        self._folder = folder
        grid = folder / fabric / "tilegrid.json"
        if not grid.is_file():
            raise FasmError(f"fabric must be one that {folder} has, not {fabric!r}")
        self._grid = json.loads(grid.read_text())
        self._types: dict[str, dict[str, dict[tuple[str, int | None], list[Bit]]]] = {}
        self._without_bits: dict[str, set[str]] = {}

    def locate(self, tile: str, feature: str, index: int | None) -> list[tuple[int, int, bool]]:
        """Frame address, bit in the frame and value of each bit of a feature; FasmError."""
        if tile not in self._grid:
            raise FasmError(f"tile must be one of the device, not {tile!r}")
        place = self._grid[tile]
        found = []
        # A tile of half the size may have names of the full one.
        kinds = {place["type"], *(bits["alias"]["type"] for bits in place["bits"].values()
                                  if "alias" in bits)}
        known = any(feature in self._ppips(kind) for kind in kinds)
        for block, bits in place["bits"].items():
            kind, name, offset = place["type"], feature, bits["offset"]
            if "alias" in bits:
                alias = bits["alias"]
                kind, offset = alias["type"], offset - alias["start_offset"]
                site, dot, rest = feature.partition(".")
                name = alias["sites"].get(site, site) + dot + rest
            table = self._segbits(kind).get(block, {})
            # Of a feature with one bit, [0] and no index are the same.
            for key in ((name, index), (name, index or None), (name, index or 0)):
                if key in table:
                    known = True
                    base = int(bits["baseaddr"], 16)
                    found += [(base + bit.frame, offset * WORD_BITS + bit.bit, bit.value)
                              for bit in table[key]]
                    break
        if not known:
            raise FasmError(f"feature of {tile} must be one of type {place['type']}, "
                            f"not {feature!r}")
        return found

    def _segbits(self, kind: str) -> dict[str, dict[tuple[str, int | None], list[Bit]]]:
        if kind not in self._types:
            tables = {}
            for block, name in (("CLB_IO_CLK", f"segbits_{kind.lower()}.db"),
                                ("BLOCK_RAM", f"segbits_{kind.lower()}.block_ram.db")):
                path = self._folder / name
                tables[block] = dict(_segbits(path)) if path.is_file() else {}
            self._types[kind] = tables
        return self._types[kind]

    def _ppips(self, kind: str) -> set[str]:
        if kind not in self._without_bits:
            path = self._folder / f"ppips_{kind.lower()}.db"
            lines = path.read_text().splitlines() if path.is_file() else []
            self._without_bits[kind] = {line.split()[0].partition(".")[2] for line in lines if line}
        return self._without_bits[kind]


def _segbits(path: Path) -> Iterator[tuple[tuple[str, int | None], list[Bit]]]:
    for line in path.read_text().splitlines():
        name, *bits = line.split()
        feature = name.partition(".")[2]
        match = _INDEXED.fullmatch(feature)
        key = (match[1], int(match[2])) if match else (feature, None)
        yield key, [_bit(bit) for bit in bits if "_" in bit]


def _bit(text: str) -> Bit:
    frame, bit = text.removeprefix("!").split("_")
    return Bit(int(frame), int(bit), not text.startswith("!"))


def frames(lines: Iterable[str], database: Database) -> dict[int, list[int]]:
    """Words of every frame in which a feature sets a bit, by frame address.

    Raises FasmError for unknown features, and for two that want different values of a bit.
    """
    values: dict[tuple[int, int], tuple[bool, str]] = {}
    for tile, feature, index in set_features(lines):
        for address, bit, value in database.locate(tile, feature, index):
            before = values.setdefault((address, bit), (value, f"{tile}.{feature}"))
            if before[0] != value:
                raise FasmError(f"features must agree, but {before[1]} and {tile}.{feature} want "
                                f"different values of bit {bit} in frame 0x{address:08x}")
    result: dict[int, list[int]] = {}
    for (address, bit), (value, _) in values.items():
        words = result.setdefault(address, [0] * FRAME_WORDS)
        if value:
            words[bit // WORD_BITS] |= 1 << bit % WORD_BITS
    return result


def frames_text(content: Mapping[int, list[int]]) -> str:
    """As xc7frames2bit reads them: one line a frame, address and words in hexadecimal."""
    return "".join(f"0x{address:08x} " + ",".join(f"0x{word:08x}" for word in words) + "\n"
                   for address, words in sorted(content.items()))
