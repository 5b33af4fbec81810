# SPDX-License-Identifier: Apache-2.0
"""Weight images and replies of boards that somebody damaged or made up, as `tests.hostile` says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boards import host
from boards.driver import RemoteBoard
from boards.frames import REPLY, Command, Frame, Parser
from boards.serial_port import LinkError
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.identity import Identity
from hw.tiles import check_image
from sim.benches.models import SMALL, random_model
from tests.hostile import damages, frugal, fuzz

IDENTITY = Identity(8, 4, 2, 1)


@pytest.fixture(scope="module")
def image():
    model = random_model(SMALL)
    hardware = HardwareConfig.for_model(model, lanes=8, banks=2, port_bits=64)
    images = compile_model(model, hardware).images()
    return images["weights.bin"], hardware.digest()


@fuzz
@given(damage=damages())
def test_damaged_images(image, damage):
    """Whatever was changed is seen."""
    whole, hardware = image
    damaged, accepted = damage(whole), False
    with frugal(len(damaged)):
        check_image(damaged, hardware)
        accepted = True
    assert accepted == (damaged == whole)


class Replies:
    """A port behind which somebody answers every request with what `replies` brings."""

    def __init__(self, replies):
        self._replies, self._parser, self._ready = replies, Parser(), []

    def write(self, data, timeout):
        self._ready += [self._replies(frame) for frame in self._parser.feed(data)]

    def read(self, timeout):
        return self._ready.pop(0) if self._ready else b""


def whole(frame):
    """What a sound board would answer."""
    payload = {Command.IDENTIFY: IDENTITY.pack(), Command.STATUS: bytes([2, 1, 0, 0, 0, 0, 0, 0]),
               Command.READ: bytes(8 * IDENTITY.words)}
    return Frame(frame.sequence, frame.command | REPLY, payload.get(frame.command, b""))


def use(replies):
    """What a host does with a board; the answer."""
    board = RemoteBoard(Replies(replies), timeout=0.01, reply=0.01, quiet=0.01)
    host.describe(board.identity)
    board.status()
    board.verify()
    if board.identity.samples != 4:   # for another network
        raise ValueError("other samples")
    return board.infer(np.arange(4).reshape(1, 2, 2))


def test_a_sound_board_answers():
    assert use(lambda frame: whole(frame).encode()).counters.shape == (1, 3)


@fuzz
@given(data=st.data())
def test_boards_whose_bytes_are_damaged(data):
    """No answer that was not sent."""
    def reply(frame):
        sent = whole(frame).encode()
        return data.draw(damages())(sent) if data.draw(st.booleans()) else sent

    with frugal(1 << 16, LinkError):
        answer = use(reply)
        assert not answer.logits.any() and answer.counters.shape == (1, 3)


@fuzz
@given(data=st.data())
def test_boards_that_answer_anything(data):
    """Frames without any fault in them, of other commands, numbers and payloads."""
    def reply(frame):
        right = whole(frame)
        kind = data.draw(st.sampled_from(["right", "right", "payload", "command", "bytes"]))
        payload = data.draw(st.one_of(
            st.binary(max_size=80), damages().map(lambda damage: damage(right.payload)[:512])))
        if kind == "bytes":
            return payload
        if kind == "payload":
            right = Frame(right.sequence, right.command, payload)
        elif kind == "command":
            right = Frame(data.draw(st.integers(0, 255)), data.draw(st.integers(0, 255)), payload)
        return right.encode()

    with frugal(1 << 16, LinkError):
        use(reply)
