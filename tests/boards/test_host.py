# SPDX-License-Identifier: Apache-2.0
"""The host's program, with a thread that plays the board on a pseudo terminal."""

import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from boards import host
from boards.driver import encode
from boards.frames import Flag
from boards.host import image_files
from hw.identity import ANY_MODEL
from hw.tiles import seal
from tests.boards import fake_board
from tests.boards.fake_board import FakeBoard
from tests.boards.test_driver import IDENTITY, LAYERS, MODEL, SAMPLES, answer

BODY = bytes(range(250)) * 8
WRITABLE = replace(IDENTITY, writable=True, hardware=b"hardware")
IMAGE = seal(BODY, 64, b"hardware")


@pytest.fixture
def picture(tmp_path):
    """A PNG of a held-out digit, whose grey values mean the sample's integers."""
    values = SAMPLES.inputs[0][0]
    path = tmp_path / "digit.png"
    Image.fromarray((values * 255 / 16).round().astype(np.uint8)).save(path)
    return path


def run(board, *words):
    return host.main(["--port", board.path, *map(str, words)])


def test_a_picture(capsys, picture):
    with FakeBoard(IDENTITY, [answer(7)]) as board:
        assert run(board, "infer", picture) == 0
    assert board.samples == [encode(SAMPLES.inputs[0], MODEL.input.bits)]
    out = capsys.readouterr().out.splitlines()
    acs, cycles = 1000 * LAYERS + LAYERS * (LAYERS - 1) // 2, 5 * LAYERS * (LAYERS - 1)
    assert out[0].startswith(f"{picture}: predicted 7; {acs:,} AC in {cycles:,} cycles; logits ")
    logits = out[0].split()[-10:]
    assert float(logits[7]) == pytest.approx((1 << 33) * MODEL.logit_scale, abs=1e-3)
    assert out[1].split() == ["layer", "AC", "cycles", "saturations"]
    for number, layer in enumerate(MODEL.network.layers()):
        assert out[2 + number].split() == [layer.name, f"{1000 + number:,}", str(10 * number),
                                           str(number)]
    assert out[-1].split()[:3] == ["total", f"{acs:,}", f"{cycles:,}"]


def test_a_folder_and_an_array(capsys, tmp_path, picture):
    folder = tmp_path / "folder"
    folder.mkdir()
    picture.rename(folder / "b.PNG")
    np.save(folder / "a.npy", np.zeros((8, 8)))
    (folder / "notes.txt").write_text("no picture")
    np.save(tmp_path / "own.npy", np.ones((1, 8, 8)))
    answers = [answer(1), answer(2), answer(3, first=1300)]
    with FakeBoard(IDENTITY, answers) as board:
        assert run(board, "infer", folder, tmp_path / "own.npy") == 0
    assert [sample[:2] for sample in board.samples] == [
        b"\0\0", encode(SAMPLES.inputs[0], 5)[:2], b"\x10\x10"]
    out = capsys.readouterr().out.splitlines()
    assert [line.partition(";")[0] for line in out[:3]] == [
        f"{folder / 'a.npy'}: predicted 1", f"{folder / 'b.PNG'}: predicted 2",
        f"{tmp_path / 'own.npy'}: predicted 3"]
    assert out[3] == "mean of an image:" and out[5].split()[1] == "1,100"


def test_samples(capsys):
    labels = SAMPLES.labels[:3].tolist()
    wrong = (labels[1] + 1) % 10
    answers = [answer(labels[0]), answer(wrong), answer(labels[2])]
    with FakeBoard(IDENTITY, answers) as board:
        assert run(board, "samples", 3) == 0
    assert board.samples == [encode(values, 5) for values in SAMPLES.inputs[:3]]
    out = capsys.readouterr().out.splitlines()
    assert [line.partition(";")[0] for line in out[:3]] == [
        f"sample {number}: predicted {predicted}, true label {label}"
        for number, (predicted, label) in enumerate(zip((labels[0], wrong, labels[2]), labels))]
    assert out[3] == "2 of 3 labels predicted"


def test_identify_needs_no_model(capsys):
    identity = replace(IDENTITY, classes=11, clock_hz=50_000_000, model=ANY_MODEL)
    with FakeBoard(identity) as board:
        assert run(board, "identify") == 0
    out = capsys.readouterr().out
    assert "clock      50 MHz\n" in out and "11 classes, counters of 13 layers" in out


def test_status(capsys):
    with FakeBoard(IDENTITY) as board:
        assert run(board, "status") == 0
    assert capsys.readouterr().out == ("has an answer; waits for 0 bytes of samples; 5 bad frames "
                                       "since reset; flags 0x01 loaded\n")


