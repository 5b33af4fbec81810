# SPDX-License-Identifier: Apache-2.0
"""The driver against a thread that plays the board, on a good line and on bad ones."""

import struct
from dataclasses import replace

import numpy as np
import pytest

from boards.driver import FaultError, RefusedError, RemoteBoard, encode, reply_seconds
from boards.frames import Command, Error, Flag, Status
from boards.serial_port import LinkError, SerialPort
from hw.identity import Identity, model_digest
from hw.model import SHIPPED_MODEL, FixedPointModel, Samples
from sim.noise import Noise
from tests.boards import fake_board
from tests.boards.fake_board import FakeBoard

MODEL = FixedPointModel.load(SHIPPED_MODEL)
SAMPLES = Samples.load(SHIPPED_MODEL)
LAYERS = len(MODEL.network.layers())
IDENTITY = Identity(MODEL.input.bits, 64, 10, LAYERS, model=model_digest(MODEL))


def answer(label, first=1000):
    """Words that predict `label`; layer n has first + n ACs, 10 n cycles, n saturations."""
    words = [-5] * 10
    words[label] = 1 << 33
    for layer in range(LAYERS):
        words += [first + layer, 10 * layer, layer]
    return struct.pack(f"<{len(words)}q", *words)


def infer(board, count=1, model=MODEL, **options):
    """Answers and the driver, after `count` inferences on a board that runs."""
    with SerialPort(board.path, 115200) as port:
        remote = RemoteBoard(port, model, **{"timeout": 5, "reply": 0.3} | options)
        return [remote.infer(SAMPLES.inputs[n]) for n in range(count)], remote


def test_encode_goes_along_rows_with_channels_innermost():
    sample = np.arange(12).reshape(3, 2, 2)
    assert list(encode(sample, 8)) == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


def test_encode_sends_all_timesteps_of_a_position_together():
    first = np.arange(4).reshape(2, 1, 2)   # channel, y, x
    events = np.stack([first, first + 100])
    assert list(encode(events, 8)) == [0, 2, 100, 102, 1, 3, 101, 103]


@pytest.mark.parametrize("bits, expected", [
    (1, "00 01 ff"), (8, "00 01 ff"), (9, "0000 0100 ffff"), (16, "0000 0100 ffff")])
def test_encode_is_little_endian_twos_complement(bits, expected):
    assert encode(np.array([[[0, 1, -1]]], np.int32), bits) == bytes.fromhex(expected)


@pytest.mark.parametrize("part, busy", [(4096, 0), (7, 0), (4096, 3)])
def test_inferences(part, busy):
    with FakeBoard(IDENTITY, [answer(3), answer(7, 2000)], busy, part=part) as board:
        # Patient: on a machine that does other things, a thread may rest for long.
        answers, remote = infer(board, 2, reply=5, quiet=2)
    assert [each.predicted for each in answers] == [3, 7]
    assert answers[1].logits.tolist() == [-5] * 7 + [1 << 33] + [-5] * 2
    assert answers[1].counters.tolist() == [[2000 + n, 10 * n, n] for n in range(LAYERS)]
    assert board.samples == [encode(SAMPLES.inputs[n], MODEL.input.bits) for n in range(2)]
    assert remote.retries == 0


def test_long_samples_and_answers_go_in_parts():
    identity = Identity(16, 3000, 1000, 10)
    words = struct.pack("<1030q", *range(1030))
    sample = np.arange(3000).reshape(3, 20, 50)
    with FakeBoard(identity, [words]) as board, SerialPort(board.path, 115200) as port:
        got = RemoteBoard(port).infer(sample)
    assert got.logits.tolist() == list(range(1000)) and got.counters[-1].tolist() == [
        1027, 1028, 1029]
    assert board.samples == [encode(sample, 16)]


@pytest.mark.parametrize("lost", range(5))
def test_a_reply_that_is_lost_is_asked_for_again(lost):
    """And its request is carried out once."""
    with FakeBoard(IDENTITY, [answer(3), answer(4)],
                   damage=lambda number, data: b"" if number == lost else data) as board:
        answers, remote = infer(board, 2, reply=0.1)
    assert [each.predicted for each in answers] == [3, 4]
    assert len(board.samples) == 2 and remote.retries == 1


@pytest.mark.parametrize("damage", [
    lambda data: data[:-1] + bytes([data[-1] ^ 8]), lambda data: data[1:], lambda data: data[:5],
    lambda data: b"\xa5\x5a\0\0\xff\3" + data, lambda data: data + data,
    lambda data: bytes(300) + data, lambda data: data[:40] + data[39:]])
