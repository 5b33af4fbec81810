# SPDX-License-Identifier: Apache-2.0
"""Trace files become arrays, at every width."""

import numpy as np
import pytest

from sim import trace
from sim.trace import Words, read_outputs, read_words, signed_fields
from tests.sim import mock


def as_words(events, kind, width):
    """Trace words of one kind, as `read_words` would read them from inference 0."""
    chosen = [event for event in events if event.kind == kind]
    columns = [np.array([getattr(event, name) for event in chosen], np.int64)
               for name in ("layer", "position", "timestep", "word")]
    bits = np.array([[event.data >> i & 1 for i in range(width)] for event in chosen], np.uint8)
    data = np.packbits(bits.reshape(len(chosen), width), axis=1, bitorder="little")
    return Words(np.zeros(len(chosen), np.int64), *columns, data, width)


@pytest.mark.parametrize("width", [1, 3, 4, 8, 33, 128])
def test_words(tmp_path, width, monkeypatch):
    monkeypatch.setattr(trace, "CHUNK", 30)   # 100 lines do not fill four chunks
    rng = np.random.default_rng(width)
    rows = []
    for extreme in (True, False):
        for _ in range(50):
            limits = (1 << 32, 1 << 8, 1 << 16, 1 << 5, 1 << 8)
            rows.append([limit - 1 if extreme else int(rng.integers(limit)) for limit in limits]
                        + [int.from_bytes(rng.bytes(16), "little") & (1 << width) - 1])
    digits = -(-width // 4)
    (tmp_path / "spikes").write_text("".join(
        f"{n:08x} {layer:02x} {p:04x} {t:02x} {w:02x} {data:0{digits}x}\n"
        for n, layer, p, t, w, data in rows))
    words = read_words(tmp_path / "spikes", width)
    for i, name in enumerate(("inference", "layer", "position", "timestep", "word")):
        assert getattr(words, name).tolist() == [row[i] for row in rows]
    assert words.bits.shape == (100, width)
    assert words.data.nbytes == 100 * -(-width // 8)   # packed: paper sizes make millions of words
    assert [sum(int(b) << i for i, b in enumerate(bits)) for bits in words.bits] == [
        row[5] for row in rows]


def test_empty_file(tmp_path):
    (tmp_path / "spikes").write_text("")
    assert read_words(tmp_path / "spikes", 32).bits.shape == (0, 32)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "spikes"
    path.write_text("00000000 00 0000 00 00 0\n0000")
    with pytest.raises(ValueError, match=r"^trace spikes must hold lines of 25 characters, not 29 "
                                         r"characters in all$"):
        read_words(path, 4)
    path.write_text("00000000 00 0000 00 00 x\n")
    with pytest.raises(ValueError, match=r"^trace spikes must hold hexadecimal digits in columns "
                                         r"23 to 23$"):
        read_words(path, 4)


@pytest.mark.parametrize("width", [1, 4, 10, 24])
def test_signed_fields(width):
    values = [-(1 << width - 1), (1 << width - 1) - 1, 0, -1]
    bits = [[value >> i & 1 for value in values for i in range(width)]]
    assert signed_fields(np.array(bits, np.uint8), width).tolist() == [values]


def test_outputs(tmp_path):
    path = tmp_path / "outputs"
    path.write_text("00000000 0 ffffffffffffffff 0000000000000010\n"
                    "00000000 1 0000000000000005 0000000000000012\nend 1 500 20 2\n")
    outputs = read_outputs(path)
    assert outputs.data.tolist() == [-1, 5] and outputs.last.tolist() == [False, True]
    assert outputs.cycle.tolist() == [16, 18]
    assert (outputs.stalled, outputs.cycles, outputs.samples) == (True, 500, 20)


@pytest.mark.parametrize("text", ["", "00000000 0 ffffffffffffffff 0000000000000010\n"])
def test_outputs_without_an_end(tmp_path, text):
    (tmp_path / "outputs").write_text(text)
    with pytest.raises(ValueError, match=r"^outputs outputs must end with the line \"end\", "):
        read_outputs(tmp_path / "outputs")


def test_damage_far_into_a_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(trace, "CHUNK", 2)
    lines = ["00000000 00 0000 00 00 0\n"] * 7
    lines[6] = "00000000 00 00g0 00 00 0\n"
    (tmp_path / "spikes").write_text("".join(lines))
    with pytest.raises(ValueError, match=r"^trace spikes must hold hexadecimal digits in columns "
                                         r"12 to 15$"):
        read_words(tmp_path / "spikes", 4)


def test_mock_words_round_trip():
    program, results = mock.program(), mock.random_results()
    words = as_words(mock.events(results, program), mock.SPIKE, mock.WORD)
    assert len(words.layer) == sum(
        2 * t.layer.positions * len(t.channels) // mock.WORD for t in program.traces if t.layer.lif)
