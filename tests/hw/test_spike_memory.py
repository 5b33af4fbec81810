# SPDX-License-Identifier: Apache-2.0
"""The shared spike memory against a dictionary."""

import numpy as np
import pytest

from hw.spike_memory import SpikeMemory
from tests.hw.harness import Bench, small_hardware

READERS, WRITERS = 2, 2
WORD_BITS = 4


def operate(operations, depths=(8, 8)):
    """Apply one dict {port: fields} a cycle; the data of every reader in every cycle."""
    dut = SpikeMemory(small_hardware(spike_words=depths), READERS, WRITERS)
    bench, got = Bench(dut), []
    ports = [f"read{n}" for n in range(READERS)] + [f"write{n}" for n in range(WRITERS)]

    async def drive(ctx):
        for operation in operations:
            for name in ports:
                port, fields = getattr(dut, name), operation.get(name, {})
                ctx.set(port.en, bool(fields))
                for field, value in fields.items():
                    ctx.set(getattr(port, field), value)
            got.append([ctx.get(dut.read0.data), ctx.get(dut.read1.data)])
            await ctx.tick()
        got.append([ctx.get(dut.read0.data), ctx.get(dut.read1.data)])
    bench.sim.add_testbench(drive)
    bench.run()
    return got[1:]


def at(half, address, **data):
    return {"half": half, "address": address, **data}


def test_write_then_read():
    got = operate([{"write0": at(0, 3, data=5)}, {"write1": at(1, 3, data=9)},
                   {"read0": at(0, 3), "read1": at(1, 3)}])
    assert got[-1] == [5, 9]


def test_data_holds_while_the_reader_stalls():
    got = operate([{"write0": at(0, 1, data=7)}, {"write0": at(0, 2, data=2)},
                   {"read0": at(0, 1)}, {"write0": at(0, 1, data=1)}, {}, {"read0": at(0, 2)}])
    assert [row[0] for row in got[2:]] == [7, 7, 7, 2]


def test_the_other_half_does_not_disturb_a_held_word():
    """Gather may stall on one half while pooling reads and writes the other."""
    got = operate([{"write0": at(0, 1, data=7)}, {"write0": at(1, 1, data=12)},
                   {"read0": at(0, 1)}, {"read1": at(1, 1)}, {}])
    assert [row[0] for row in got[2:]] == [7, 7, 7]
    assert [row[1] for row in got[3:]] == [12, 12]


def test_the_lower_number_goes_first():
    got = operate([{"write0": at(0, 1, data=3), "write1": at(0, 2, data=4)},
                   {"write0": at(0, 2, data=8)},
                   {"read0": at(0, 1), "read1": at(0, 2)}])
    assert got[-1][0] == 3


def test_a_word_written_while_read_shows_later():
    """One read and one write per half and cycle; the read gives the old or new word, then new."""
    got = operate([{"write0": at(0, 1, data=3)},
                   {"write0": at(0, 2, data=6), "read0": at(0, 1)}, {"read0": at(0, 2)}])
    assert [row[0] for row in got[1:]] == [3, 6]


@pytest.mark.parametrize("depths", [(8, 8), (16, 3), (1, 1)], ids=["even", "uneven", "smallest"])
def test_random_traffic(depths):
    """Each half is read by one client and written by another, as the program guarantees."""
    rng = np.random.default_rng(1)
    contents = {(half, address): 0 for half in (0, 1) for address in range(depths[half])}
    operations, expected, held = [], [], [0, 0]
    for _ in range(300):
        operation, reads = {}, {}
        swap = int(rng.integers(2))
        for client in (0, 1):
            if rng.integers(3):
                half = client ^ swap
                address = int(rng.integers(depths[half]))
                operation[f"read{client}"] = at(half, address)
                reads[client] = (half, address)
                held[client] = contents[half, address]
        for client in (0, 1):
            half = client ^ swap
            address = int(rng.integers(depths[half]))
            # What a read gives in the very cycle of a write to its address is not specified.
            if rng.integers(3) and (half, address) not in reads.values():
                word = int(rng.integers(1 << WORD_BITS))
                operation[f"write{client}"] = at(half, address, data=word)
                contents[half, address] = word
        operations.append(operation)
        expected.append((dict(reads), list(held)))
    got = operate(operations, depths)
    # A client's word is held only as long as nobody else reads its half.
    wrong = [(cycle, client) for cycle, (reads, words) in enumerate(expected) for client in reads
             if got[cycle][client] != words[client]]
    assert not wrong