def test_damaged_replies(damage):
    with FakeBoard(IDENTITY, [answer(3), answer(4)],
                   damage=lambda number, data: damage(data) if number % 2 else data) as board:
        answers, _ = infer(board, 2)
    assert [each.predicted for each in answers] == [3, 4] and len(board.samples) == 2


def test_a_noisy_line():
    noise = Noise(0.004, seed=3)
    with FakeBoard(IDENTITY, [answer(n) for n in range(4)],
                   damage=lambda number, data: noise.apply(data)) as board:
        answers, remote = infer(board, 4)
    assert [each.predicted for each in answers] == [0, 1, 2, 3] and remote.retries > 0
    assert [each.counters.tolist() for each in answers] == [answers[0].counters.tolist()] * 4


def test_nothing_answers():
    with (FakeBoard(IDENTITY, damage=lambda number, data: b"") as board,
          pytest.raises(LinkError, match=r"^no board answers: identify got no reply in 2 attempts "
                                         r"of 0\.05 s; is it programmed, ")):
        infer(board, reply=0.05, attempts=2)


def test_another_network():
    with (FakeBoard(replace(IDENTITY, classes=11)) as board,
          pytest.raises(ValueError, match=r"it has 11 classes, not 10$")):
        infer(board)
    assert [frame.command for frame in board.requests] == [Command.IDENTIFY]


def test_a_board_that_is_no_board():
    with (FakeBoard(IDENTITY) as board, pytest.raises(ValueError, match=r"^the identity must be ")):
        board.identity = type("Other", (), {"pack": lambda self: b"hello"})()
        infer(board)


@pytest.mark.parametrize("command, reason, sentence", [
    (Command.SAMPLES, Error.STALLED, "the accelerator took no samples"),
    (Command.READ, Error.EMPTY, "the board has no answer")])
def test_refusals(command, reason, sentence):
    with (FakeBoard(IDENTITY, [answer(3)], refuse=(command, reason)) as board,
          pytest.raises(RefusedError, match=f"^{sentence}") as caught):
        infer(board)
    assert caught.value.reason == reason
    # The board was left as it can be used: a new identity and a reset.
    assert [frame.command for frame in board.requests][-2:] == [Command.IDENTIFY, Command.RESET]


@pytest.mark.parametrize("command", [Command.SAMPLES, Command.READ])
@pytest.mark.parametrize("flags, sentence", [
    (Flag.LOADED | Flag.RESPONSE, "the board's memory answered the accelerator with an error"),
    (Flag.LOADED | Flag.SILENCE, "the board's memory did not answer the accelerator in time"),
    (Flag.PARITY, "a word in a memory of the accelerator has changed"),
    (Flag.DEAD_MEMORY, "the board found no time at which its memory is read right"),
    (Flag.BAD_IMAGE, "the weights in the board's memory are damaged, or no image"),
    (Flag(0), "the accelerator has stopped because of a fault$")])
def test_a_fault_is_one_clear_error(monkeypatch, command, flags, sentence):
    """And the next inference finds a board that was reset."""
    monkeypatch.setattr(fake_board, "STATUS", struct.pack("<BBHI", 1, flags, 0, 0))
    with (FakeBoard(IDENTITY, [answer(3), answer(4)], refuse=(command, Error.FAULT)) as board,
          SerialPort(board.path, 115200) as port):
        remote = RemoteBoard(port, MODEL, reply=0.3)
        with pytest.raises(FaultError, match=f"^{sentence}") as caught:
            remote.infer(SAMPLES.inputs[0])
        assert caught.value.flags == flags
        assert [frame.command for frame in board.requests][-3:] == [
            Command.STATUS, Command.IDENTIFY, Command.RESET]
        board.refuse = None
        assert remote.infer(SAMPLES.inputs[1]).predicted == board.current + 3


def test_an_inference_that_does_not_end():
    with (FakeBoard(IDENTITY, [answer(3)], busy=10_000) as board,
          pytest.raises(LinkError, match=r"^the inference does not end in time; ")):
        infer(board, timeout=0.1)


def test_a_sample_of_another_size():
    with (FakeBoard(IDENTITY) as board, SerialPort(board.path, 115200) as port,
          pytest.raises(ValueError, match=r"^a sample must have 64 values, not 63$")):
        RemoteBoard(port).infer(np.zeros((1, 7, 9), int))
    assert board.samples == []


