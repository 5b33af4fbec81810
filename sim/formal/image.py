# SPDX-License-Identifier: Apache-2.0
"""Fetch: what it writes are the words of the image, each once, in order, at its place.

The reader is abstract: a stream of the beats from the address that it is started with, each when
it likes.  `axi-reader` proves that of `hw.axi.Reader`, if it is started only when it is not busy,
which is a claim here.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any
from unittest.mock import patch

from amaranth import Array, Cat, Module, Mux, Signal

from hw.axi import Reader, block_bytes
from hw.tiles import MAGIC, Record, RecordKind
from sim.formal.harness import Break, Harness, Proof, small

PORT = 64
PATIENCE = 4   # cycles until a beat is taken, if the tile before is released and taken


class _AnyReader(Reader):
    """Nothing but the ports; the proof drives the outputs."""

    def elaborate(self, platform: object) -> Module:
        return Module()


class _Image:
    """An image of any contents: a program, then tiles.

    words: of the program
    rows:  weight rows of each bank, by tile
    """

    def __init__(self, proof: Harness, words: int, rows: Sequence[int], banks: int,
                 beats: int) -> None:
        self.words, self.banks, self.beats = words, banks, beats
        self.rows, self.headers = [banks * count for count in rows], []
        # Of each tile the places of its first parameter row and of its first weight row.
        self.params, self.weights = [], []
        self.end = 1 + -(-words // 2)
        for count in self.rows:
            self.headers.append(self.end)
            self.params.append(self.end + 1)
            self.weights.append(self.end + 1 + beats)
            self.end += 1 + beats + count
        self.head = proof.constant(PORT, "head")
        self._body = Array(proof.constant(PORT, f"body{n}") for n in range(self.end))
        self.program = Record()(self._body[0])
        proof.assume((self.program.kind == RecordKind.PROGRAM) & (self.program.count == words))
        for place, count in zip(self.headers, rows, strict=True):
            header = Record()(self._body[place])
            proof.assume((header.kind == RecordKind.TILE) & (header.params == beats)
                         & (header.count == count))

    def at(self, place: Any) -> Any:
        """A beat of the body."""
        return self._body[place]

    def of_tile(self, places: Sequence[int], tile: Signal) -> Any:
        return Array(places or [0])[tile]


def _written(proof: Harness, unit: Any, image: _Image, first: Any, sound: Any) -> Any:
    """Claims of every write of a pass, which begins with `first`; returns its complete tiles."""
    m, banks, beats = proof.m, image.banks, image.beats
    program, param, row, tile, cleared = (Signal(5, name=name) for name in (
        "program", "param", "row", "tile", "cleared"))
    # Program words, two a beat.
    write, word = unit.program, image.at(1 + (program >> 1))
    last_word = program + 1 == image.words
    proof.implies("program_as_told", write.en, sound & (program < image.words) & (
        write.address == (image.program.base + program)[:len(write.address)])
        & (write.data == Mux(program[0], word[32:], word[:32])))
    proof.implies("program_ready", unit.program_ready, program == image.words)
    proof.implies("program_ready_soon", proof.later(write.en & last_word & ~unit.start, "ended"),
                  unit.program_ready)
    m.d.sync += program.eq(Mux(first, 0, program + write.en))

    # Parameter rows, then weight rows by bank, of the tile at work.
    tiles = len(image.rows)
    header = Record()(image.at(image.of_tile(image.headers, tile)))
    write, turn = unit.params, tile < tiles
    row_data = image.at(image.of_tile(image.params, tile) + param)
    proof.implies("params_as_told", write.en, sound & turn & (param < beats) & (row == 0)
                  & (write.address == Cat(param[:1], tile[:3])[:len(write.address)])
                  & (write.data == row_data[:len(write.data)]))
    written = write.en
    write, after_reset = unit.weights, cleared != banks
    row_data = image.at(image.of_tile(image.weights, tile) + row)
    proof.implies("zero_after_reset", write.en & after_reset,
                  (write.select == cleared) & (write.address == 0) & (write.data == 0))
    ends = write.en & ~after_reset & (row + 1 == image.of_tile(image.rows, tile))
    proof.implies("weights_as_told", write.en & ~after_reset, sound & turn & (param == beats)
                  & (write.select == row[0]) & (
                      write.address == (header.base + (row >> 1))[:len(write.address)])
                  & (write.data == row_data[:len(write.data)]))
    proof.implies("waits_for_release", written | (write.en & ~after_reset),
                  unit.released >= header.wait)
    m.d.sync += [cleared.eq(cleared + (write.en & after_reset)), tile.eq(tile + ends),
                 param.eq(Mux(ends, 0, param + written)),
                 row.eq(Mux(ends, 0, row + (write.en & ~after_reset)))]
    with m.If(first):
        m.d.sync += tile.eq(0)

    # Tiles that are whole, in their order; one pass follows the other.
    taken, waiting, out = proof.sink(unit.tile, "tile"), Signal(5, name="waiting"), Signal(
        5, name="out")
    m.d.sync += [waiting.eq(waiting + ends - taken),
                 out.eq(Mux(taken, Mux(out + 1 == tiles, 0, out + 1), out))]
    proof.implies("tile_is_whole", unit.tile.valid, waiting != 0)
    proof.implies("tile_as_told", unit.tile.valid, unit.tile.payload == Record()(
        image.at(image.of_tile(image.headers, out))).base[:len(unit.tile.payload)])
    return program, tile


def _fetch(words: int, rows: Sequence[int], units: ModuleType) -> Harness:
    """Any image, whose beats come when they like, starts and releases at any time."""
    proof = Harness()
    m = proof.m
    hardware = small(banks=2, neurons=2, port_bits=PORT, residual_words=0, program_words=8)
    unit, reader = units.Fetch(hardware), _AnyReader(PORT)
    # Clearing takes as long as the lanes have registers, which nothing here depends on.
    with (patch.object(units, "Reader", lambda bits: reader),
          patch.object(units, "clear_cycles", lambda hardware: 2)):
        proof.add(unit)
    image = _Image(proof, words, rows, hardware.geometry.banks, hardware.geometry.beats)
    base = proof.constant(unit.address.shape(), "address")
    m.d.comb += unit.address.eq(base)
    start = proof.drive(unit.start, "start")
    begun = Signal(name="begun")
    with m.If(start):
        m.d.sync += begun.eq(1)
    proof.assume(~(start & begun & ~(unit.program_ready)))
    released, before = proof.drive(unit.released, "released"), proof.later(unit.released, "done")
    proof.assume(released >= before)

    # The reader: the head of the image, then its body.
    left, place, body = Signal(28, name="left"), Signal(range(image.end + 1), name="place"), Signal(
        name="body")
    offers, beat = proof.free(1, "offers"), reader.o
    taken = beat.valid & beat.ready
    waited = proof.later(beat.valid & ~beat.ready, "beat_waited")
    m.d.comb += [beat.valid.eq((left != 0) & (offers | waited)), reader.busy.eq(left != 0),
                 beat.payload.eq(Mux(body, image.at(place), image.head))]
    with m.If(taken):
        m.d.sync += [left.eq(left - 1), place.eq(place + 1)]
    with m.If(reader.start):
        m.d.sync += [left.eq(reader.beats), place.eq(0), body.eq(reader.beats != 1)]
    sound = image.head[:32] == MAGIC
    proof.assume(image.head[32:60] == image.end)
    proof.implies("starts_when_idle", reader.start, left == 0)
    first = reader.start & (reader.beats == 1)
    proof.implies("head_first", first, reader.address == base)
    proof.implies("body_next", reader.start & ~first, (reader.beats == image.end) & sound & (
        reader.address == (base + block_bytes(PORT))[:32]))
    # A pass begins only when all of the one before has been written.
    program, tiles = _written(proof, unit, image, first, sound)
    complete = (program == image.words) & (tiles == len(image.rows))
    proof.implies("whole_pass", first & proof.later(body, "passed"), complete)

    proof.claim("bad_image_told", unit.bad_image == (
        proof.later(unit.bad_image, "was_bad") | proof.later(taken & ~body & ~sound, "bad")))
    proof.claim("clearing_first", ~(taken & unit.clearing))
    proof.implies("bad_image_stops", unit.bad_image, ~reader.start & ~beat.ready)
    wait = Record()(image.at(image.of_tile(image.headers, tiles))).wait
    willing = beat.valid & ~start & (released >= wait) & unit.tile.ready & ~unit.clearing
    quiet = Signal(range(PATIENCE + 2), name="quiet")
    m.d.sync += quiet.eq(Mux(willing & ~taken & ~unit.bad_image, quiet + (quiet <= PATIENCE), 0))
    proof.claim("beat_is_taken", quiet <= PATIENCE)
    return proof


_CLAIM = "what Fetch writes are the words of the image, each once, in order, at its place"

PROOFS = [
    Proof("fetch-program", "hw.fetch", f"Image without tiles, pass after pass: {_CLAIM}",
          lambda units: _fetch(3, (), units), depth=14, broken=(
              # A header is taken before it is there.
              Break("with m.Elif(reader.o.valid):", "with m.Else():"),
              Break("with m.If(reader.o.payload[:32] != MAGIC):", "with m.If(0):"))),
    Proof("fetch-tile", "hw.fetch", f"Image of a tile, when it is released: {_CLAIM}",
          lambda units: _fetch(1, (2,), units), depth=17, broken=(
              Break("reader.o.ready.eq(last_row | (beat == per_beat - 1))",
                    "reader.o.ready.eq(beat == per_beat - 1)"),
              Break("m.If(self.released >= record.wait):", "m.If(1):"),
              Break("self.weights.select.eq(bank)", "self.weights.select.eq(~bank)"),
              Break("reader.o.ready.eq(~clearing)", "reader.o.ready.eq(1)"))),
    Proof("fetch-tiles", "hw.fetch", f"Image of two tiles: {_CLAIM}",
          lambda units: _fetch(1, (1, 1), units), depth=19, broken=(
              Break("slot.eq(slot + 1)", "slot.eq(slot)"),)),
]
