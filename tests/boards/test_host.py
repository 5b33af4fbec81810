# SPDX-License-Identifier: Apache-2.0
"""The host's program, with a thread that plays the board on a pseudo terminal."""

import os
import pty
import select
import struct
import threading
import time

import numpy as np
import pytest

from boards import host
from boards.host import LinkError, SerialPort, answer_size, decode, encode
from hw.model import SHIPPED_MODEL, FixedPointModel, Samples

MODEL = FixedPointModel.load(SHIPPED_MODEL)
SAMPLES = Samples.load(SHIPPED_MODEL)
NETWORK = MODEL.network
LAYERS = len(NETWORK.layers())
REQUEST = NETWORK.in_channels * NETWORK.image_height * NETWORK.image_width
SIZE = 8 * (NETWORK.num_classes + 3 * LAYERS)


def answer(label, first=1000):
    """Words that predict `label`; layer n has first + n ACs, 10 n cycles, n saturations."""
    words = [-5] * NETWORK.num_classes
    words[label] = 1 << 33
    for layer in range(LAYERS):
        words += [first + layer, 10 * layer, layer]
    return struct.pack(f"<{len(words)}q", *words)


class FakeBoard(threading.Thread):
    """Collects requests of `size` bytes and answers each with the next of `answers`, in parts.

    The device is a raw terminal from the host's side on, as a UART would be.
    """

    def __init__(self, answers, size=REQUEST, part=13, pause=0.0):
        super().__init__(daemon=True)
        self.master, self.slave = pty.openpty()
        self.path = os.ttyname(self.slave)
        self.answers, self.size, self.part, self.pause = answers, size, part, pause
        self.requests, self.stop = [], threading.Event()

    def run(self):
        for reply in self.answers:
            request = bytearray()
            while len(request) < self.size and not self.stop.is_set():
                if select.select([self.master], [], [], 0.02)[0]:
                    request += os.read(self.master, self.size - len(request))
            self.requests.append(bytes(request))
            for start in range(0, len(reply), self.part):
                os.write(self.master, reply[start:start + self.part])
                time.sleep(self.pause)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join()
        os.close(self.master)
        os.close(self.slave)


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


def test_encode_sixteen_bits():
    assert encode(np.array([[[-32768, 258]]]), 16) == bytes.fromhex("0080 0201")


def test_decode():
    assert answer_size(NETWORK) == SIZE
    got = decode(answer(3), NETWORK)
    assert got.predicted == 3
    assert got.logits.tolist() == [-5, -5, -5, 1 << 33, -5, -5, -5, -5, -5, -5]
    assert got.counters.tolist() == [[1000 + n, 10 * n, n] for n in range(LAYERS)]


@pytest.mark.parametrize("counter", [-1, 1 << 48, -(1 << 63)])
def test_decode_notices_words_that_are_no_counters(counter):
    data = answer(3)[:-8] + struct.pack("<q", counter)
    with pytest.raises(LinkError, match=r"^the answer has impossible counters: the board is out "
                                         r"of step, or built for another network; reset it$"):
        decode(data, NETWORK)


def test_decode_of_an_answer_that_is_out_of_step():
    """A byte was lost at the front."""
    with pytest.raises(LinkError):
        decode(answer(3)[1:] + b"\0", NETWORK)


@pytest.mark.parametrize("part", [1, 13, 4096])
def test_one_sample(capsys, part):
    with FakeBoard([answer(7)], part=part) as board:
        assert host.main(["--port", board.path]) == 0
    assert board.requests == [encode(SAMPLES.inputs[0], MODEL.input.bits)]
    out = capsys.readouterr().out.splitlines()
    acs, cycles = 1000 * LAYERS + LAYERS * (LAYERS - 1) // 2, 5 * LAYERS * (LAYERS - 1)
    assert out[0] == (f"image 0: predicted 7, true label {SAMPLES.labels[0]}; "
                      f"{acs:,} AC in {cycles:,} cycles")
    assert out[1].split() == ["layer", "AC", "cycles", "saturations"]
    for number, layer in enumerate(NETWORK.layers()):
        assert out[2 + number].split() == [layer.name, f"{1000 + number:,}", str(10 * number),
                                           str(number)]
    assert out[-1].split()[:3] == ["total", f"{acs:,}", f"{cycles:,}"]


