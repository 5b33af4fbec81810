# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""Answer: kept word by word, read again and again, forgotten only when told."""

import numpy as np
import pytest

from hw.answer import Answer
from tests.hw.harness import Bench, every_gap


def run(words, sent, reads, gap=0, clears=(), bits=64):
    """Data of each address read after everything was sent; `complete` and transfers by cycle."""
    bench = Bench(dut := Answer(words, bits))
    bench.source(dut.i, [{"data": value, "last": last} for value, last in sent], gap)
    for cycle in clears:
        bench.pulse(dut.clear, cycle)
    got, states = [], bench.record(1, dut.complete, dut.i.valid & dut.i.ready)

    async def read(ctx):
        await ctx.tick().repeat(400)
        for address in reads:
            ctx.set(dut.address, address)
            await ctx.tick()
            got.append(ctx.get(dut.data))
    bench.sim.add_testbench(read)
    bench.run()
    return got, states


@every_gap
@pytest.mark.parametrize("words", [1, 2, 5, 33])
def test_words(words, gaps):
    rng = np.random.default_rng(words)
    values = [(1 << 63) - 1, -(1 << 63), -1][:words]
    values += rng.integers(-(1 << 63), 1 << 63, words - len(values)).tolist()
    sent = [(value, int(n == words - 1)) for n, value in enumerate(values)]
    addresses = [*range(words), *reversed(range(words))]
    got, states = run(words, sent, addresses, gaps[0])
    assert got == [values[n] & (1 << 64) - 1 for n in addresses]
    moved = [cycle for cycle, _, transfer in states if transfer]
    assert len(moved) == words
    assert [complete for _, complete, _ in states].index(1) == moved[-1] + 1


def test_words_of_fewer_bits_keep_their_sign():
    values = [-(1 << 16), (1 << 16) - 1, -1, 5]
    sent = [(value, int(n == 3)) for n, value in enumerate(values)]
    got, _ = run(4, sent, range(4), bits=17)
    assert got == [value & (1 << 64) - 1 for value in values]


def test_nothing_is_taken_before_clear():
    got, states = run(2, [(1, 0), (2, 1), (3, 0), (4, 1)], [0, 1], clears=[100])
    moved = [cycle for cycle, _, transfer in states if transfer]
    assert got == [3, 4] and moved[1] < 100 < moved[2]


def test_too_many_words_are_dropped():
    got, _ = run(2, [(1, 0), (2, 0), (3, 0), (4, 1)], [0, 1])
    assert got == [1, 2]


@pytest.mark.parametrize("words", [0, -1, 2.0])
def test_sizes_that_are_none(words):
    with pytest.raises(ValueError, match=rf"^words must be a positive integer, not {words}$"):
        Answer(words)
