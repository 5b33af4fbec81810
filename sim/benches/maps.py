# SPDX-License-Identifier: Apache-2.0
"""Spike maps in memory, for tests: where each word lies, and the fields that tell the units so.

Written from the words of `hw.layout` and `hw.isa` alone, so that neither the planner nor the
compiler can share a mistake with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

LINE = 4   # words of a line, banks of a half

# Of a word: half, bank, line.
Place = tuple[int, int, int]


@dataclass(frozen=True)
class StoredMap:
    """A map of [height, width, steps, words].

    grid:  columns share a line, else (TOKEN) words of a position do
    pair:  words of two neighbouring positions share a line, of which there is an even number a row
    block: words that lie together, those of a tile of the layer that writes it; 0: all
    rows:  on chip, a ring through which the map passes once for each tile; 0: all
    """

    half: int
    base: int
    height: int
    width: int
    steps: int = 1
    words: int = 1
    grid: bool = True
    block: int = 0
    rows: int = 0
    pair: bool = False

    @property
    def shared(self) -> int:
        """Positions that share a line."""
        return LINE if self.grid else 2 if self.pair else 1

    @property
    def block_words(self) -> int:
        return self.block or self.words

    @property
    def blocks(self) -> int:
        return -(-self.words // self.block_words) if self.grid else 1

    @property
    def step_lines(self) -> int:
        return self.block_words if self.grid else -(-self.words * self.shared // LINE)

    @property
    def column_lines(self) -> int:
        return self.steps * self.step_lines

    @property
    def block_lines(self) -> int:
        return -(-self.width // self.shared) * self.column_lines

    @property
    def row_lines(self) -> int:
        return self.blocks * self.block_lines

    @property
    def chip_rows(self) -> int:
        return self.rows or self.height

    def _within_block(self, x: int, step: int, word: int) -> tuple[int, int]:
        """Bank and line of a word within its row and block."""
        if self.grid:
            return x % LINE, (x // LINE * self.steps + step) * self.block_words \
                + word % self.block_words
        own = 2 if self.pair else LINE   # words of a line that belong to one position
        return (x % self.shared * own + word % own,
                (x // self.shared * self.steps + step) * self.step_lines + word // own)

    def read(self, y: int, x: int, step: int = 0, word: int = 0, tile: int = 0) -> Place:
        """Where a layer finds the word; the ring goes on from tile to tile of that layer."""
        bank, line = self._within_block(x, step, word)
        row = (tile * self.height + y) % self.rows if self.rows else y
        block = word // self.block_words if self.grid else 0
        return (self.half, bank, self.base + row * self.row_lines + block * self.block_lines + line)

    def write(self, y: int, x: int, step: int = 0, word: int = 0) -> Place:
        """Where a layer puts the word; a ring has rows of one tile after the other."""
        if not self.rows:
            return self.read(y, x, step, word)
        bank, line = self._within_block(x, step, word)
        row = (word // self.block_words * self.height + y) % self.rows
        return self.half, bank, self.base + row * self.block_lines + line

    def indices(self) -> Iterator[tuple[int, int, int, int]]:
        """(y, x, step, word) of every word."""
        for y in range(self.height):
            for x in range(self.width):
                for step in range(self.steps):
                    for word in range(self.words):
                        yield y, x, step, word

    def source(self) -> dict[str, int]:
        """Fields of the layer that reads it."""
        blocks = self.blocks
        return {
            "source_half": self.half, "source_base": self.base, "source_rows": self.chip_rows,
            "row_stride": self.row_lines, "column_stride": self.column_lines,
            "step_lines": self.step_lines, "steps": self.steps,
            "blocks": blocks, "block_stride": self.block_lines,
            "last_lines": self.words - (blocks - 1) * self.block_words if self.grid
            else self.step_lines,
            "last_mask": self._last_mask()}

    def _last_mask(self) -> int:
        """The words that the last line of a step has."""
        own = 2 if self.pair else LINE
        mask = (1 << (self.words % own or own)) - 1
        return mask | mask << own if self.pair else mask

    def target(self) -> dict[str, int]:
        """Fields of the layer that writes it."""
        row = self.block_lines if self.rows else self.row_lines
        return {
            "target_half": self.half, "target_base": self.base, "target_grid": int(self.grid),
            "target_step": self.step_lines, "target_column": self.column_lines, "target_row": row,
            "target_tile": self.block_lines if self.grid else 0, "target_rows": self.chip_rows,
            "target_size": self.chip_rows * row} | ({"target_pair": 1} if self.pair else {})