def test_several_samples(capsys):
    labels = SAMPLES.labels[:3].tolist()
    wrong = (labels[1] + 1) % NETWORK.num_classes
    answers = [answer(labels[0]), answer(wrong), answer(labels[2], first=1300)]
    with FakeBoard(answers) as board:
        assert host.main(["--port", board.path, "--samples", "3"]) == 0
    assert board.requests == [encode(values, MODEL.input.bits) for values in SAMPLES.inputs[:3]]
    out = capsys.readouterr().out.splitlines()
    assert [line.partition(";")[0] for line in out[:3]] == [
        f"image {number}: predicted {predicted}, true label {label}"
        for number, (predicted, label) in enumerate(zip((labels[0], wrong, labels[2]), labels))]
    assert out[3] == "2 of 3 labels predicted; mean of an image:"
    assert out[5].split()[1] == "1,100"  # mean of 1000, 1000, 1300


def test_bytes_from_before_are_forgotten():
    board = FakeBoard([answer(1)])
    os.write(board.master, b"left over")
    with board:
        assert host.main(["--port", board.path]) == 0


def test_every_byte_value_passes():
    """Nothing on the way is a control character."""
    data = bytes(range(256)) * 3
    with FakeBoard([data], size=len(data), part=100) as board, SerialPort(board.path) as port:
        assert port.exchange(data, len(data), 5) == data
    assert board.requests == [data]


def test_timeout_counts_from_the_last_byte():
    """The answer takes several timeouts, but no pause is as long as one."""
    data = bytes(20)
    with (FakeBoard([data], size=1, part=1, pause=0.03) as board,
          SerialPort(board.path) as port):
        assert port.exchange(b"x", 20, 0.3) == data


@pytest.mark.parametrize("sent", [0, 1, SIZE - 1])
def test_board_that_stops(capsys, sent):
    with FakeBoard([answer(1)[:sent]]) as board:
        assert host.main(["--port", board.path, "--timeout", "0.2"]) == 1
    assert capsys.readouterr().err == (
        f"error: no byte went for 0.2 s: {REQUEST} of {REQUEST} bytes sent, {sent} of {SIZE} "
        "received; reset the board\n")


def test_board_that_answers_nonsense(capsys):
    with FakeBoard([b"\xff" * SIZE]) as board:
        assert host.main(["--port", board.path]) == 1
    assert capsys.readouterr().err.startswith("error: the answer has impossible counters: ")


def test_board_that_answers_too_much():
    """While the request is still under way, more than its answer comes back."""
    with (FakeBoard([bytes(9)], size=1) as board, SerialPort(board.path) as port,
          pytest.raises(LinkError, match=r"^the answer must have 4 bytes, but more came; reset")):
        port.exchange(bytes(1 << 20), 4, 0.5)


def test_board_that_disappears():
    master, slave = pty.openpty()
    with SerialPort(os.ttyname(slave)) as port:
        os.close(slave)
        os.close(master)
        with pytest.raises(LinkError, match=r"^(the serial port failed: |no byte went for 0\.2 s)"):
            port.exchange(b"x", 1, 0.2)


def rejected(capsys, *words):
    """The sentence after `error: `."""
    assert host.main([*words]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("error: ").strip()


def test_no_such_port(capsys):
    assert rejected(capsys, "--port", "/dev/nosuch") == (
        "port must be a serial device, not '/dev/nosuch' (No such file or directory)")


def test_port_that_is_a_file(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    path = str(tmp_path / "file")
    assert rejected(capsys, "--port", path).startswith(
        f"port must be a serial device, not {path!r} (")


@pytest.mark.parametrize("baud", ["0", "1", "-9600"])
def test_rate_that_no_system_has(capsys, baud):
    sentence = rejected(capsys, "--port", "/dev/null", "--baud", baud)
    assert sentence.startswith("baud must be one of 50, ") and sentence.endswith(f"not {baud}")
    assert " 115200, " in sentence


@pytest.mark.parametrize("count", [0, -1, len(SAMPLES.labels) + 1])
def test_samples_that_are_not_there(capsys, count):
    assert rejected(capsys, "--port", "/dev/null", "--samples", str(count)) == (
        f"--samples must be 1 to {len(SAMPLES.labels)}, the number of samples of the model "
        f"directory, not {count}")


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "3601"])
def test_timeout_must_end(capsys, timeout):
    assert rejected(capsys, "--port", "/dev/null", "--timeout", timeout) == (
        f"--timeout must be positive and at most 3600, not {float(timeout)!r}")


def test_model_that_is_none(capsys, tmp_path):
    assert rejected(capsys, "--port", "/dev/null", "--model", str(tmp_path)) == (
        f"model directory must hold manifest.json, not {str(tmp_path)!r}")


def test_port_must_be_given(capsys):
    with pytest.raises(SystemExit) as stopped:
        host.main([])
    assert stopped.value.code == 2
    assert "--port" in capsys.readouterr().err
