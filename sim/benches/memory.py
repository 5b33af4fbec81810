# SPDX-License-Identifier: Apache-2.0
"""A model of the spike memory for units that read or write it through ports of their own."""

from collections.abc import Sequence

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly

from sim.streams import Bench


class SpikeMemoryModel:
    """Serves the read ports and takes the write ports named in `reads` and `writes`.

    Data follow an address by one cycle and hold while `en` is 0, as `hw.spike_memory` says.
    written: every address written, as (half, address), in order
    """

    def __init__(self, bench: Bench, reads: Sequence[str] = (), writes: Sequence[str] = ()) -> None:
        self._bench = bench
        self._words: dict[tuple[int, int], int] = {}
        self._width = 0
        self.written: list[tuple[int, int]] = []
        for name in reads:
            cocotb.start_soon(self._read(name))
        for name in writes:
            cocotb.start_soon(self._write(name))

    def store(self, half: int, base: int, bits: np.ndarray) -> None:
        """Put words, bool [n, width], at consecutive addresses."""
        for address, word in enumerate(bits.astype(int).tolist(), base):
            self._words[half, address] = sum(bit << i for i, bit in enumerate(word))
        self._width = bits.shape[1]

    def load(self, half: int, base: int, count: int, width: int = 0) -> np.ndarray:
        """Words as bool [count, width]; words never written are zero."""
        words = [self._words.get((half, base + i), 0) for i in range(count)]
        return np.array([[word >> i & 1 for i in range(width or self._width)]
                         for word in words], bool)

    async def _read(self, name: str) -> None:
        en, half, address, data = self._ports(name)
        while True:
            await ReadOnly()
            wanted = (int(half.value), int(address.value)) if int(en.value) else None
            await FallingEdge(self._bench.dut.clk)
            if wanted is not None:
                data.value = self._words.get(wanted, 0)

    async def _write(self, name: str) -> None:
        en, half, address, data = self._ports(name)
        while True:
            await ReadOnly()
            if int(en.value):
                place = int(half.value), int(address.value)
                self._words[place] = int(data.value)
                self.written.append(place)
            await FallingEdge(self._bench.dut.clk)

    def _ports(self, name: str) -> tuple:
        return tuple(getattr(self._bench.dut, f"{name}__{part}")
                     for part in ("en", "half", "address", "data"))
