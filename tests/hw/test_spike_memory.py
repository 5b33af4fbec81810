# SPDX-License-Identifier: Apache-2.0
"""The shared spike memory against a dictionary."""

import numpy as np
import pytest

from hw.layout import LINE_WORDS
from hw.spike_memory import SpikeMemory
from tests.hw.harness import Bench, plain, small_hardware

READERS, WRITERS = 2, 2
WORD_BITS = 4
ALL = (1 << LINE_WORDS) - 1


def operate(operations, depths=(8, 8)):
    """Apply one dict {port: fields} a cycle; the line of every reader after each cycle."""
    dut = SpikeMemory(small_hardware(spike_lines=depths), READERS, WRITERS)
    bench, got = Bench(dut), []
    ports = [f"read{n}" for n in range(READERS)] + [f"write{n}" for n in range(WRITERS)]

    async def drive(ctx):
        for operation in operations:
            for name in ports:
                port, fields = getattr(dut, name), operation.get(name, {})
                for field, value in {"en": 0, **fields}.items():
                    ctx.set(getattr(port, field), value)
            await ctx.tick()
            got.append([plain(ctx.get(getattr(dut, f"read{n}").data)) for n in range(READERS)])
    bench.sim.add_testbench(drive)
    bench.run()
    return got


def read(half, *lines):
    """Read these lines of the banks, or one line of all."""
    return {"en": 1, "half": half, "addresses": list(lines) * (LINE_WORDS // len(lines))}


def write(half, lines, words, en=ALL):
    return {"en": en, "half": half, "addresses": lines, "data": words}


FIRST, SECOND = [1, 2, 3, 4], [15, 0, 9, 6]


def test_write_then_read():
    got = operate([{"write0": write(0, [3] * 4, FIRST)}, {"write1": write(1, [3] * 4, SECOND)},
                   {"read0": read(0, 3), "read1": read(1, 3)}])
    assert got[-1] == [FIRST, SECOND]


def test_every_bank_has_an_address_and_an_enable_of_its_own():
    got = operate([{"write0": write(0, [line] * 4, [line] * 4)} for line in range(8)]
                  + [{"write0": write(0, [7, 0, 5, 2], SECOND, 0b0110)},
                     {"read0": read(0, 7, 0, 5, 2)}, {"read0": read(0, 0, 7, 2, 5)}])
    assert [lines[0] for lines in got[-2:]] == [[7, 0, 9, 2], [0, 7, 2, 5]]


def test_data_holds_while_the_reader_stalls():
    got = operate([{"write0": write(0, [1] * 4, FIRST)}, {"write0": write(0, [2] * 4, SECOND)},
                   {"read0": read(0, 1)}, {"write0": write(0, [1] * 4, SECOND)}, {},
                   {"read0": read(0, 2)}])
    assert [row[0] for row in got[2:]] == [FIRST, FIRST, FIRST, SECOND]


def test_the_other_half_does_not_disturb_a_held_line():
    """Gather may stall on one half while pooling reads and writes the other."""
    got = operate([{"write0": write(0, [1] * 4, FIRST)}, {"write0": write(1, [1] * 4, SECOND)},
                   {"read0": read(0, 1)}, {"read1": read(1, 1)}, {}])
    assert [row[0] for row in got[2:]] == [FIRST] * 3
    assert [row[1] for row in got[3:]] == [SECOND] * 2


def test_the_lower_number_goes_first():
    got = operate([{"write0": write(0, [1] * 4, FIRST), "write1": write(0, [2] * 4, SECOND)},
                   {"write0": write(0, [2] * 4, SECOND)},
                   {"read0": read(0, 1), "read1": read(0, 2)}])
    assert got[-1][0] == FIRST


def test_a_line_written_while_another_is_read():
    got = operate([{"write0": write(0, [1] * 4, FIRST)},
                   {"write0": write(0, [2] * 4, SECOND), "read0": read(0, 1)},
                   {"read0": read(0, 2)}])
    assert [row[0] for row in got[1:]] == [FIRST, SECOND]


@pytest.mark.parametrize("depths", [(8, 8), (16, 3), (1, 1)], ids=["even", "uneven", "smallest"])
def test_random_traffic(depths):
    """Each half is read by one client and written by another, as the program guarantees."""
    rng = np.random.default_rng(1)
    contents = {(half, bank, line): 0 for half in (0, 1) for bank in range(LINE_WORDS)
                for line in range(depths[half])}
    operations, expected, held = [], [], [[0] * 4, [0] * 4]
    for _ in range(300):
        operation, reads = {}, set()
        swap = int(rng.integers(2))
        for client in (0, 1):
            if rng.integers(3):
                half = client ^ swap
                lines = rng.integers(depths[half], size=LINE_WORDS).tolist()
                operation[f"read{client}"] = read(half, *lines)
                held[client] = [contents[half, bank, line] for bank, line in enumerate(lines)]
                reads |= {(half, bank, line) for bank, line in enumerate(lines)}
        expected.append({client: held[client] for client in (0, 1)
                         if f"read{client}" in operation})
        for client in (0, 1):
            half, words = client ^ swap, rng.integers(1 << WORD_BITS, size=LINE_WORDS).tolist()
            lines = rng.integers(depths[half], size=LINE_WORDS).tolist()
            # What a read gives in the very cycle of a write to its address is not specified.
            en = sum(1 << bank for bank, line in enumerate(lines)
                     if rng.integers(3) and (half, bank, line) not in reads)
            operation[f"write{client}"] = write(half, lines, words, en)
            contents |= {(half, bank, line): words[bank] for bank, line in enumerate(lines)
                         if en >> bank & 1}
        operations.append(operation)
    got = operate(operations, depths)
    # A client's line is held only as long as nobody else reads its half.
    wrong = [(cycle, client) for cycle, reads in enumerate(expected) for client in reads
             if got[cycle][client] != reads[client]]
    assert not wrong
