# SPDX-License-Identifier: Apache-2.0
"""A model of the spike memory for units that read or write it through ports of their own."""

from collections.abc import Mapping, Sequence
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import FallingEdge, ReadOnly

from hw.config import HardwareConfig
from hw.spike_memory import line_address
from sim.benches.maps import LINE, Place, StoredMap
from sim.streams import Bench


class SpikeMemoryModel:
    """Serves the read ports and takes the write ports named in `reads` and `writes`.

    Data follow addresses by one cycle and hold while `en` is 0, as `hw.spike_memory` says.
    hardware: what the ports belong to; without, they have an address and a word for each bank
    words:    by place; words that were never written are full of spikes
    written:  every place written, in order
    """

    def __init__(self, bench: Bench, hardware: HardwareConfig | None = None,
                 reads: Sequence[str] = (), writes: Sequence[str] = ()) -> None:
        self._bench = bench
        self._address_bits = line_address(hardware) if hardware else 0
        self._word_bits = hardware.geometry.spike_word if hardware else 0
        self.words: dict[Place, int] = {}
        self.written: list[Place] = []
        for name in reads:
            cocotb.start_soon(self._read(name))
        for name in writes:
            cocotb.start_soon(self._write(name))

    def store(self, target: StoredMap, spikes: np.ndarray) -> None:
        """Put a map, bool [height, width, steps, words, word bits], where it is read."""
        for index in target.indices():
            self.words[target.read(*index)] = word_of(spikes[index])

    def load(self, target: StoredMap, width: int) -> np.ndarray:
        """A map, likewise, from where it was written."""
        shape = (target.height, target.width, target.steps, target.words, width)
        spikes = np.zeros(shape, bool)
        for index in target.indices():
            word = self.words.get(target.write(*index), (1 << width) - 1)
            spikes[index] = [word >> i & 1 for i in range(width)]
        return spikes

    async def _read(self, name: str) -> None:
        en, half, addresses, data, _ = self._ports(name)
        while True:
            await ReadOnly()
            lines, which = None, 0
            if en.value.is_resolvable and int(en.value):   # before the reset it may be X
                lines, which = _parts(addresses, self._address_bits), int(half.value)
            await FallingEdge(self._bench.dut.clk)
            if lines is not None and data is not None:
                width = len(data) // LINE
                full = (1 << width) - 1
                data.value = sum(self.words.get((which, bank, line), full) << bank * width
                                 for bank, line in enumerate(lines))

    async def _write(self, name: str) -> None:
        en, half, addresses, data, merge = self._ports(name)
        while True:
            await ReadOnly()
            banks = int(en.value) if en.value.is_resolvable else 0
            merges = int(merge.value) if banks and merge is not None else 0
            for bank, (line, word) in enumerate(zip(_parts(addresses, self._address_bits),
                                                    _parts(data, self._word_bits))):
                if banks >> bank & 1:
                    place = int(half.value), bank, line
                    self.words[place] = word | (self.words[place] if merges >> bank & 1 else 0)
                    self.written.append(place)
            await FallingEdge(self._bench.dut.clk)

    def _ports(self, name: str) -> tuple:
        return tuple(getattr(self._bench.dut, f"{name}__{part}", None)
                     for part in ("en", "half", "addresses", "data", "merge"))


def _parts(port: Any, width: int) -> list[int]:
    """Values of the banks, which lie side by side in the port, or repeat if there are fewer."""
    width, value = width or len(port) // LINE, int(port.value)
    parts = len(port) // width
    return [value >> bank % parts * width & (1 << width) - 1 for bank in range(LINE)]


def word_of(bits: np.ndarray) -> int:
    """Spikes of a word, channel 0 in the lowest bit."""
    return sum(int(bit) << i for i, bit in enumerate(bits))


def spikes_of(words: Mapping[str, Any], stride: int) -> list[tuple[int, int]]:
    """(weight row, spikes) of each word of an event line that has any, see `hw.gather`."""
    return [(words["row"] + (bank - words["first"]) % LINE * stride, spikes)
            for bank, spikes in enumerate(words["words"]) if spikes]
