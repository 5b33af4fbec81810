# SPDX-License-Identifier: Apache-2.0
"""Weight banks and lanes: the accumulators of the engine."""

from collections.abc import Sequence
from itertools import pairwise

from amaranth import Cat, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.dispatch import Events
from hw.isa import INTERVAL_BITS, bits_for
from hw.tiles import RowWrite

EVENT_COUNT_BITS = 16   # events of one group: 9 taps of up to 7,281 channels


class Sums(data.StructLayout):
    """The finished sums of a group, one a lane, and the number of events that went into each.

    Those of a kept sum are included.  `odd_events`: of the lanes of the odd one of two positions
    that are beside each other, where `events` is that of the other half.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({
            "sums": data.ArrayLayout(signed(hardware.acc_width), hardware.geometry.lanes),
            "events": EVENT_COUNT_BITS,
        } | ({"odd_events": EVENT_COUNT_BITS} if hardware.beside else {}))


def weight_write(hardware: HardwareConfig) -> RowWrite:
    """Port through which streamed weight rows arrive."""
    geometry = hardware.geometry
    return RowWrite(bits_for(hardware.weight_rows), geometry.lanes * hardware.weight_bits,
                    geometry.banks)


class WeightBanks(wiring.Component):
    """One memory per bank: a row holds the weights of one input channel and tap for every lane.

    Row 0 is zero, so a port without an event needs no gate in front of the adders.
    Latency 1 cycle.  `images[bank]` is a list of rows, lane 0 in the low bits; with streamed
    weights there is none, and rows are written through `load`.  Block RAM has two ports in all: a
    bank that reads two rows writes through its second port, which then reads nothing that counts:
    `wrote` tells, by bank, beside the weights.
    """

    def __init__(self, hardware: HardwareConfig, images: Sequence[Sequence[int]]) -> None:
        self._hardware, self._images = hardware, images
        self._row = unsigned(hardware.geometry.lanes * hardware.weight_bits)
        super().__init__({
            "rows": In(Events(hardware)["rows"].shape),
            "weights": Out(data.ArrayLayout(self._row, hardware.geometry.slots)),
            "wrote": Out(hardware.geometry.banks),
        } | ({"load": In(weight_write(hardware))} if hardware.streamed else {}))

    def elaborate(self, platform):
        m = Module()
        geometry = self._hardware.geometry
        images = self._images or [[]] * geometry.banks
        # Of few rows yosys would make logic, a LUT or more for each bit and port, which the area
        # model leaves out; with 8 banks of 128 lanes it failed at that.
        kind = {} if self._hardware.streamed else {"ram_style": "block"}
        for bank, image in enumerate(images):
            memory = Memory(shape=self._row, depth=self._hardware.weight_rows, init=image,
                            attrs=kind)
            m.submodules[f"bank{bank}"] = memory
            write = memory.write_port() if self._hardware.streamed else None
            if write is not None:
                m.d.comb += [write.en.eq(self.load.en & (self.load.select == bank)),
                             write.addr.eq(self.load.address), write.data.eq(self.load.data)]
            for port in range(geometry.ports):
                read, slot = memory.read_port(), bank * geometry.ports + port
                m.d.comb += [read.addr.eq(self.rows[slot]), self.weights[slot].eq(read.data)]
                if write is not None and port == 1:
                    shared = Signal.like(read.addr)
                    m.d.comb += [shared.eq(Mux(write.en, self.load.address, self.rows[slot])),
                                 read.addr.eq(shared), write.addr.eq(shared)]
                    m.d.sync += self.wrote[bank].eq(write.en)
        return m


def tree_levels(hardware: HardwareConfig) -> int:
    """Cycles of the adder tree between weights and accumulator."""
    return max(1, (hardware.geometry.slots - 1).bit_length())


class Lane(wiring.Component):
    """acc = base + sum of the ports' weights, where base is 0 with `close`, else acc, with `shift`
    2 acc, with `negate` besides -2 acc.  The sum before `close` waits for `move`, which puts it to
    `sum`.  With `fork` the sum is kept besides; `close` with `resume` starts from it instead of 0.

    Latency: weights reach acc in `tree_levels` + 1 cycles; the controls come `tree_levels` cycles
    after the weights that open the new group or bit plane, and the old group's sum can move from
    the next cycle on.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "weights": In(data.ArrayLayout(signed(hardware.weight_bits),
                                           hardware.geometry.slots)),
            "wrote": In(hardware.geometry.banks),
            "close": In(1), "shift": In(1), "negate": In(1), "move": In(1),
            "sum": Out(signed(hardware.acc_width)),
        } | ({"fork": In(1), "resume": In(1)} if hardware.pairs else {}))

    def elaborate(self, platform):
        m = Module()
        width = self._hardware.acc_width
        acc = Signal(signed(width))
        # The gate goes into the adder that joins the two ports of a bank, which has room for it: as
        # AND with the second operand, yosys keeps it out of the carry chain's data input.
        ports = self._hardware.geometry.ports
        bits = self._hardware.weight_bits
        terms = [(weight.as_unsigned() & ~self.wrote[slot // ports].replicate(bits)).as_signed()
                 if slot % ports else weight for slot, weight in enumerate(self.weights)]
        # A balanced tree with a register behind each level: without, yosys makes one carry-save
        # adder of it, which takes half as many LUTs again.
        for level in range(tree_levels(self._hardware)):
            sums = [left + right for left, right in zip(terms[::2], terms[1::2], strict=False)] \
                + terms[len(terms) & ~1:]
            terms = [Signal(each.shape(), name=f"level{level}_{n}") for n, each in enumerate(sums)]
            m.d.sync += [term.eq(each) for term, each in zip(terms, sums, strict=True)]
        tree = terms[0]
        # -2 acc = ~(2 acc) + 1, and the carry comes from a bit below: one adder does it all.
        negate = self.shift & self.negate
        doubled = (acc << 1)[:width] ^ negate.replicate(width)
        start = 0
        if self._hardware.pairs:
            kept = Signal(width)
            start = Mux(self.resume, kept, 0)
            with m.If(self.fork):
                m.d.sync += kept.eq(acc)
        base = Mux(self.close, start, Mux(self.shift, doubled, acc.as_unsigned()))
        total = Cat(1, tree).as_signed() + Cat(negate, base).as_signed()
        m.d.sync += acc.eq(total >> 1)
        finished = Signal(signed(width))
        with m.If(self.close):
            m.d.sync += finished.eq(acc)
        with m.If(self.move):
            m.d.sync += self.sum.eq(finished)
        return m


class LaneArray(wiring.Component):
    """All weight banks and lanes, and the count of events in each group.

    Throughput: one `Events` per cycle.  Latency `tree_levels` + 4 cycles from the `close` that ends
    a group to `o`, which is valid for one cycle; its sums stay until the next one, which comes at
    least `interval` cycles later: one finished group may wait, so that short groups and long ones
    make up for each other.
    Ports: `interval` (cycles that the finish pipeline takes for a group), `i`, `o`; with streamed
    weights `load`, `loading` (by bank: it writes in the next cycle), `clearing` (what the banks
    show is not defined yet).
    """

    def __init__(self, hardware: HardwareConfig, images: Sequence[Sequence[int]]) -> None:
        self._hardware, self._images = hardware, images
        super().__init__({
            "interval": In(INTERVAL_BITS),
            "i": In(stream.Signature(Events(hardware), always_valid=True, always_ready=True)),
            "o": Out(stream.Signature(Sums(hardware), always_ready=True)),
        } | ({"load": In(weight_write(hardware)), "loading": Out(hardware.geometry.banks),
              "clearing": In(1)} if hardware.streamed else {}))

    def elaborate(self, platform):
        m = Module()
        hardware = self._hardware
        m.submodules.banks = banks = WeightBanks(hardware, self._images)
        m.d.comb += banks.rows.eq(self.i.payload.rows)
        if hardware.streamed:
            # Written one cycle late, so that the events of that cycle can know: `loading`.
            m.d.sync += [Value.cast(getattr(banks.load, name)).eq(getattr(self.load, name))
                         for name in banks.load.signature.members]
            m.d.comb += self.loading.eq(Mux(self.load.en, 1 << self.load.select, 0))

        # Controls and count travel beside their weights: memory, adder tree, accumulator.
        pairs = hardware.pairs
        names = ["close", "shift", "negate"] + ["fork", "resume"] * pairs
        counts = {"count": "events"} | ({"odd_count": "odd_events"} if hardware.beside else {})
        controls = data.StructLayout(dict.fromkeys(names, 1) | {
            name: self.i.payload[name].shape() for name in counts})
        stages = [Signal(controls, name=f"s{n}") for n in range(tree_levels(hardware) + 1)]
        last = stages[-1]
        m.d.sync += [
            *(stages[0][name].eq(self.i.payload[name]) for name, _ in controls),
            *(after.eq(before) for before, after in pairwise(stages)),
        ]
        # A finished group waits until the finish pipeline is through with the one before it.
        waiting, moving = Signal(), Signal()
        busy = Signal(self.interval.shape())
        m.d.comb += moving.eq(waiting & (busy == 0))
        m.d.sync += [waiting.eq(last.close | (waiting & ~moving)), self.o.valid.eq(moving),
                     busy.eq(Mux(moving, self.interval - 1, busy - (busy != 0)))]
        for count, name in counts.items():
            events, finished, kept = (Signal(EVENT_COUNT_BITS, name=f"{name}{part}")
                                      for part in ("", "_finished", "_kept"))
            start = 0
            if pairs:
                start = Mux(last.resume, kept, 0)
                with m.If(last.fork):
                    m.d.sync += kept.eq(events)
            m.d.sync += events.eq(Mux(last.close, start, events) + last[count])
            with m.If(last.close):
                m.d.sync += finished.eq(events)
            with m.If(moving):
                m.d.sync += self.o.payload[name].eq(finished)

        bits = hardware.weight_bits
        for n in range(hardware.geometry.lanes):
            m.submodules[f"lane{n}"] = lane = Lane(hardware)
            m.d.comb += [lane.wrote.eq(banks.wrote), lane.move.eq(moving),
                         self.o.payload.sums[n].eq(lane.sum),
                         *(getattr(lane, name).eq(last[name]) for name in names)]
            if hardware.streamed:   # what was added so far is no part of any sum
                m.d.comb += lane.close.eq(last.close | self.clearing)
            for slot in range(hardware.geometry.slots):
                m.d.comb += lane.weights[slot].eq(
                    banks.weights[slot][n * bits:(n + 1) * bits].as_signed())
        return m
