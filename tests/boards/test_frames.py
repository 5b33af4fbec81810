# SPDX-License-Identifier: Apache-2.0
"""Frames: bytes as documented, and what the parser makes of a damaged line."""

import random
import zlib

import pytest

from boards.frames import MAX_PAYLOAD, OVERHEAD, SYNC, Command, Frame, Parser, Status


def parse(data, part=1 << 20, late=False):
    parser = Parser()
    found = [frame for start in range(0, len(data), part)
             for frame in parser.feed(data[start:start + part])]
    return found + list(parser.feed(b"", late=True)) if late else found


def test_bytes():
    body = bytes([7, Command.SAMPLES, 3, 0, 1, 2, 255])
    assert Frame(7, Command.SAMPLES, b"\x01\x02\xff").encode() == (
        b"\xa5\x5a" + body + zlib.crc32(body).to_bytes(4, "little"))


@pytest.mark.parametrize("part", [1, 3, 1 << 20])
@pytest.mark.parametrize("size", [0, 1, MAX_PAYLOAD])
def test_round_trip(size, part):
    frame = Frame(255, 0x84, random.Random(size).randbytes(size))
    assert len(frame.encode()) == size + OVERHEAD
    assert parse(2 * frame.encode(), part) == [frame, frame]


def test_payload_must_fit():
    with pytest.raises(ValueError, match=r"^payload must have at most 512 bytes, not 513$"):
        Frame(0, 1, bytes(513)).encode()


@pytest.mark.parametrize("garbage", [b"\0", SYNC[:1], SYNC, SYNC + SYNC[:1], 3 * SYNC[:1],
                                     SYNC + b"\x01\x02\xff\xff", bytes(500)])
def test_a_frame_behind_garbage(garbage):
    frame = Frame(1, 2, b"payload")
    assert parse(garbage + frame.encode(), late=True) == [frame]


def test_a_frame_inside_of_what_looked_like_one():
    frame = Frame(1, 2, b"payload")
    assert parse(SYNC + bytes([0, 0, 100, 0]) + frame.encode(), late=True) == [frame]
    assert parse(SYNC + bytes([0, 0, 100, 0]) + frame.encode() + bytes(100)) == [frame]


def test_every_damaged_bit_is_seen():
    data = Frame(3, 4, b"some payload").encode()
    for bit in range(8 * len(data)):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        assert parse(bytes(wrong), late=True) == []


@pytest.mark.parametrize("place", range(20))
def test_lost_and_repeated_bytes_are_seen(place):
    frame = Frame(3, 4, b"0123456789")
    data = frame.encode()
    lost = data[:place] + data[place + 1:]
    twice = data[:place] + data[place:place + 1] + data[place:]
    assert parse(lost + data, late=True) == [frame]
    # A first or last byte that comes twice leaves a whole frame beside it.
    assert parse(twice + data, late=True) == [frame] * (2 if place in (0, 19) else 1)


def test_parser_counts():
    parser = Parser()
    wrong = bytearray(Frame(1, 2, b"x").encode())
    wrong[-1] ^= 1
    assert list(parser.feed(bytes(wrong))) == []
    assert (parser.wrong, parser.skipped) == (1, len(wrong))


def test_status():
    assert Status.unpack(bytes.fromhex("02 81 0300 40000000")) == Status(False, True, 0x81, 3, 64)
