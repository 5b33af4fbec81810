# SPDX-License-Identifier: Apache-2.0
"""A parity bit for each word of the weight banks, and lanes that check it."""

from collections.abc import Sequence

from amaranth import Cat, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.dispatch import Events
from hw.lanes import LaneArray, weight_write

# Bits of a word that are joined in one cycle; the parts of it in the next one.
CHUNK_BITS = 36


class WeightParity(wiring.Component):
    """Beside `hw.lanes.WeightBanks`: the same addresses, rows of one bit, and what the banks show.

    Row 0 is read where there is no event, so it is watched all the time.
    Ports: as of `WeightBanks` `rows`, `weights` (of those rows, one cycle later), `wrote` and with
    streamed weights `load`, besides `clearing`; `error` (pulse, 3 cycles after a row whose parity
    is not the stored one).
    """

    def __init__(self, hardware: HardwareConfig, images: Sequence[Sequence[int]]) -> None:
        self._hardware, self._images = hardware, images
        row = hardware.geometry.lanes * hardware.weight_bits
        super().__init__({
            "rows": In(Events(hardware)["rows"].shape),
            "weights": In(data.ArrayLayout(row, hardware.geometry.slots)),
            "wrote": In(hardware.geometry.banks), "error": Out(1),
        } | ({"load": In(weight_write(hardware)), "clearing": In(1)} if hardware.streamed else {}))

    def elaborate(self, platform):
        m = Module()
        hardware, ports = self._hardware, self._hardware.geometry.ports
        images = self._images or [[]] * hardware.geometry.banks
        wrong = Signal(hardware.geometry.slots)
        for bank, image in enumerate(images):
            memory = Memory(shape=1, depth=hardware.weight_rows,
                            init=[row.bit_count() & 1 for row in image])
            m.submodules[f"bank{bank}"] = memory
            if hardware.streamed:
                write = memory.write_port()
                m.d.comb += [write.en.eq(self.load.en & (self.load.select == bank)),
                             write.addr.eq(self.load.address),
                             write.data.eq(self.load.data.xor())]
            for slot in range(bank * ports, (bank + 1) * ports):
                read, word = memory.read_port(), self.weights[slot]
                chunks = [word[n:n + CHUNK_BITS] for n in range(0, len(word), CHUNK_BITS)]
                parts = Signal(len(chunks) + 1, name=f"parts{slot}")
                m.d.comb += read.addr.eq(self.rows[slot])
                m.d.sync += parts.eq(Cat(*(chunk.xor() for chunk in chunks), read.data))
                odd = parts.xor()
                if slot % ports:   # a port that writes reads nothing that counts
                    skipped = Signal(name=f"skipped{slot}")
                    m.d.sync += skipped.eq(self.wrote[bank])
                    odd &= ~skipped
                m.d.comb += wrong[slot].eq(odd)
        valid = ~self.clearing if hardware.streamed else 1
        m.d.sync += self.error.eq(wrong.any() & valid)
        return m


class CheckedLanes(LaneArray):
    """`LaneArray` whose weight words have parity.

    Attributes: `error`, pulse when a word was read that is not what was written.
    """

    def __init__(self, hardware: HardwareConfig, images: Sequence[Sequence[int]]) -> None:
        super().__init__(hardware, images)
        self._check = WeightParity(hardware, images)
        self.error = Signal()

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.submodules.parity = check = self._check
        banks = m.submodules.banks
        m.d.comb += [check.rows.eq(banks.rows), check.weights.eq(banks.weights),
                     check.wrote.eq(banks.wrote), self.error.eq(check.error)]
        if hasattr(check, "load"):
            m.d.comb += [check.clearing.eq(self.clearing),
                         *(getattr(check.load, name).eq(getattr(banks.load, name))
                           for name in check.load.signature.members)]
        return m
