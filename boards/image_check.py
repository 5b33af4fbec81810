# SPDX-License-Identifier: Apache-2.0
"""Does a memory chip hold the weight image that was meant?  Read before it is used, by its CRC."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from hw.axi import ADDRESS_BITS, BEAT_COUNT_BITS, BURST, ReadPort, block_bytes
from hw.tiles import CRC_PLACE, MAGIC

# The bytes around the CRC that it does not cover.
_UNCOVERED = range(CRC_PLACE, CRC_PLACE + 8)


class ImageCheck(wiring.Component):
    """Read the image of `hw.tiles` once, a byte of the CRC per cycle, and keep the verdict.

    Ports:
      `present`  level: the image can be read
      `clear`    level: another one is on its way, so there is no verdict, nor of a check under way
      `address`  of the image in bytes, a multiple of `block_bytes`
      `port`     to the memory, used while `busy`
      `good`, `bad`  the verdict, which a reset leaves as it is; a check under way begins anew
    A check takes a cycle for each byte, or as long as the memory takes for it.
    """

    def __init__(self, port_bits: int) -> None:
        self._bits = port_bits
        super().__init__({"present": In(1), "clear": In(1), "address": In(ADDRESS_BITS),
                          "port": Out(ReadPort(port_bits)), "busy": Out(1),
                          "good": Out(1), "bad": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(8).create()
        good, bad = Signal(reset_less=True), Signal(reset_less=True)
        m.d.comb += [self.good.eq(good), self.bad.eq(bad)]
        beat, byte = Signal(self._bits), Signal(range(self._bits // 8))
        # The header and what follows; beats of the burst under way; bytes so far, up to some.
        left, in_burst = Signal(BEAT_COUNT_BITS + 1), Signal(range(BURST + 1))
        place, count = Signal(ADDRESS_BITS), Signal(range(_UNCOVERED.stop + 1))
        expected, known, stale = Signal(32), Signal(), Signal()
        ar, r = self.port.ar, self.port.r
        size = Mux(left >= BURST, BURST, left)
        m.d.comb += [
            crc.data.eq(beat[:8]), ar.payload.addr.eq(self.address + place),
            ar.payload.len.eq(size - 1), ar.payload.size.eq((self._bits // 8).bit_length() - 1),
            ar.payload.burst.eq(1)]
        with m.FSM() as fsm:
            m.d.comb += self.busy.eq(~fsm.ongoing("Idle"))
            with m.State("Idle"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += [left.eq(BURST), place.eq(0), count.eq(0), stale.eq(0)]
                with m.If(self.present & ~self.clear & ~good & ~bad):
                    m.next = "Ask"
            with m.State("Ask"):
                m.d.comb += ar.valid.eq(1)
                m.d.sync += in_burst.eq(size)
                with m.If(ar.ready):
                    m.d.sync += place.eq(place + block_bytes(self._bits))
                    m.next = "Beat"
            with m.State("Beat"):
                m.d.comb += r.ready.eq(1)
                m.d.sync += [beat.eq(r.payload.data), byte.eq(0)]
                with m.If(r.valid):
                    m.d.sync += [left.eq(left - 1), in_burst.eq(in_burst - 1)]
                    with m.If(count == 0):
                        beats = r.payload.data[32:32 + BEAT_COUNT_BITS]
                        # Of what is no image nothing but the header is read.
                        m.d.sync += known.eq(r.payload.data[:32] == MAGIC)
                        with m.If(r.payload.data[:32] == MAGIC):
                            m.d.sync += left.eq(BURST - 1 + beats)
                    m.next = "Bytes"
            with m.State("Bytes"):
                covered = Signal()
                m.d.comb += [covered.eq((count < _UNCOVERED.start) | (count == _UNCOVERED.stop)),
                             crc.valid.eq(covered)]
                m.d.sync += [beat.eq(beat >> 8), byte.eq(byte + 1)]
                with m.If(count != _UNCOVERED.stop):
                    m.d.sync += count.eq(count + 1)
                with m.If(~covered & ~count[2]):
                    m.d.sync += expected.eq(Cat(expected, beat[:8])[8:])
                with m.If(byte == self._bits // 8 - 1):
                    m.next = "Beat"
                    with m.If(in_burst == 0):
                        m.next = "Ask"
                        with m.If(left == 0):
                            m.next = "Judge"
            with m.State("Judge"):
                # What was read may be of the image before and of the one that came meanwhile.
                with m.If(~stale):
                    m.d.sync += [good.eq(known & (crc.crc == expected)),
                                 bad.eq(~known | (crc.crc != expected))]
                m.next = "Idle"
        with m.If(self.clear):
            m.d.sync += [good.eq(0), bad.eq(0), stale.eq(1)]
        return m
