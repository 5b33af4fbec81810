# SPDX-License-Identifier: Apache-2.0
"""Reading of `boards.ddr3`: AXI bursts as blocks of the chip, and blocks out of samples of pins."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from boards.ddr3_chip import BLOCK_BITS, BURST_CYCLES, READ_LATENCY, SLOTS, WORD_BITS
from boards.ddr3_startup import POSITIONS
from hw.axi import ReadPort

# Blocks that are asked for before their beats are taken.
BLOCKS_AHEAD = 16
BLOCK = 8 * WORD_BITS
# Cycles from `go` to the samples at position 0: the command's and the samples' ways through the
# pads, and the chip's latency, less two cycles, so that the search begins before data can come.
_EARLIEST = READ_LATENCY + 3


class Capture(wiring.Component):
    """Blocks out of the samples of the data pins.

    Ports: `go` (a read was decided), `samples` (as `dq_i` of `Ddr3Pins`), `position` of the first
    word in samples, changed only while nothing is `under_way`; `valid`, `block`.
    Within 20 cycles of a read, `position` rises by no more than `SLOTS` in a cycle, or that read,
    although it is over, would seem to be still to come.
    """

    def __init__(self) -> None:
        super().__init__({"go": In(1), "samples": In(WORD_BITS * SLOTS),
                          "position": In(range(POSITIONS)), "under_way": Out(1), "valid": Out(1),
                          "block": Out(BLOCK)})

    def elaborate(self, platform):
        m = Module()
        slot, cycle = self.position[:3], self.position[3:]
        before, two = Signal.like(self.samples), Signal(2 * WORD_BITS)
        m.d.sync += before.eq(self.samples)
        for bit in range(WORD_BITS):
            window = Cat(each[SLOTS * bit:SLOTS * (bit + 1)] for each in (before, self.samples))
            # Both words of a cycle, half a cycle apart.
            m.d.sync += [two[bit + WORD_BITS * half].eq(
                window[SLOTS // 2 * half:].bit_select(slot, 1)) for half in range(2)]

        line = Signal(_EARLIEST + POSITIONS // SLOTS)
        begins, piece, count = Signal(), Signal(range(BURST_CYCLES)), Signal(range(8))
        earlier = Signal(BLOCK - len(two))
        m.d.sync += [line.eq(Cat(self.go, line)), count.eq(count + self.go - self.valid)]
        m.d.comb += [
            begins.eq(line[_EARLIEST:].bit_select(cycle, 1)),
            self.valid.eq(piece == BURST_CYCLES - 1), self.block.eq(Cat(earlier, two)),
            self.under_way.eq(count != 0)]
        with m.If(begins | (piece != 0)):
            m.d.sync += [piece.eq(piece + 1), earlier.eq(Cat(earlier, two)[len(two):])]
        return m


class Reads(wiring.Component):
    """The bursts of an AXI port, block by block.

    Ports: `axi`; `wants`: a block is to be read now, that at `address`, in blocks; `go`: it is, and
    comes as `valid` and `block`, in order.
    Latency a cycle from a burst to `wants`, 2 from a block to its first beat.
    """

    def __init__(self, port_bits: int) -> None:
        self._bits = port_bits
        super().__init__({"axi": In(ReadPort(port_bits)), "wants": Out(1),
                          "address": Out(BLOCK_BITS), "go": In(1), "valid": In(1),
                          "block": In(BLOCK)})

    def elaborate(self, platform):
        m = Module()
        ar, r = self.axi.ar, self.axi.r
        m.submodules.queue = queue = SyncFIFOBuffered(width=BLOCK, depth=BLOCKS_AHEAD)
        # Of each block that was asked for: which halves are beats (of 64 bits), and whether the
        # last one ends a burst.  It leaves together with the block, so it also keeps room for it.
        m.submodules.asked = asked = SyncFIFOBuffered(width=3, depth=BLOCKS_AHEAD)
        left, halves = Signal(9), Signal(BLOCK_BITS + 1)
        low, high, last = Signal(), Signal(), Signal()
        if self._bits == 64:
            m.d.comb += [low.eq(~halves[0]), high.eq(halves[0] | (left > 1))]
        else:
            m.d.comb += [low.eq(1), high.eq(0)]
        taken = Mux(low & high, 2, 1)
        m.d.comb += [self.wants.eq((left != 0) & asked.w_rdy), ar.ready.eq(left == 0),
                     self.address.eq(halves[1:]), asked.w_en.eq(self.go), last.eq(left == taken),
                     asked.w_data.eq(Cat(low, high, last))]
        with m.If(self.go):
            m.d.sync += [left.eq(left - taken),
                         halves.eq(halves + (taken if self._bits == 64 else 2))]
        with m.If(ar.valid & ar.ready):
            m.d.sync += [halves.eq(ar.payload.addr[3:]), left.eq(ar.payload.len + 1)]

        m.d.comb += [queue.w_en.eq(self.valid), queue.w_data.eq(self.block)]
        second, ends, leaves = Signal(), Signal(), Signal()
        has_low, has_high, is_last = asked.r_data
        upper = second | ~has_low
        m.d.comb += [
            r.valid.eq(queue.r_rdy), leaves.eq(r.valid & r.ready), ends.eq(upper | ~has_high),
            r.payload.last.eq(is_last & ends), r.payload.data.eq(queue.r_data),
            queue.r_en.eq(leaves & ends), asked.r_en.eq(leaves & ends)]
        if self._bits == 64:
            with m.If(leaves):
                m.d.sync += second.eq(~ends)
            with m.If(upper):
                m.d.comb += r.payload.data.eq(queue.r_data[64:])
        return m