def test_write():
    identity = replace(IDENTITY, writable=True)
    data, told = bytes(range(256)) * 10, []
    with FakeBoard(identity) as board, SerialPort(board.path, 115200) as port:
        RemoteBoard(port).write(0x1000, data, told.append)
    addresses = [struct.unpack("<I", part[:4])[0] for part in board.writes]
    assert b"".join(part[4:] for part in board.writes) == data and sum(told) == len(data)
    assert addresses == [0x1000 + sum(told[:n]) for n in range(len(told))]
    assert all(len(part) % 8 == 4 and len(part) <= 1024 for part in board.writes)


class FarBoard(FakeBoard):
    """Long writes are carried out, and their replies lost."""

    def reply(self, frame, result):
        if frame.command == Command.WRITE and len(frame.payload) > 300:
            self.last = frame.sequence
        else:
            super().reply(frame, result)


def test_writes_become_shorter_where_long_ones_fail():
    """Nothing is taken for done that was not: the board looks at each number once."""
    identity = replace(IDENTITY, writable=True)
    data, memory = np.random.default_rng(0).bytes(2048), bytearray(2048)
    with FarBoard(identity) as board, SerialPort(board.path, 115200) as port:
        RemoteBoard(port, reply=0.1, attempts=2).write(0, data)
    for part in board.writes:
        address, = struct.unpack("<I", part[:4])
        memory[address:address + len(part) - 4] = part[4:]
    assert memory == data


@pytest.mark.parametrize("address, size, name", [(4, 8, "address"), (0, 7, "size"),
                                                 (-8, 8, "address"), (1 << 32, 8, "address")])
def test_writes_are_of_whole_words(address, size, name):
    with (FakeBoard(IDENTITY) as board, SerialPort(board.path, 115200) as port,
          pytest.raises(ValueError, match=rf"^{name} must be a multiple of 8 below 2\*\*32")):
        RemoteBoard(port).write(address, bytes(size))


def test_status():
    with FakeBoard(IDENTITY) as board, SerialPort(board.path, 115200) as port:
        assert RemoteBoard(port, reset=False).status() == Status(False, True, Flag.LOADED, 5, 0)
    assert [frame.command for frame in board.requests] == [Command.IDENTIFY, Command.STATUS]


def test_a_status_of_another_size():
    class Other(FakeBoard):
        def handle(self, frame):
            return b"1234567" if frame.command == Command.STATUS else super().handle(frame)

    with (Other(IDENTITY) as board, SerialPort(board.path, 115200) as port,
          pytest.raises(LinkError, match=r"^the status must have 8 bytes, not 7$")):
        RemoteBoard(port, reset=False).status()


def test_slow_lines_have_time():
    assert reply_seconds(9600) > 2 * 522 * 10 / 9600 and reply_seconds(1_000_000) < 0.6


class Checking(FakeBoard):
    """Its weights are in a chip: the third status has the verdict."""

    verdict, asked = Flag.LOADED, 0

    def handle(self, frame):
        if frame.command != Command.STATUS:
            return super().handle(frame)
        self.asked += 1
        return Status.LAYOUT.pack(0, self.verdict.value if self.asked > 2 else 0, 0, 0)


def test_samples_wait_for_the_check_of_a_chip():
    with Checking(replace(IDENTITY, external=True), [answer(3), answer(5)]) as board:
        answers, _ = infer(board, 2)
    assert [each.predicted for each in answers] == [3, 5]
    commands = [frame.command for frame in board.requests]
    assert commands.count(Command.STATUS) == 3   # before the first inference only
    assert Command.SAMPLES not in commands[:commands.index(Command.STATUS) + 3]


def test_after_a_reset_the_check_is_waited_for_again():
    with (Checking(replace(IDENTITY, external=True), [answer(3), answer(5)]) as board,
          SerialPort(board.path, 115200) as port):
        remote = RemoteBoard(port, MODEL, timeout=5, reply=5, quiet=2)
        remote.infer(SAMPLES.inputs[0])
        remote.reset()
        board.asked = 0
        remote.infer(SAMPLES.inputs[1])
    commands = [frame.command for frame in board.requests]
    assert commands.count(Command.STATUS) == 6


def test_no_sample_is_sent_to_a_damaged_chip():
    with Checking(replace(IDENTITY, external=True), [answer(3)]) as board:
        board.verdict = Flag.BAD_IMAGE
        with pytest.raises(FaultError):
            infer(board)
    assert board.samples == []
