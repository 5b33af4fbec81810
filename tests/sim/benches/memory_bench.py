# SPDX-License-Identifier: Apache-2.0
"""cocotb test of the spike memory's model, against `Copy` in test_memory.py."""

import cocotb
import numpy as np

from sim.benches.memory import SpikeMemoryModel
from sim.streams import Bench


@cocotb.test()
async def copy(dut):
    bench = Bench(dut)
    await bench.start()
    dut.rst.value = 1
    memory = SpikeMemoryModel(bench, reads=("read",), writes=("write",))
    words = np.random.default_rng(0).random((8, 8)) < 0.5
    memory.store(0, 3, words)
    await bench.cycles(2)
    dut.rst.value = 0
    await bench.cycles(40)
    assert np.array_equal(memory.load(1, 20, 8), words)
    assert memory.written == [(1, 20 + i) for i in range(8)]
    assert not memory.load(1, 28, 1).any()