def test_load(capsys, tmp_path):
    (tmp_path / "weights.bin").write_bytes(IMAGE)
    for address, told in ((0x100, ""), (0, "the board has read it back: its CRC is right\n")):
        with FakeBoard(WRITABLE) as board:
            assert run(board, "load", tmp_path / "weights.bin", "--address", hex(address)) == 0
        assert b"".join(part[4:] for part in board.writes) == IMAGE
        assert board.writes[0][:4] == address.to_bytes(4, "little")
        assert capsys.readouterr().out == f"wrote {len(IMAGE):,} bytes at {address:#x}\n" + told


@pytest.mark.parametrize("image, sentence", [
    (IMAGE[:-8], "must have the 2,512 bytes that its header says, not 2,504"),
    (IMAGE[:9], "must have at least 24 bytes, not 9"), (b"", "must begin with b'SPL2', not b''"),
    (b"SPL1" + IMAGE[4:], "must be of version 2 of its format, not b'1'"),
    (IMAGE[:900] + bytes([IMAGE[900] ^ 4]) + IMAGE[901:], "must have the CRC that its header "),
    (seal(BODY, 64, b"Hardware"), "must be made for the hardware of the board, ")])
def test_an_image_that_is_refused(capsys, tmp_path, image, sentence):
    (tmp_path / "weights.bin").write_bytes(image)
    with FakeBoard(WRITABLE) as board:
        assert run(board, "load", tmp_path / "weights.bin") == 2
    out, error = capsys.readouterr()
    assert error.startswith(f"error: a weight image {sentence}") and error.count("\n") == 1
    assert out == "" and board.writes == []


def test_an_image_that_does_not_arrive_whole(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(fake_board, "STATUS", struct.pack("<BBHI", 0, Flag.BAD_IMAGE, 0, 0))
    (tmp_path / "weights.bin").write_bytes(IMAGE)
    with FakeBoard(WRITABLE) as board:
        assert run(board, "load", tmp_path / "weights.bin") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: the weights in the board's memory are damaged")


def test_a_lost_reply_is_told(capsys):
    with FakeBoard(IDENTITY, [answer(1)],
                   damage=lambda number, data: b"" if number == 2 else data) as board:
        assert run(board, "samples", 1) == 0
    assert capsys.readouterr().out.endswith("1 requests were repeated: the line is not clean\n")


def test_another_board(capsys):
    with FakeBoard(replace(IDENTITY, model=b"x" * 32)) as board:
        assert run(board, "samples", 1) == 2
    assert capsys.readouterr().err.startswith(
        "error: the board must be built from these weights, but it holds others: 7878787878787878, "
        "not ")
    assert board.samples == []


def test_an_inference_that_does_not_end(capsys):
    with FakeBoard(IDENTITY, [answer(1)], busy=10_000) as board:
        assert run(board, "--timeout", 0.1, "samples", 1) == 1
    assert capsys.readouterr().err == (
        "error: the inference does not end in time; a longer --timeout may help\n")


def rejected(capsys, *words):
    """The sentence after `error: `."""
    assert host.main([*map(str, words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("error: ").strip()


def test_no_such_port(capsys):
    assert rejected(capsys, "--port", "/dev/nosuch", "identify") == (
        "port must be a serial device, not '/dev/nosuch' (No such file or directory)")


@pytest.mark.parametrize("count", [0, -1, len(SAMPLES.labels) + 1])
def test_samples_that_are_not_there(capsys, count):
    assert rejected(capsys, "--port", "/dev/null", "samples", f"{count}") == (
        f"samples must be 1 to {len(SAMPLES.labels)}, the number of samples of the model "
        f"directory, not {count}")


def test_images_that_are_none(capsys, tmp_path):
    with pytest.raises(ValueError, match=r"^folder must hold pictures or \.npy files, not '"):
        image_files([tmp_path])
    assert rejected(capsys, "--port", "/dev/null", "infer", tmp_path / "no.png") == (
        f"image must be a file or a folder, not '{tmp_path / 'no.png'}'")
    (tmp_path / "text.png").write_text("text")
    assert rejected(capsys, "--port", "/dev/null", "infer", tmp_path).startswith(
        f"{tmp_path / 'text.png'} must be a picture or a .npy array: ")


@pytest.mark.parametrize("timeout", ["0", "-1", "nan", "inf", "3601"])
def test_timeout_must_end(capsys, timeout):
    assert rejected(capsys, "--port", "/dev/null", "--timeout", timeout, "identify") == (
        f"--timeout must be positive and at most 3600, not {float(timeout)!r}")


def test_model_that_is_none(capsys, tmp_path):
    assert rejected(capsys, "--port", "/dev/null", "--model", tmp_path, "samples", 1) == (
        f"model directory must hold manifest.json, not {str(tmp_path)!r}")


@pytest.mark.parametrize("words", [["identify"], ["--port", "/dev/null"]])
def test_port_and_command_must_be_given(capsys, words):
    assert host.main(words) == 2
