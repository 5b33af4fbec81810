# SPDX-License-Identifier: Apache-2.0
"""AXI4 master ports, and the units that read and write memory in long bursts through them."""

from amaranth import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

PORT_BITS = (64, 128)     # widths of the data buses that are supported
ADDRESS_BITS = 32
BEAT_COUNT_BITS = 28
# Beats of a burst.  A burst of 128-bit beats is 1 KB, so none crosses a 4 KB boundary.
BURST = 64
# Beats under way or waiting: the memory may take 3/4 of this many cycles to answer unnoticed.
READ_AHEAD = 4 * BURST
OKAY = 0   # of the responses


class Address(data.StructLayout):
    """AR or AW: `beats - 1` in `len`, bytes of a beat as a power of two in `size`."""

    def __init__(self) -> None:
        super().__init__({"addr": ADDRESS_BITS, "len": 8, "size": 3, "burst": 2})


class ReadBeat(data.StructLayout):
    """R channel."""

    def __init__(self, port_bits: int) -> None:
        super().__init__({"data": port_bits, "resp": 2, "last": 1})


class WriteBeat(data.StructLayout):
    """W channel; whole beats only, so there are no strobes: all bytes are written."""

    def __init__(self, port_bits: int) -> None:
        super().__init__({"data": port_bits, "last": 1})


class ReadPort(wiring.Signature):
    """AXI4 read master with one ID: answers come in order."""

    def __init__(self, port_bits: int) -> None:
        super().__init__({"ar": Out(stream.Signature(Address())),
                          "r": In(stream.Signature(ReadBeat(port_bits)))})


class WritePort(wiring.Signature):
    """AXI4 write master with one ID."""

    def __init__(self, port_bits: int) -> None:
        super().__init__({"aw": Out(stream.Signature(Address())),
                          "w": Out(stream.Signature(WriteBeat(port_bits))),
                          "b": In(stream.Signature(unsigned(2)))})


class Watch(data.StructLayout):
    """What a master sees of its memory in a cycle; those of several masters are ORed.

    owed:    a burst is offered, or is under way: the memory has to do something
    moved:   it did, on any channel
    refused: a response that is not OKAY
    """

    def __init__(self) -> None:
        super().__init__({"owed": 1, "moved": 1, "refused": 1})


def block_bytes(port_bits: int) -> int:
    """Bytes of a full burst; what starts at a multiple of it is read in full bursts."""
    return BURST * port_bits // 8


