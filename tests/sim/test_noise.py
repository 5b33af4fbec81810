# SPDX-License-Identifier: Apache-2.0
"""Noise: each kind does what it says, as often as asked for."""

import pytest

from sim.noise import KINDS, Noise

DATA = bytes(range(256)) * 40


def test_none():
    assert Noise(0).apply(DATA) == DATA


@pytest.mark.parametrize("kind, ok", [
    ("flip", lambda out: len(out) == 256 and all((a ^ b).bit_count() == 1
                                                 for a, b in zip(out, DATA))),
    ("drop", lambda out: out == b""),
    ("repeat", lambda out: out[::2] == out[1::2] == DATA[:256]),
    ("garbage", lambda out: 512 <= len(out) <= 21 * 256)])
def test_kinds(kind, ok):
    noise = Noise(1, seed=1)
    noise._chance.choice = lambda kinds: kind
    assert ok(noise.apply(DATA[:256])) and noise.counts[kind] == 256


def test_rate_and_seed():
    first, again, other = Noise(0.1, 5), Noise(0.1, 5), Noise(0.1, 6)
    data = first.apply(DATA)
    assert data == again.apply(DATA[:100]) + again.apply(DATA[100:]) != other.apply(DATA)
    assert 0.08 < sum(first.counts.values()) / len(DATA) < 0.12
    assert all(count > 180 for count in first.counts.values())
    assert str(first) == ", ".join(f"{first.counts[kind]} {kind}" for kind in KINDS)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_that_are_none(rate):
    with pytest.raises(ValueError, match=r"^noise must be 0 to 1, not "):
        Noise(rate)
