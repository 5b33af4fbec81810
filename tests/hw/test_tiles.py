# SPDX-License-Identifier: Apache-2.0
"""Places of weight tiles in the ring, and the image of the stream, read back independently."""

import re
import zlib

import numpy as np
import pytest

from hw.axi import BURST
from hw.tiles import PARAM_SLOTS, Placement, check_image, encode_stream, place_tiles

SEEDS = range(40)


def random_sizes(seed):
    """Tile sizes by layer, as in a network: runs of the same size; and the largest."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(1, 30, rng.integers(1, 8))
    sizes = [int(size) for size in kinds for _ in range(rng.integers(1, 9))]
    return sizes, max(sizes)


def load_as_early_as_allowed(placements, done):
    """Which tile each row holds when `done` tiles are done and all that may be loaded is."""
    rows = {}
    for index, tile in enumerate(placements):
        if tile.wait > done:
            break
        for row in range(tile.base, tile.base + tile.rows):
            rows[row] = index
    return rows


@pytest.mark.parametrize("seed", SEEDS)
def test_no_tile_overwrites_one_that_is_not_done(seed):
    """Row by row: at every moment, the tile in use and all loaded after it are whole."""
    sizes, largest = random_sizes(seed)
    rng = np.random.default_rng(seed)
    for capacity in (largest + 1, largest + 2, 2 * largest, 2 * largest + 1,
                     largest + 1 + int(rng.integers(5 * largest)), sum(sizes) + 1):
        placements = place_tiles(sizes, capacity)
        assert [tile.rows for tile in placements] == sizes
        assert all(tile.base >= 1 and tile.base + tile.rows <= capacity for tile in placements)
        waits = [tile.wait for tile in placements]
        # A later tile waits behind an earlier one in the stream, so it must not ask for less, and
        # nothing may wait for itself or for what comes later.
        assert waits == sorted(waits)
        assert all(wait <= index for index, wait in enumerate(waits))
        for done in range(len(sizes)):
            rows = load_as_early_as_allowed(placements, done)
            loaded = sum(wait <= done for wait in waits)
            assert loaded > done, "the tile that is next is not loaded, for ever"
            assert loaded - done <= PARAM_SLOTS
            for index in range(done, loaded):
                tile = placements[index]
                assert all(rows[row] == index
                           for row in range(tile.base, tile.base + tile.rows)), (index, done)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_buffers(seed):
    """With room for any two neighbours, a tile is loaded while the one before it is used.

    Where the size changes, one of the first two tiles may have to wait for the one before it, as
    what is left at the ring's end is too short for it.
    """
    sizes, _ = random_sizes(seed)
    pair = max(a + b for a, b in zip([0, *sizes], sizes))
    before = [None, None, *sizes]
    for capacity in (pair + 1, pair + 2, 2 * pair + 1):
        for index, tile in enumerate(place_tiles(sizes, capacity)):
            if before[index] == before[index + 1] == sizes[index]:
                assert tile.wait < index, (sizes, capacity, index)


def test_equal_tiles_take_turns():
    assert place_tiles([5] * 4, 11) == [Placement(5, 1, 0), Placement(5, 6, 0), Placement(5, 1, 1),
                                        Placement(5, 6, 2)]


def test_one_place_is_used_tile_by_tile():
    assert place_tiles([5] * 3, 6) == [Placement(5, 1, index) for index in range(3)]


def test_small_tiles_are_bounded_by_their_parameters():
    """All rows have room, but parameters have slots."""
    waits = [tile.wait for tile in place_tiles([1] * (PARAM_SLOTS + 3), 100)]
    assert waits == [0] * PARAM_SLOTS + [1, 2, 3]


def test_nothing_to_place():
    assert place_tiles([], 1) == []


@pytest.mark.parametrize(("sizes", "capacity"), [([4, 7, 5], 7), ([1], 1), ([7], 4)])
def test_too_large_a_tile_is_refused(sizes, capacity):
    sentence = (f"weight memory must hold a tile of {max(sizes)} rows in each bank beside the "
                f"zero row, not {capacity - 1}")
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        place_tiles(sizes, capacity)
    place_tiles(sizes, max(sizes) + 1)


class Parser:
    """The image read as its documentation says, with nothing taken from the encoder."""

    def __init__(self, image, port_bits):
        self.image, self.beat, self.place = image, port_bits // 8, 0
        assert len(image) % self.beat == 0
        first = int.from_bytes(image[:8], "little")
        assert first & 0xFFFF_FFFF == int.from_bytes(b"SPL2", "little")
        assert image[8:12] == zlib.crc32(image[:8] + image[16:]).to_bytes(4, "little")
        assert image[12:16] == bytes([self.beat, 0, 0, 0]) and image[16:24] == b"hardware"
        assert not any(image[24:64 * self.beat])
        self.place = 64 * self.beat
        assert (first >> 32) * self.beat == len(image) - self.place

    def take(self, bits):
        """A value that starts a beat; what is left of its last beat must be zero."""
        size = -(-bits // (8 * self.beat)) * self.beat
        value = int.from_bytes(self.image[self.place:self.place + size], "little")
        self.place += size
        assert value < 1 << bits
        return value

    def fields(self):
        header = self.take(64)
        values = []
        for width in (2, 14, 16, 16, 16):
            values.append(header & (1 << width) - 1)
            header >>= width
        return values


@pytest.mark.parametrize("port_bits", [64, 128])
@pytest.mark.parametrize(("words", "param_bits", "row_bytes", "banks"), [
    (1, 10, 4, 1), (7, 64, 8, 2), (8, 129, 16, 2), (11, 200, 24, 4), (256, 128, 17, 3)])
def test_an_independent_parser_reads_the_image(port_bits, words, param_bits, row_bytes, banks):
    rng = np.random.default_rng(words)
    program = [int(word) for word in rng.integers(0, 1 << 32, words)]
    program[0] = (1 << 32) - 1
    sizes = [3, 1, 9, 9]
    tiles = [(placement, [int.from_bytes(rng.bytes(40), "little") % (1 << param_bits)
                          for _ in range(int(rng.integers(1, 5)))],
              rng.integers(0, 256, (placement.rows, banks, row_bytes)).astype(np.uint8))
             for placement in place_tiles(sizes, 13)]
    image = encode_stream(program, tiles, port_bits, param_bits, b"hardware")
    assert BURST == 64
    parser = Parser(image, port_bits)
    kind, _, count, _, _ = parser.fields()
    assert (kind, count) == (1, words)
    packed = parser.take(32 * words)
    assert [packed >> 32 * i & 0xFFFF_FFFF for i in range(words)] == program
    for placement, params, rows in tiles:
        assert parser.fields() == [2, len(params), placement.rows, placement.base,
                                   placement.wait]
        assert [parser.take(param_bits) for _ in params] == params
        for row in rows:
            for bank in row:
                assert parser.take(8 * row_bytes).to_bytes(row_bytes, "little") == bytes(bank)
    assert parser.place == len(image)


def test_a_program_alone():
    image = encode_stream([1, 2, 3], [], 64, 10)
    assert len(image) == 64 * 8 + 3 * 8
    assert image[4:8] == (3).to_bytes(4, "little")


def test_every_flipped_bit_is_refused():
    image = encode_stream([1, 2, 3], [], 64, 10, b"hardware")
    check_image(image)
    check_image(image, b"hardware")
    for place in [*range(12), *range(16, len(image), 7)]:
        damaged = bytearray(image)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(ValueError, match=r"^a weight image must "):
            check_image(bytes(damaged))


@pytest.mark.parametrize("size", [0, 3, 4, 23, 24, 511, 512, 535, 537])
def test_a_truncated_image_is_refused(size):
    image = encode_stream([1, 2, 3], [], 64, 10) + b"!"
    with pytest.raises(ValueError, match=r"^a weight image must (have|begin|be of) .*, not "):
        check_image(image[:size])


def test_an_image_for_other_hardware_is_refused():
    with pytest.raises(ValueError, match=r"made for the hardware of the board, (61){8}, not for "):
        check_image(encode_stream([1], [], 64, 10, b"b" * 8), b"a" * 8)
