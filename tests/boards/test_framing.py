# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""Frames in hardware against the format's Python: gaps on all sides, garbage, broken frames."""

import random

import pytest

from boards.frames import MAX_PAYLOAD, SYNC, Frame, Parser
from boards.framing import FrameReceiver, FrameSender
from tests.hw.harness import Bench, every_gap

SILENCE = 50


def receive(pieces, idle=0, unread=False, seed=0):
    """Frames that were received, and how many were bad.

    pieces: bytes, and numbers: so many cycles without one
    """
    dut = FrameReceiver(SILENCE)
    bench = Bench(dut, max_cycles=40_000)
    chance = random.Random(seed)
    found, bad, ended = [], bench.record(dut.bad), []

    async def drive(ctx):
        for piece in pieces:
            if isinstance(piece, int):
                await ctx.tick().repeat(piece)
                continue
            for byte in piece:
                ctx.set(dut.i.payload, byte)
                ctx.set(dut.i.valid, 1)
                await ctx.tick()
                ctx.set(dut.i.valid, 0)
                if idle and (pause := chance.randint(0, idle)):
                    await ctx.tick().repeat(pause)
        await ctx.tick().repeat(3 * SILENCE)
        ended.append(1)

    async def take(ctx):
        while not ended:
            await ctx.tick()
            if not ctx.get(dut.header.valid):
                continue
            header = ctx.get(dut.header.payload)
            payload = bytearray()
            while not unread and ctx.get(dut.payload.valid):
                if idle:
                    await ctx.tick().repeat(chance.randint(1, idle))
                ctx.set(dut.payload.ready, 1)
                payload.append(ctx.get(dut.payload.payload))
                await ctx.tick()
                ctx.set(dut.payload.ready, 0)
            ctx.set(dut.header.ready, 1)
            await ctx.tick()
            ctx.set(dut.header.ready, 0)
            found.append((header.sequence, header.command, header.length, bytes(payload)))
    bench.sim.add_testbench(drive)
    bench.sim.add_testbench(take)
    bench.run()
    return found, len(bad)


def seen(frame):
    return frame.sequence, frame.command, len(frame.payload), frame.payload


@pytest.mark.parametrize("idle", [0, 4])
@pytest.mark.parametrize("size", [0, 1, 2, 17, MAX_PAYLOAD])
def test_receiver(size, idle):
    frames = [Frame(200 + n, 4, random.Random(n).randbytes(size)) for n in range(2)]
    gap = 8 * (size + 5)
    assert receive([frames[0].encode(), gap, frames[1].encode(), gap], idle) == (
        [seen(frame) for frame in frames], 0)


def test_a_frame_need_not_be_read():
    frames = [Frame(1, 2, b"abc"), Frame(2, 3, b"defg")]
    found, bad = receive([frames[0].encode(), 10, frames[1].encode()], unread=True)
    assert [each[:3] for each in found] == [(1, 2, 3), (2, 3, 4)] and bad == 0


@pytest.mark.parametrize("garbage", [b"\0\xff", SYNC[:1], 2 * SYNC[:1], SYNC[:1] + b"\0"])
def test_receiver_finds_a_frame_behind_garbage(garbage):
    frame = Frame(1, 2, b"payload")
    assert receive([garbage + frame.encode()]) == ([seen(frame)], 0)


def test_every_damaged_bit_is_bad():
    frame = Frame(3, 4, b"xy")
    data = frame.encode()
    pieces = []
    for bit in range(8 * len(SYNC), 8 * len(data)):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        pieces += [bytes(wrong), 2 * SILENCE]
    found, bad = receive([*pieces, data])
    assert found == [seen(frame)] and bad == 8 * (len(data) - len(SYNC))


@pytest.mark.parametrize("size", [3, 5, 8, 14])
def test_a_frame_that_stops_is_given_up(size):
    frame = Frame(3, 4, b"0123456789")
    data = frame.encode()
    assert receive([data[:size], SILENCE + 2, data]) == ([seen(frame)], 1)
    # Shorter pauses are allowed.
    assert receive([data[:size], SILENCE - 2, data[size:]]) == ([seen(frame)], 0)


def test_a_frame_that_is_too_long_is_bad_at_once():
    frame = Frame(3, 4, b"x")
    assert receive([SYNC + b"\0\0" + (MAX_PAYLOAD + 1).to_bytes(2, "little") + frame.encode()]) == (
        [seen(frame)], 1)


def test_silence_must_be():
    with pytest.raises(ValueError, match=r"^silence must be a positive integer, not 0$"):
        FrameReceiver(0)


@every_gap
def test_sender(gaps):
    frames = [Frame(n, 0x80 + n, random.Random(n).randbytes(size))
              for n, size in enumerate((0, 1, 2, 40))]
    bench = Bench(dut := FrameSender())
    bench.source(dut.header, [{"sequence": frame.sequence, "command": frame.command,
                               "length": len(frame.payload)} for frame in frames], gaps[0])
    bench.source(dut.payload, b"".join(frame.payload for frame in frames), gaps[0])
    count = sum(len(frame.encode()) for frame in frames)
    got = bench.sink(dut.o, count, gaps[1])
    bench.run(extra=20)
    assert bytes(got) == b"".join(frame.encode() for frame in frames)
    assert list(Parser().feed(bytes(got))) == frames
