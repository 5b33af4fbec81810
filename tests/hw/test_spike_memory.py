# SPDX-License-Identifier: Apache-2.0
"""The shared spike memory against a dictionary."""

import numpy as np
import pytest

from hw.layout import LINE_WORDS
from hw.spike_memory import SpikeMemory
from tests.hw.harness import Bench, plain, small_hardware

WORD_BITS = 4
ALL = (1 << LINE_WORDS) - 1
READS = {"gather": LINE_WORDS, "attention_read": 1, "store": 1}   # addresses of each


def operate(operations, depths=(8, 8), engines=2, spills=True):
    """Apply one dict {port: fields} a cycle; the line of every reader after each cycle."""
    hardware = small_hardware(spike_lines=depths, attention_engines=engines, port_bits=64,
                              spills_maps=spills)
    bench, got = Bench(dut := SpikeMemory(hardware)), []
    reads = [name for name in READS if hasattr(dut, name)]

    async def drive(ctx):
        for operation in operations:
            for name in dut.signature.members:
                port, fields = getattr(dut, name), operation.get(name, {})
                for field, value in {"en": 0, **fields}.items():
                    ctx.set(getattr(port, field), value)
            await ctx.tick()
            got.append({name: plain(ctx.get(getattr(dut, name).data)) for name in reads})
    bench.sim.add_testbench(drive)
    bench.run()
    return got


def read(half, *lines):
    """Read these lines of the banks, or one line of all."""
    return {"en": 1, "half": half, "addresses": list(lines)}


def write(half, lines, words, en=ALL):
    return {"en": en, "half": half, "addresses": lines, "data": words}


FIRST, SECOND = [1, 2, 3, 4], [15, 0, 9, 6]


def store(half, line, words):
    """Write a line with all its words different."""
    return {"load": write(half, [line], words)}


def test_write_then_read():
    got = operate([store(0, 3, FIRST), store(1, 3, SECOND), {"gather": read(0, 3, 3, 3, 3)},
                   {"attention_read": read(1, 3)}])
    assert [got[2]["gather"], got[3]["attention_read"]] == [FIRST, SECOND]


@pytest.mark.parametrize("spills", [True, False])
@pytest.mark.parametrize("engines", [1, 2, 4])
@pytest.mark.parametrize("half", [0, 1])
def test_writers_repeat_their_words_over_the_banks(half, engines, spills):
    words = FIRST[:engines]
    got = operate([
        {"loader": write(half, [1], [5], 0b0010)}, {"planes": write(half, [1], [6], 0b1001)},
        {"pool_write": write(half, [2, 3, 1, 2], [7], 0b0101) | {"merge": 0}},
        {"attention_write": write(half, [4], words)},
        {"gather": read(half, 1, 1, 1, 1)}, {"gather": read(half, 2, 4, 4, 4)}],
        engines=engines, spills=spills)
    assert got[4]["gather"] == [6, 5, 7, 6]
    assert got[5]["gather"] == [7, *(words * 4)[1:4]]


def test_every_bank_has_an_address_and_an_enable_of_its_own():
    lines = [{"loader": write(0, [line], [line])} for line in range(8)]
    got = operate([*lines, {"pool_write": write(0, [7, 0, 5, 2], [9], 0b0110) | {"merge": 0}},
                   {"gather": read(0, 7, 0, 5, 2)}, {"gather": read(0, 0, 7, 2, 5)}])
    assert [line["gather"] for line in got[-2:]] == [[7, 9, 9, 2], [0, 7, 2, 5]]


@pytest.mark.parametrize("half", [0, 1])
def test_pool_merges_what_it_read_the_cycle_before(half):
    got = operate([
        store(half, 1, FIRST), store(half, 2, SECOND), store(1 - half, 1, [15] * 4),
        {"pool_read": read(half, 1, 2, 1, 2), "gather": read(1 - half, 1, 1, 1, 1)},
        {"pool_write": write(half, [1, 2, 1, 2], [8], 0b0111) | {"merge": 0b1101}},
        {"gather": read(half, 1, 1, 1, 1)}, {"gather": read(half, 2, 2, 2, 2)}])
    assert [line["gather"] for line in got[3:]] == [
        [15] * 4, [15] * 4, [1 | 8, 2, 3 | 8, 4], [15, 8, 9, 6]]


@pytest.mark.parametrize("name", ["gather", "attention_read", "store"])
def test_data_holds_while_the_reader_stalls(name):
    places = READS[name]
    got = operate([store(0, 1, FIRST), store(0, 2, SECOND), {name: read(0, *[1] * places)},
                   store(0, 1, SECOND), {}, {name: read(0, *[2] * places)}])
    assert [row[name] for row in got[2:]] == [FIRST, FIRST, FIRST, SECOND]


def test_the_other_half_does_not_disturb_a_held_line():
    """Gather may stall on one half while pooling reads and writes the other."""
    got = operate([store(0, 1, FIRST), store(1, 1, SECOND), {"gather": read(0, 1, 1, 1, 1)},
                   {"pool_read": read(1, 1, 1, 1, 1)},
                   {"pool_write": write(1, [1] * 4, [8]) | {"merge": ALL}}, {"store": read(1, 1)}])
    assert [row["gather"] for row in got[2:]] == [FIRST] * 4
    assert got[-1]["store"] == [word | 8 for word in SECOND]


def test_a_line_written_while_another_is_read():
    got = operate([store(0, 1, FIRST), store(0, 2, SECOND) | {"gather": read(0, 1, 1, 1, 1)},
                   {"gather": read(0, 2, 2, 2, 2)}])
    assert [row["gather"] for row in got[1:]] == [FIRST, SECOND]


@pytest.mark.parametrize("depths", [(8, 8), (16, 3), (1, 1)], ids=["even", "uneven", "smallest"])
def test_random_traffic(depths):
    """One half is read and gets rows, the other is written and sends some, as programs do it."""
    rng = np.random.default_rng(1)
    contents = {(half, bank, line): 0 for half in (0, 1) for bank in range(LINE_WORDS)
                for line in range(depths[half])}
    operations, expected = [], []
    for _ in range(400):
        source = int(rng.integers(2))
        operation, reads, seen = {}, set(), {}
        for name, half in (("gather", source), ("store", 1 - source)):
            if rng.integers(3):
                lines = rng.integers(depths[half], size=LINE_WORDS).tolist()
                lines = lines if READS[name] > 1 else lines[:1] * LINE_WORDS
                operation[name] = read(half, *lines[:READS[name]])
                seen[name] = [contents[half, bank, line] for bank, line in enumerate(lines)]
                reads |= {(half, bank, line) for bank, line in enumerate(lines)}
        expected.append(seen)
        for name, half, places, words in (("load", source, 1, 4), ("pool_write", 1 - source, 4, 1)):
            data = rng.integers(1 << WORD_BITS, size=words).tolist()
            lines = rng.integers(depths[half], size=places).tolist()
            at = [(half, bank, (lines * LINE_WORDS)[bank]) for bank in range(LINE_WORDS)]
            # What a read gives in the very cycle of a write to its address is not specified.
            en = sum(1 << bank for bank, place in enumerate(at)
                     if rng.integers(3) and place not in reads)
            operation[name] = write(half, lines, data, en)
            contents |= {place: (data * LINE_WORDS)[bank] for bank, place in enumerate(at)
                         if en >> bank & 1}
        operations.append(operation)
    got = operate(operations, depths)
    wrong = [(cycle, name) for cycle, seen in enumerate(expected) for name in seen
             if got[cycle][name] != seen[name]]
    assert not wrong
