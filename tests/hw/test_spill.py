# SPDX-License-Identifier: Apache-2.0
"""Join and Split: words and beats of every proportion, with gaps on both sides.

ResidualSpill itself is tested in whole accelerators (test_accelerator.py, tests/sim).
"""

import numpy as np
import pytest

from hw.spill import Join, Split
from tests.hw.harness import Bench, every_gap

every_size = pytest.mark.parametrize(
    ("port", "word"), [(64, 64), (64, 20), (64, 130), (128, 256), (128, 72), (64, 1)])


def words_of(word, count=12, seed=0):
    rng = np.random.default_rng(seed)
    return [0, (1 << word) - 1, *(int.from_bytes(rng.bytes(40), "little") % (1 << word)
                                  for _ in range(count))]


def beats_of(words, port, word):
    """A word takes whole beats, its lowest bits first."""
    return [value >> port * beat & (1 << port) - 1
            for value in words for beat in range(-(-word // port))]


@every_gap
@every_size
def test_join(port, word, gaps):
    words = words_of(word)
    bench = Bench(dut := Join(port, word))
    bench.source(dut.i, beats_of(words, port, word), gaps[0])
    got = bench.sink(dut.o, len(words), gaps[1])
    bench.run(extra=5)
    assert got == words


@every_gap
@every_size
def test_split(port, word, gaps):
    words = words_of(word)
    expected = beats_of(words, port, word)
    bench = Bench(dut := Split(port, word))
    bench.source(dut.i, words, gaps[0])
    got = bench.sink(dut.o, len(expected), gaps[1])
    bench.run(extra=5)
    assert got == expected
