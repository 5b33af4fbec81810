# SPDX-License-Identifier: Apache-2.0
"""Trace files become arrays, at every width."""

import numpy as np
import pytest

from sim import words as sim_words
from sim.words import line_count, read_words, signed_fields


@pytest.mark.parametrize("width", [1, 3, 4, 8, 33, 128])
def test_words(tmp_path, width, monkeypatch):
    monkeypatch.setattr(sim_words, "CHUNK", 30)   # 100 lines do not fill four chunks
    rng = np.random.default_rng(width)
    rows = []
    for extreme in (True, False):
        for _ in range(50):
            limits = (1 << 8, 1 << 16, 1 << 5, 1 << 8)
            rows.append([limit - 1 if extreme else int(rng.integers(limit)) for limit in limits]
                        + [int.from_bytes(rng.bytes(16), "little") & (1 << width) - 1])
    digits = -(-width // 4)
    (tmp_path / "spikes").write_text("".join(
        f"{layer:02x} {p:04x} {t:02x} {w:02x} {data:0{digits}x}\n"
        for layer, p, t, w, data in rows))
    words = read_words(tmp_path / "spikes", width)
    for i, name in enumerate(("layer", "position", "timestep", "word")):
        assert getattr(words, name).tolist() == [row[i] for row in rows]
    assert words.bits.shape == (100, width)
    assert words.data.nbytes == 100 * -(-width // 8)   # packed: paper sizes make millions of words
    assert [sum(int(b) << i for i, b in enumerate(bits)) for bits in words.bits] == [
        row[4] for row in rows]
    part = read_words(tmp_path / "spikes", width, 17, 63)
    assert part.position.tolist() == [row[1] for row in rows[17:63]]
    assert np.array_equal(part.data, words.data[17:63])
    assert line_count(tmp_path / "spikes", width) == 100


def test_empty_file(tmp_path):
    (tmp_path / "spikes").write_text("")
    assert read_words(tmp_path / "spikes", 32).bits.shape == (0, 32)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "spikes"
    path.write_text("00 0000 00 00 0\n0000")
    with pytest.raises(ValueError, match=r"^trace spikes must hold lines of 16 characters, not 20 "
                                         r"characters in all$"):
        read_words(path, 4)
    with pytest.raises(ValueError, match=r"^trace spikes must hold 2 lines of 16 characters, "
                                         r"not 1$"):
        read_words(path, 4, 0, 2)
    path.write_text("00 0000 00 00 x\n")
    with pytest.raises(ValueError, match=r"^trace spikes must hold hexadecimal digits in columns "
                                         r"14 to 14$"):
        read_words(path, 4)


@pytest.mark.parametrize("width", [1, 4, 10, 24])
def test_signed_fields(width):
    values = [-(1 << width - 1), (1 << width - 1) - 1, 0, -1]
    bits = [[value >> i & 1 for value in values for i in range(width)]]
    assert signed_fields(np.array(bits, np.uint8), width).tolist() == [values]


def test_damage_far_into_a_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(sim_words, "CHUNK", 2)
    lines = ["00 0000 00 00 0\n"] * 7
    lines[6] = "00 00g0 00 00 0\n"
    (tmp_path / "spikes").write_text("".join(lines))
    with pytest.raises(ValueError, match=r"^trace spikes must hold hexadecimal digits in columns "
                                         r"3 to 6$"):
        read_words(tmp_path / "spikes", 4)
