# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""The link around a stand-in: each request, each refusal, requests twice, damage, gaps."""

import random
import struct

import pytest
from amaranth import Module, ResetInserter
from amaranth.lib import wiring
from amaranth.sim import Simulator

from boards.driver import encode
from boards.frames import ERROR, READ, REPLY, SYNC, Command, Error, Flag, Frame, Parser, Status
from boards.link import Link
from hw.accelerator import Accelerator
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.identity import SIZE, Identity
from hw.network import NetworkConfig
from quantize.golden import GoldenModel
from quantize.random_model import random_model, random_samples
from tests.boards.stand_in import StandIn, answer, identity

SILENCE = 300
TINY = NetworkConfig(8, 1, 1, 1, 1, 4, 4, 3, pool_stages=(False, False, True, True))
HELLO = Frame(9, Command.IDENTIFY)


class Line:
    """A link and a stand-in; `talk` sends pieces one after the other.

    A piece is a frame, after which its reply is awaited, bytes, or a number: cycles to wait.
    """

    def __init__(self, told, pace=1, gaps=(0, 0), core=None):
        self.told = told
        self.core = core or StandIn(told.input_bits, told.samples, pace)
        self.link = Link(told, SILENCE)
        self.gaps = gaps
        self.samples, self.writes, self.resets, self.busy = [], [], 0, []
        self.flags = lambda cycle: 0

    def talk(self, *pieces, cycles=60_000):
        dut, link = Module(), self.link
        dut.submodules.link = link
        dut.submodules.core = ResetInserter(link.reset)(self.core)
        wiring.connect(dut, link.samples, self.core.i)
        wiring.connect(dut, self.core.o, link.words)
        sim = Simulator(dut)
        sim.add_clock(1e-6)
        chance, parser, frames = random.Random(1), Parser(), []

        async def send(ctx):
            for piece in pieces:
                if isinstance(piece, int):
                    await ctx.tick().repeat(piece)
                    continue
                awaited = len(frames) + isinstance(piece, Frame)
                for byte in piece.encode() if isinstance(piece, Frame) else piece:
                    if self.gaps[0]:
                        await ctx.tick().repeat(chance.randint(1, self.gaps[0]))
                    ctx.set(link.rx.payload, byte)
                    ctx.set(link.rx.valid, 1)
                    await ctx.tick()
                    ctx.set(link.rx.valid, 0)
                while len(frames) < awaited:
                    await ctx.tick()
            await ctx.tick().repeat(SILENCE // 2)

        async def take(ctx):
            while True:
                ctx.set(link.tx.ready, chance.randint(0, self.gaps[1]) == 0)
                _, _, valid, ready, byte = await ctx.tick().sample(
                    link.tx.valid, link.tx.ready, link.tx.payload)
                if valid and ready:
                    frames.extend(parser.feed(bytes([byte])))

        async def watch(ctx):
            signals = [link.samples.valid & link.samples.ready, link.samples.payload, link.reset,
                       link.busy]
            if self.told.writable:
                signals += [link.writes.valid & link.writes.ready, link.writes.payload.address,
                            link.writes.payload.data]
            async for _, _, sampled, value, reset, busy, *written in ctx.tick().sample(*signals):
                if sampled:
                    self.samples.append(value)
                self.resets += reset
                ctx.set(link.flags, self.flags(len(self.busy)))
                self.busy.append(busy)
                if written and written[0]:
                    self.writes.append(tuple(written[1:]))

        async def memory(ctx):
            while True:
                ctx.set(link.writes.ready, chance.randint(0, self.gaps[1]) == 0)
                await ctx.tick()
        sim.add_testbench(send)
        sim.add_testbench(take, background=True)
        sim.add_testbench(watch, background=True)
        if self.told.writable:
            sim.add_testbench(memory, background=True)
        for _ in range(2 * cycles):
            if not sim.advance():
                return frames
        raise TimeoutError(f"{len(frames)} replies after {cycles} cycles")


def replies(frames):
    """Sequence, then payload, or the reason of a refusal."""
    return [(frame.sequence, Error(frame.payload[0]) if frame.command == ERROR else frame.payload)
            for frame in frames]


def samples_frame(sequence, values, size=1):
    return Frame(sequence, Command.SAMPLES,
                 b"".join(value.to_bytes(size, "little") for value in values))


def read_frame(sequence, first, count):
    return Frame(sequence, Command.READ, READ.pack(first, count))


@pytest.mark.parametrize("gaps", [(0, 0), (5, 0), (0, 5), (5, 5)])
@pytest.mark.parametrize("width", [1, 8, 9, 16])
def test_two_inferences(width, gaps):
    told = identity(width, 6)
    line, size = Line(told, 3, gaps), told.sample_bytes
    chance = random.Random(width)
    first, second = ([chance.randrange(1 << width) for _ in range(6)] for _ in range(2))
    frames = line.talk(HELLO, samples_frame(10, first[:2], size),
                       samples_frame(11, first[2:], size), 200, read_frame(12, 0, 12),
                       samples_frame(13, second, size), 200, read_frame(14, 0, 5),
                       read_frame(15, 5, 7))
    assert [frame.command for frame in frames] == [
        command | REPLY for command in (1, 4, 4, 5, 4, 5, 5)]
    assert replies(frames) == [(9, told.pack()), (10, b""), (11, b""), (12, answer(first)),
                               (13, b""), (14, answer(second)[:40]), (15, answer(second)[40:])]
    assert line.samples == first + second


def test_a_request_that_comes_twice_is_carried_out_once():
    line = Line(identity(8, 4))
    one, two, read = samples_frame(10, [1, 2]), samples_frame(11, [3, 4]), read_frame(12, 0, 8)
    frames = line.talk(HELLO, one, one, two, two, 100, two, read, read)
    assert replies(frames)[1:] == [(10, b"")] * 2 + [(11, b"")] * 3 + [
        (12, answer([1, 2, 3, 4]))] * 2
    assert line.samples == [1, 2, 3, 4]


@pytest.mark.parametrize("sequence, taken", [(8, False), (9, False), (10, True), (11, False)])
def test_sequence_numbers_count_on(sequence, taken):
    line = Line(identity(8, 2))
    reply = line.talk(HELLO, samples_frame(sequence, [7]))[1]
    # 9 again is taken for the request that was carried out last.
    assert (reply.command == ERROR) == (sequence in (8, 11))
    assert line.samples == [7] * taken
    if reply.command == ERROR:
        assert replies([reply]) == [(sequence, Error.SEQUENCE)]


def test_sequence_numbers_wrap():
    line = Line(identity(8, 2))
    frames = line.talk(Frame(255, Command.IDENTIFY), samples_frame(0, [7, 8]), 50,
                       read_frame(1, 0, 4))
    assert replies(frames)[1:] == [(0, b""), (1, answer([7, 8]))]


@pytest.mark.parametrize("request_, reason", [
    (samples_frame(10, []), Error.LENGTH), (samples_frame(10, [1] * 5), Error.LENGTH),
    (read_frame(10, 0, 8), Error.EMPTY), (Frame(10, Command.READ, b"\0\0\1"), Error.LENGTH),
    (Frame(10, Command.WRITE, bytes(12)), Error.COMMAND), (Frame(10, 0), Error.COMMAND),
    (Frame(10, 99, b"xyz"), Error.COMMAND)])
def test_refused(request_, reason):
    """And the number is free for the next request."""
    line = Line(identity(8, 4))
    frames = line.talk(HELLO, request_, samples_frame(10, [1, 2, 3, 4]), 100, read_frame(11, 0, 8))
    assert replies(frames)[1:] == [(10, reason), (10, b""), (11, answer([1, 2, 3, 4]))]


@pytest.mark.parametrize("first, count", [(0, 0), (0, 9), (8, 1), (7, 2), (65535, 1), (0, 129)])
def test_words_that_are_not_there(first, count):
    line = Line(identity(8, 4))
    frames = line.talk(HELLO, samples_frame(10, [1, 2, 3, 4]), 100, read_frame(11, first, count))
    assert replies(frames)[2:] == [(11, Error.LENGTH)]


def test_half_a_sample_is_refused():
    line = Line(identity(9, 4))
    assert replies(line.talk(HELLO, Frame(10, Command.SAMPLES, b"abc")))[1:] == [
        (10, Error.LENGTH)]
    assert line.samples == []


def test_busy_until_the_last_word():
    line = Line(identity(8, 2), pace=200)
    frames = line.talk(HELLO, samples_frame(10, [1, 2]), read_frame(11, 0, 4),
                       samples_frame(11, [3]), 1200, read_frame(11, 0, 4))
    assert replies(frames)[2:] == [(11, Error.BUSY), (11, Error.BUSY), (11, answer([1, 2]))]
    assert line.samples == [1, 2]
    assert line.busy[0] == line.busy[-1] == 0 and any(line.busy)


def test_reset_forgets_samples_and_answer():
    line = Line(identity(8, 2))
    frames = line.talk(HELLO, samples_frame(10, [9]), Frame(11, Command.RESET),
                       read_frame(12, 0, 4), samples_frame(12, [1, 2]), 50, read_frame(13, 0, 4),
                       Frame(14, Command.RESET), read_frame(15, 0, 4))
    assert replies(frames)[1:] == [(10, b""), (11, b""), (12, Error.EMPTY), (12, b""),
                                   (13, answer([1, 2])), (14, b""), (15, Error.EMPTY)]
    assert line.resets == 32


def test_a_core_that_takes_nothing():
    line = Line(identity(8, 2), pace=0)
    frames = line.talk(HELLO, samples_frame(10, [1, 2]), Frame(10, Command.RESET))
    assert replies(frames)[1:] == [(10, Error.STALLED), (10, b"")]


@pytest.mark.parametrize("flag", [Flag.BAD_IMAGE, Flag.PARITY])
def test_a_fault_is_told_instead_of_an_answer(flag):
    """Before the samples, while they are sent, and when the answer is asked for; an answer that was
    complete before can still be read.
    """
    line = Line(identity(8, 2), pace=200)
    line.flags = lambda cycle: Flag.LOADED | (flag if cycle > 500 else 0)
    frames = line.talk(HELLO, samples_frame(10, [1, 2]), 600, read_frame(11, 0, 4),
                       samples_frame(11, [3]), Frame(11, Command.STATUS))
    assert replies(frames)[2:4] == [(11, Error.FAULT)] * 2
    assert Status.unpack(frames[4].payload).flags == Flag.LOADED | flag
    line = Line(identity(8, 2))
    line.flags = lambda cycle: flag if cycle > 300 else 0
    frames = line.talk(HELLO, samples_frame(10, [1, 2]), 300, read_frame(11, 0, 4))
    assert replies(frames)[2:] == [(11, answer([1, 2]))]
    line = Line(identity(8, 2), pace=0)
    line.flags = lambda cycle: flag if cycle > 300 else 0
    assert replies(line.talk(HELLO, samples_frame(10, [1, 2])))[1:] == [(10, Error.FAULT)]


def test_status():
    line = Line(identity(8, 4))
    status = Frame(10, Command.STATUS)
    frames = line.talk(HELLO, status, SYNC + bytes(8), 50, samples_frame(11, [1]),
                       Frame(12, Command.STATUS), samples_frame(13, [1, 2, 3]), 100,
                       Frame(14, Command.STATUS))
    told = [Status.unpack(frame.payload) for frame in frames if frame.command == 2 | REPLY]
    assert told == [Status(False, False, 0, 0, 0), Status(True, False, 0, 1, 3),
                    Status(False, True, 0, 1, 0)]


@pytest.mark.parametrize("damage", ["crc", "stops"])
def test_a_bad_frame_is_told_and_reaches_nobody(damage):
    line = Line(identity(8, 2))
    data = samples_frame(10, [1, 2]).encode()
    wrong = data[:-1] + bytes([data[-1] ^ 1]) if damage == "crc" else data[:9]
    frames = line.talk(HELLO, wrong, 2 * SILENCE, samples_frame(10, [3, 4]), 50,
                       read_frame(11, 0, 4))
    assert replies(frames)[1:] == [(0, Error.FRAME), (10, b""), (11, answer([3, 4]))]
    assert line.samples == [3, 4]


def test_frames_at_once_lose_none_that_is_answered():
    """A second frame right behind the first: what is not answered was not carried out."""
    line = Line(identity(8, 4))
    frames = line.talk(HELLO, samples_frame(10, [1]).encode() + samples_frame(11, [2]).encode(),
                       2 * SILENCE)
    carried = [frame for frame in frames if frame.command == 4 | REPLY]
    assert len(line.samples) == len(carried)


@pytest.mark.parametrize("gaps", [(0, 0), (3, 4)])
def test_writes(gaps):
    line = Line(identity(8, 4, writable=True), gaps=gaps)
    words = [random.Random(n).getrandbits(64) for n in range(5)]
    data = struct.pack("<5Q", *words)
    write = Frame(10, Command.WRITE, struct.pack("<I", 0xFFFF_FF00) + data)
    frames = line.talk(HELLO, write, write, Frame(11, Command.WRITE, bytes(4) + data[:8]))
    assert replies(frames)[1:] == [(10, b""), (10, b""), (11, b"")]
    assert line.writes == [(0xFFFF_FF00 + 8 * n, word) for n, word in enumerate(words)] + [
        (0, words[0])]


@pytest.mark.parametrize("size", [0, 3, 4, 5, 8, 11, 13, 16])
def test_writes_of_half_words(size):
    line = Line(identity(8, 4, writable=True))
    assert replies(line.talk(HELLO, Frame(10, Command.WRITE, bytes(size))))[1:] == [
        (10, Error.LENGTH)]
    assert line.writes == []


def test_long_answers_come_in_parts():
    told = identity(8, 100)
    line = Line(told)
    values = [n & 255 for n in range(100)]
    frames = line.talk(HELLO, samples_frame(10, values), 300, read_frame(11, 0, 64),
                       read_frame(12, 64, 64), read_frame(13, 128, 64), read_frame(14, 192, 8))
    assert b"".join(frame.payload for frame in frames[2:]) == answer(values)


def test_identity_is_whole():
    line = Line(Identity(8, 4, 8, 0, 50_000_000, True, b"hardware", bytes(range(32))))
    frames = line.talk(HELLO)
    assert len(frames[0].payload) == SIZE and Identity.unpack(frames[0].payload) == line.told


def test_a_network_after_a_reset_in_the_middle():
    """An inference, half of another one, a reset, another one that is reset under way, the first
    one again.
    """
    model = random_model(TINY, seed=2)
    inputs = random_samples(model, 2, seed=1).inputs
    program = compile_model(model, HardwareConfig.for_model(model, lanes=8, banks=2))
    told = Identity.of(program)
    line = Line(told, core=Accelerator(program.hardware, program.memory))
    first, second = (encode(each, told.input_bits) for each in inputs)
    read = (READ.pack(0, told.classes),)
    frames = line.talk(
        HELLO, Frame(10, Command.SAMPLES, first), 2000, Frame(11, Command.READ, *read),
        Frame(12, Command.SAMPLES, second[:9]), Frame(13, Command.RESET),
        Frame(14, Command.SAMPLES, second), 300, Frame(15, Command.READ, *read),
        Frame(15, Command.RESET), Frame(16, Command.SAMPLES, first), 2000,
        Frame(17, Command.READ, *read))
    logits = GoldenModel(model).logits(inputs)[0].astype("<i8").tobytes()
    assert replies(frames)[1:] == [(10, b""), (11, logits), (12, b""), (13, b""), (14, b""),
                                   (15, Error.BUSY), (15, b""), (16, b""), (17, logits)]
