# SPDX-License-Identifier: Apache-2.0
"""Weight banks and lanes: the accumulators of the engine."""

from collections.abc import Sequence

from amaranth import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.dispatch import Events
from hw.isa import bits_for
from hw.tiles import RowWrite

EVENT_COUNT_BITS = 16   # events of one group: 9 taps of up to 7,281 channels


class Sums(data.StructLayout):
    """The finished sums of a group, one a lane, and the number of events that went into each."""

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({
            "sums": data.ArrayLayout(signed(hardware.acc_width), hardware.geometry.lanes),
            "events": EVENT_COUNT_BITS})


def weight_write(hardware: HardwareConfig) -> RowWrite:
    """Port through which streamed weight rows arrive."""
    geometry = hardware.geometry
    return RowWrite(bits_for(hardware.weight_rows), geometry.lanes * hardware.weight_bits,
                    geometry.banks)


class WeightBanks(wiring.Component):
    """One memory per bank: a row holds the weights of one input channel and tap for every lane.

    Row 0 is zero, so a bank without an event needs no gate in front of the adders.
    Latency 1 cycle.  `images[bank]` is a list of rows, lane 0 in the low bits; with streamed
    weights there is none, and rows are written through `load`.
    """

    def __init__(self, hardware: HardwareConfig, images: Sequence[Sequence[int]]) -> None:
        self._hardware, self._images = hardware, images
        banks = hardware.geometry.banks
        self._row = unsigned(hardware.geometry.lanes * hardware.weight_bits)
        super().__init__({
            "rows": In(Events(hardware)["rows"].shape),
            "weights": Out(data.ArrayLayout(self._row, banks)),
        } | ({"load": In(weight_write(hardware))} if hardware.streamed else {}))

    def elaborate(self, platform):
        m = Module()
        images = self._images or [[]] * self._hardware.geometry.banks
        for bank, image in enumerate(images):
            memory = Memory(shape=self._row, depth=self._hardware.weight_rows, init=image)
            m.submodules[f"bank{bank}"] = memory
            port = memory.read_port()
            if self._hardware.streamed:
                write = memory.write_port()
                m.d.comb += [write.en.eq(self.load.en & (self.load.select == bank)),
                             write.addr.eq(self.load.address), write.data.eq(self.load.data)]
            m.d.comb += [port.addr.eq(self.rows[bank]), self.weights[bank].eq(port.data)]
        return m


class Lane(wiring.Component):
    """acc = (0 if close else acc) + sum of the banks' weights; `sum` keeps the sum before `close`.

    Latency: weights reach acc in 2 cycles; `close` comes one cycle after the weights that open the
    new group, and `sum` holds the old group's sum from the next cycle on.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "weights": In(data.ArrayLayout(signed(hardware.weight_bits),
                                           hardware.geometry.banks)),
            "close": In(1), "sum": Out(signed(hardware.acc_width)),
        })

    def elaborate(self, platform):
        m = Module()
        tree = Signal(signed(self._hardware.weight_bits
                             + (self._hardware.geometry.banks - 1).bit_length()))
        acc = Signal(signed(self._hardware.acc_width))
        terms = list(self.weights)
        while len(terms) > 1:   # a balanced tree, half as many terms each round
            terms = [left + right for left, right in zip(terms[::2], terms[1::2], strict=False)] \
                + terms[len(terms) & ~1:]
        m.d.sync += tree.eq(terms[0])
        m.d.sync += acc.eq(tree + Mux(self.close, 0, acc))
        with m.If(self.close):
            m.d.sync += self.sum.eq(acc)
        return m


class LaneArray(wiring.Component):
    """All weight banks and lanes, and the count of events in each group.

    Throughput: one `Events` per cycle.  Latency 4 cycles from the `close` that ends a group to `o`,
    which is valid for one cycle; its sums stay until the next one.
    """

    def __init__(self, hardware: HardwareConfig, images: Sequence[Sequence[int]]) -> None:
        self._hardware, self._images = hardware, images
        super().__init__({
            "i": In(stream.Signature(Events(hardware), always_valid=True, always_ready=True)),
            "o": Out(stream.Signature(Sums(hardware), always_ready=True)),
        } | ({"load": In(weight_write(hardware))} if hardware.streamed else {}))

    def elaborate(self, platform):
        m = Module()
        hardware = self._hardware
        m.submodules.banks = banks = WeightBanks(hardware, self._images)
        m.d.comb += banks.rows.eq(self.i.payload.rows)
        if hardware.streamed:
            wiring.connect(m, wiring.flipped(self.load), banks.load)

        # close and count travel beside their weights: memory, adder tree, accumulator.
        s1_close, s2_close = Signal(), Signal()
        s1_count, s2_count = (Signal.like(self.i.payload.count, name=f"s{n}_count") for n in (1, 2))
        events = Signal(EVENT_COUNT_BITS)
        m.d.sync += [
            s1_close.eq(self.i.payload.close), s1_count.eq(self.i.payload.count),
            s2_close.eq(s1_close), s2_count.eq(s1_count),
            events.eq(Mux(s2_close, 0, events) + s2_count),
            self.o.valid.eq(s2_close),
        ]
        with m.If(s2_close):
            m.d.sync += self.o.payload.events.eq(events)

        bits = hardware.weight_bits
        for n in range(hardware.geometry.lanes):
            m.submodules[f"lane{n}"] = lane = Lane(hardware)
            m.d.comb += [lane.close.eq(s2_close), self.o.payload.sums[n].eq(lane.sum)]
            for bank in range(hardware.geometry.banks):
                m.d.comb += lane.weights[bank].eq(
                    banks.weights[bank][n * bits:(n + 1) * bits].as_signed())
        return m
