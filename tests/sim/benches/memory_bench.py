# SPDX-License-Identifier: Apache-2.0
"""cocotb test of the spike memory's model, against `Copy` in test_memory.py."""

import cocotb
import numpy as np

from sim.benches.maps import StoredMap
from sim.benches.memory import SpikeMemoryModel
from sim.streams import Bench


@cocotb.test()
async def copy(dut):
    bench = Bench(dut)
    await bench.start()
    dut.rst.value = 1
    memory = SpikeMemoryModel(bench, reads=("read",), writes=("write",))
    source, target = StoredMap(0, 3, 2, 16), StoredMap(1, 20, 2, 16)
    words = np.random.default_rng(0).random((2, 16, 1, 1, 8)) < 0.5
    memory.store(source, words)
    await bench.cycles(2)
    dut.rst.value = 0
    await bench.cycles(40)
    # Two banks of each line are written, the others turned by one line.
    got = memory.load(target, 8)
    for y, x, _, _ in target.indices():
        line = y * 4 + x // 4
        if x % 4 < 2:
            assert np.array_equal(got[y, x], words[y, x])
        elif line < 7:
            assert got[y, x].all(), "not written, so full of spikes"
    assert memory.written == [(1, bank, 20 + line) for line in range(8) for bank in (0, 1)]