class _Bursts(wiring.Component):
    """Cut `beats` from `address` on into bursts.

    Ports: `start` (pulse) takes `address` (a multiple of `block_bytes`) and `beats` (may be 0); `o`
    one address a burst; `size` beats of the burst at `o`; `busy` until the last one went.
    """

    def __init__(self, port_bits: int) -> None:
        self._bits = port_bits
        super().__init__({
            "start": In(1), "address": In(ADDRESS_BITS), "beats": In(BEAT_COUNT_BITS),
            "o": Out(stream.Signature(Address())), "size": Out(range(BURST + 1)),
            "allow": In(1), "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        left, address = Signal(BEAT_COUNT_BITS), Signal(ADDRESS_BITS)
        # `valid` may not fall before the transfer, even if `allow` does.
        offered = Signal()
        m.d.comb += [
            self.busy.eq(left != 0), self.size.eq(Mux(left >= BURST, BURST, left)),
            self.o.valid.eq(self.busy & (self.allow | offered)),
            self.o.payload.addr.eq(address), self.o.payload.len.eq(self.size - 1),
            self.o.payload.size.eq((self._bits // 8).bit_length() - 1),
            self.o.payload.burst.eq(1),   # INCR
        ]
        m.d.sync += offered.eq(self.o.valid & ~self.o.ready)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [left.eq(left - self.size), address.eq(address + block_bytes(self._bits))]
        with m.If(self.start):
            m.d.sync += [left.eq(self.beats), address.eq(self.address)]
        return m


class Reader(wiring.Component):
    """Read `beats` beats from `address` on, as a stream.

    Bursts are asked for as soon as READ_AHEAD has room for all of their beats, so the R channel
    never waits for this unit.

    Throughput one beat per cycle; latency that of the memory and 3 cycles.
    Ports: `start` (pulse, while not `busy`), `address` (bytes, a multiple of `block_bytes`),
    `beats`, `port`, `o`, `busy` (until the last beat left `o`), `level` (beats waiting at `o`),
    `watch`.
    """

    def __init__(self, port_bits: int) -> None:
        self._bits = port_bits
        super().__init__({
            "start": In(1), "address": In(ADDRESS_BITS), "beats": In(BEAT_COUNT_BITS),
            "port": Out(ReadPort(port_bits)), "o": Out(stream.Signature(unsigned(port_bits))),
            "busy": Out(1), "level": Out(range(READ_AHEAD + 1)), "watch": Out(Watch()),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.bursts = bursts = _Bursts(self._bits)
        m.submodules.queue = queue = SyncFIFOBuffered(width=self._bits, depth=READ_AHEAD)
        room, left = Signal(range(READ_AHEAD + 1), init=READ_AHEAD), Signal(BEAT_COUNT_BITS)
        asked, taken = Signal(), Signal()
        m.d.comb += [
            bursts.start.eq(self.start), bursts.address.eq(self.address),
            bursts.beats.eq(self.beats), bursts.allow.eq(room >= BURST),
            asked.eq(bursts.o.valid & bursts.o.ready), taken.eq(self.o.valid & self.o.ready),
            self.port.r.ready.eq(queue.w_rdy), queue.w_en.eq(self.port.r.valid),
            queue.w_data.eq(self.port.r.payload.data),
            self.o.valid.eq(queue.r_rdy), self.o.payload.eq(queue.r_data),
            queue.r_en.eq(self.o.ready), self.busy.eq(left != 0), self.level.eq(queue.r_level),
        ]
        wiring.connect(m, bursts.o, wiring.flipped(self.port.ar))
        m.d.sync += [room.eq(room - Mux(asked, bursts.size, 0) + taken), left.eq(left - taken)]
        # A bit set for each burst under way: each found room for a full one, so there are no more.
        # It takes half of a counter's LUTs.
        under_way, came, ended = Signal(READ_AHEAD // BURST), Signal(), Signal()
        r = self.port.r
        m.d.comb += [came.eq(r.valid & r.ready), ended.eq(came & r.payload.last),
                     self.watch.owed.eq(bursts.o.valid | under_way[0]),
                     self.watch.moved.eq(asked | came),
                     self.watch.refused.eq(came & (r.payload.resp != OKAY))]
        with m.If(asked & ~ended):
            m.d.sync += under_way.eq(Cat(1, under_way))
        with m.If(ended & ~asked):
            m.d.sync += under_way.eq(under_way >> 1)
        with m.If(self.start):
            m.d.sync += left.eq(self.beats)
        return m


class Writer(wiring.Component):
    """Write a stream of `beats` beats from `address` on.

    A burst is announced when all of its beats wait, so the W channel never waits for this unit.

    Throughput one beat per cycle.
    Ports: `start` (pulse, while not `busy`), `address` (bytes, a multiple of `block_bytes`),
    `beats`, `port`, `i`, `busy` (until the memory has acknowledged the last burst), `room` (beats
    that `i` takes without waiting), `watch`.
    """

    def __init__(self, port_bits: int) -> None:
        self._bits = port_bits
        super().__init__({
            "start": In(1), "address": In(ADDRESS_BITS), "beats": In(BEAT_COUNT_BITS),
            "port": Out(WritePort(port_bits)), "i": In(stream.Signature(unsigned(port_bits))),
            "busy": Out(1), "room": Out(range(READ_AHEAD + 1)), "watch": Out(Watch()),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.bursts = bursts = _Bursts(self._bits)
        m.submodules.queue = queue = SyncFIFOBuffered(width=self._bits, depth=READ_AHEAD)
        port = self.port
        # Beats that wait and belong to no announced burst; announced beats not yet sent.
        waiting, owed = Signal(range(READ_AHEAD + 1)), Signal(range(READ_AHEAD + 1))
        in_burst, unanswered = Signal(range(BURST)), Signal(range(READ_AHEAD + 1))
        left = Signal(BEAT_COUNT_BITS)   # to be sent
        came, announced, sent, answered = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            came.eq(self.i.valid & self.i.ready),
            announced.eq(bursts.o.valid & bursts.o.ready),
            sent.eq(port.w.valid & port.w.ready), answered.eq(port.b.valid & port.b.ready),
            bursts.start.eq(self.start), bursts.address.eq(self.address),
            bursts.beats.eq(self.beats),
            bursts.allow.eq((waiting >= bursts.size) & (unanswered < READ_AHEAD)),
            queue.w_data.eq(self.i.payload), queue.w_en.eq(self.i.valid),
            self.i.ready.eq(queue.w_rdy),
            port.w.valid.eq(queue.r_rdy & (owed != 0)), port.w.payload.data.eq(queue.r_data),
            port.w.payload.last.eq((in_burst == BURST - 1) | (left == 1)),
            queue.r_en.eq(sent), port.b.ready.eq(1),
            self.busy.eq((left != 0) | (unanswered != 0)),
            self.room.eq(READ_AHEAD - queue.w_level),
            self.watch.owed.eq(bursts.o.valid | (unanswered != 0)),
            self.watch.moved.eq(announced | sent | answered),
            self.watch.refused.eq(answered & (port.b.payload != OKAY)),
        ]
        wiring.connect(m, bursts.o, wiring.flipped(port.aw))
        size = Mux(announced, bursts.size, 0)
        m.d.sync += [
            waiting.eq(waiting + came - size), owed.eq(owed + size - sent), left.eq(left - sent),
            unanswered.eq(unanswered + announced - answered),
        ]
        with m.If(sent):
            m.d.sync += in_burst.eq(Mux(port.w.payload.last, 0, in_burst + 1))
        with m.If(self.start):
            m.d.sync += left.eq(self.beats)
        return m
