# SPDX-License-Identifier: Apache-2.0
"""Frames in hardware: bytes to checked frames, and back.  The format is that of `boards.frames`."""

from amaranth import Array, Cat, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from boards.frames import CRC, HEADER, MAX_PAYLOAD, SYNC

HEADER_LAYOUT = data.StructLayout({"sequence": 8, "command": 8, "length": 16})


class FrameReceiver(wiring.Component):
    """Bytes to frames, of which nothing is seen before the CRC was right.

    silence: cycles without a byte after which a frame that has begun is given up

    Ports:
      `i`        bytes; always ready, since a UART cannot wait
      `header`   valid while a frame is here; its transfer releases the frame, read or not
      `payload`  the bytes of that frame
      `bad`      pulse: a frame was broken off, too long, or had a wrong CRC
    Latency: a frame is here 2 cycles after its last byte.  Throughput: a byte per cycle in and out.
    Bytes that come while a frame is here are lost.
    """

    def __init__(self, silence: int) -> None:
        if not isinstance(silence, int) or silence < 1:
            raise ValueError(f"silence must be a positive integer, not {silence!r}")
        self.silence = silence
        super().__init__({
            "i": In(stream.Signature(8, always_ready=True)),
            "header": Out(stream.Signature(HEADER_LAYOUT)),
            "payload": Out(stream.Signature(8)), "bad": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(8).create()
        m.submodules.buffer = buffer = Memory(shape=8, depth=MAX_PAYLOAD, init=[])
        write, read = buffer.write_port(), buffer.read_port()
        came, byte = self.i.valid, self.i.payload
        timer = Signal(range(self.silence + 1))
        # Of bytes still to come, or to be read.
        count, place = Signal(range(MAX_PAYLOAD + 1)), Signal(range(MAX_PAYLOAD))
        header = Signal(HEADER_LAYOUT)
        length = self.header.payload.length
        shifted = Signal(8 * HEADER.size)
        late = timer == 0
        m.d.sync += timer.eq(timer - 1)
        with m.If(came):
            m.d.sync += timer.eq(self.silence)
        m.d.comb += [self.header.payload.eq(header), shifted.eq(Cat(header, byte)[8:]),
                     crc.data.eq(byte), write.data.eq(byte), write.addr.eq(place),
                     read.addr.eq(place), self.payload.payload.eq(read.data)]

        def give_up():
            with m.If(late & ~came):
                m.d.comb += self.bad.eq(1)
                m.next = "Sync"

        with m.FSM():
            with m.State("Sync"), m.If(came & (byte == SYNC[0])):
                m.next = "Second"
            with m.State("Second"):
                m.d.comb += crc.start.eq(1)
                m.d.sync += count.eq(HEADER.size - 1)
                with m.If(came & (byte == SYNC[1])):
                    m.next = "Header"
                with m.Elif(came & (byte != SYNC[0])):
                    m.next = "Sync"
            with m.State("Header"):
                m.d.comb += crc.valid.eq(came)
                give_up()
                with m.If(came):
                    m.d.sync += [header.eq(shifted), count.eq(count - 1), place.eq(0)]
                    with m.If(count == 0):
                        size = data.View(HEADER_LAYOUT, shifted).length
                        m.d.sync += count.eq(size - 1)
                        m.next = "Payload"
                        with m.If(size == 0):
                            m.d.sync += count.eq(CRC.size - 1)
                            m.next = "Crc"
                        with m.If(size > MAX_PAYLOAD):
                            m.d.comb += self.bad.eq(1)
                            m.next = "Sync"
            with m.State("Payload"):
                m.d.comb += [crc.valid.eq(came), write.en.eq(came)]
                give_up()
                with m.If(came):
                    m.d.sync += [count.eq(count - 1), place.eq(place + 1)]
                    with m.If(count == 0):
                        m.d.sync += count.eq(CRC.size - 1)
                        m.next = "Crc"
            with m.State("Crc"):
                m.d.comb += crc.valid.eq(came)
                m.d.sync += place.eq(0)
                give_up()
                with m.If(came):
                    m.d.sync += count.eq(count - 1)
                    with m.If(count == 0):
                        m.next = "Check"
            with m.State("Check"):
                m.d.comb += self.bad.eq(~crc.match_detected)
                m.d.sync += count.eq(length)
                m.next = "Sync"
                with m.If(crc.match_detected):
                    m.next = "Here"
            with m.State("Here"):
                m.d.comb += [self.header.valid.eq(1), self.payload.valid.eq(count != 0)]
                with m.If(self.payload.valid & self.payload.ready):
                    # The memory answers in the next cycle, so the next address goes there now.
                    m.d.comb += read.addr.eq(place + 1)
                    m.d.sync += [place.eq(place + 1), count.eq(count - 1)]
                with m.If(self.header.ready):
                    m.next = "Sync"
        return m


class FrameSender(wiring.Component):
    """Frames to bytes.

    Ports: `header` (its `length` bytes of payload follow), `payload`, `o` bytes.
    Latency: the first byte follows the header by one cycle.  Throughput: a byte per cycle.
    """

    def __init__(self) -> None:
        super().__init__({"header": In(stream.Signature(HEADER_LAYOUT)),
                          "payload": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = CRC32_ISO_HDLC(8).create()
        kept, count = Signal(HEADER_LAYOUT), Signal(range(MAX_PAYLOAD + 1))
        sums = Array(crc.crc[8 * n:8 * n + 8] for n in range(CRC.size))
        moved = self.o.valid & self.o.ready
        m.d.comb += crc.data.eq(self.o.payload)
        with m.If(moved):
            m.d.sync += count.eq(count + 1)
        with m.FSM():
            with m.State("Idle"):
                m.d.comb += self.header.ready.eq(1)
                m.d.sync += [kept.eq(self.header.payload), count.eq(0)]
                with m.If(self.header.valid):
                    m.next = "Sync"
            with m.State("Sync"):
                m.d.comb += [crc.start.eq(1), self.o.valid.eq(1),
                             self.o.payload.eq(Array(SYNC)[count[0]])]
                with m.If(moved & count[0]):
                    m.d.sync += count.eq(0)
                    m.next = "Header"
            with m.State("Header"):
                parts = Array(kept.as_value()[8 * n:8 * n + 8] for n in range(HEADER.size))
                m.d.comb += [crc.valid.eq(moved), self.o.valid.eq(1),
                             self.o.payload.eq(parts[count[:2]])]
                with m.If(moved & (count == HEADER.size - 1)):
                    m.d.sync += count.eq(0)
                    m.next = "Payload"
            with m.State("Payload"):
                m.d.comb += [self.payload.ready.eq(self.o.ready & (count != kept.length)),
                             self.o.valid.eq(self.payload.valid & (count != kept.length)),
                             self.o.payload.eq(self.payload.payload), crc.valid.eq(moved)]
                with m.If(count == kept.length):
                    m.d.sync += count.eq(0)
                    m.next = "Crc"
            with m.State("Crc"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(sums[count[:2]])]
                with m.If(moved & (count == CRC.size - 1)):
                    m.next = "Idle"
        return m
