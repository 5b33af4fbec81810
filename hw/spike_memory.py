# SPDX-License-Identifier: Apache-2.0
"""The two halves of the spike memory, and the ports through which units share them."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import bits_for
from hw.layout import LINE_WORDS


def line_address(hardware: HardwareConfig) -> int:
    """Width of the address of a line."""
    return bits_for(max(hardware.spike_lines))


class SpikeRead(wiring.Signature):
    """Read port of a client: every bank at an address of its own, or all at the same one.

    `data` follows `addresses` by one cycle and holds while `en` is 0.

    places:  1, or LINE_WORDS addresses
    answers: without, there is no `data`: what is read only merges into what is written
    """

    def __init__(self, hardware: HardwareConfig, places: int = LINE_WORDS,
                 answers: bool = True) -> None:
        word = unsigned(hardware.geometry.spike_word)
        super().__init__({
            "en": Out(1), "half": Out(1),
            "addresses": Out(data.ArrayLayout(line_address(hardware), places)),
        } | ({"data": In(data.ArrayLayout(word, LINE_WORDS))} if answers else {}))


class SpikeWrite(wiring.Signature):
    """Write port of a client: the banks that `en` names.

    places: 1 if all banks are written at the same address, else LINE_WORDS
    words:  different words in a line: bank n takes word n % words
    merges: with `merge`, by bank: OR the word to what was read one cycle before in this half
    """

    def __init__(self, hardware: HardwareConfig, places: int = 1, words: int = 1,
                 merges: bool = False) -> None:
        super().__init__({
            "en": Out(LINE_WORDS), "half": Out(1),
            "addresses": Out(data.ArrayLayout(line_address(hardware), places)),
            "data": Out(data.ArrayLayout(unsigned(hardware.geometry.spike_word), words)),
        } | ({"merge": Out(LINE_WORDS)} if merges else {}))


def group_words(hardware: HardwareConfig) -> int:
    """Words of a line that the attention engines write at once."""
    return (hardware.attention_engines * hardware.attention_lanes
            // hardware.geometry.spike_word)


def by_bank(values):
    """Addresses or words of a port, as many as there are, by bank."""
    return [values[bank % values.shape().length] for bank in range(LINE_WORDS)]


class SpikeMemory(wiring.Component):
    """Two halves of LINE_WORDS memories (banks), 1R1W each, shared by their clients.

    The program lets at most one client write, and of `gather` and `attention_read` at most one
    read, at any time: both halves share their multiplexers, without arbitration.  In the other half
    the max-pool reads meanwhile what it merges into.  Maps in external memory come to the half that
    is read (`load`) and leave from the one that is written, while the max-pool does not read
    (`store`).

    Latency 1 cycle, one line read and one written per half and cycle.
    Ports: reads `gather`, `attention_read`, `pool_read`; writes `loader`, `planes`, `pool_write`,
    `attention_write`; with maps in external memory `store` and `load`.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "gather": In(SpikeRead(hardware)), "attention_read": In(SpikeRead(hardware, 1)),
            "pool_read": In(SpikeRead(hardware, answers=False)),
            "loader": In(SpikeWrite(hardware)), "planes": In(SpikeWrite(hardware)),
            "pool_write": In(SpikeWrite(hardware, LINE_WORDS, merges=True)),
            "attention_write": In(SpikeWrite(hardware, words=group_words(hardware))),
        } | ({"store": In(SpikeRead(hardware, 1)),
              "load": In(SpikeWrite(hardware, words=LINE_WORDS))} if hardware.spills_maps else {}))

    def elaborate(self, platform):
        m = Module()
        spills, gather, attention = self._hardware.spills_maps, self.gather, self.attention_read
        word = unsigned(self._hardware.geometry.spike_word)
        halves = Signal(data.ArrayLayout(data.ArrayLayout(word, LINE_WORDS), 2))

        # Lines for the engine and the attention.  Gather's enable comes late, so that nothing is
        # chosen by it.
        places = [Mux(attention.en, other, mine) for mine, other
                  in zip(by_bank(gather.addresses), by_bank(attention.addresses), strict=True)]
        half, en = Mux(attention.en, attention.half, gather.half), gather.en | attention.en
        m.d.comb += [port.data.eq(self._held(m, halves, half, en)) for port in (gather, attention)]
        # What the max-pool merges into, and rows that leave.
        side_places = by_bank(self.pool_read.addresses)
        side_half, side_en = self.pool_read.half, self.pool_read.en
        if spills:
            store = self.store
            m.d.comb += store.data.eq(self._held(m, halves, store.half, store.en))
            side_places = [Mux(side_en, mine, store.addresses[0]) for mine in side_places]
            side_half, side_en = Mux(side_en, side_half, store.half), side_en | store.en
        write_en, write_half, write_places, written = self._written(halves)

        for h, depth in enumerate(self._hardware.spike_lines):
            first, side = en & (half == h), side_en & (side_half == h)
            for bank in range(LINE_WORDS):
                memory = Memory(shape=word, depth=max(depth, 2), init=[])
                m.submodules[f"half{h}bank{bank}"] = memory
                write, read = memory.write_port(), memory.read_port()
                m.d.comb += [
                    read.en.eq(first | side),   # a reader that stalls keeps its words
                    read.addr.eq(Mux(side, side_places[bank], places[bank])),
                    halves[h][bank].eq(read.data),
                    write.en.eq(write_en[bank] & (write_half == h)),
                    write.addr.eq(write_places[bank]), write.data.eq(written[bank]),
                ]
                if spills:
                    with m.If(self.load.en.any() & (self.load.half == h)):
                        m.d.comb += [write.en.eq(self.load.en[bank]),
                                     write.addr.eq(self.load.addresses[0]),
                                     write.data.eq(self.load.data[bank])]
        return m

    def _held(self, m, halves, half, en):
        """The half that was read last, by a reader that may stall."""
        kept = Signal(name="kept_half")
        with m.If(en):
            m.d.sync += kept.eq(half)
        return Mux(kept, halves[1], halves[0])

    def _written(self, halves):
        """Enable by bank, half, and by bank address and word of the one client that writes."""
        loader, planes, pool = self.loader, self.planes, self.pool_write
        attention = self.attention_write
        loads, flushes, attends = (port.en.any() for port in (loader, planes, attention))
        half = Mux(loads, loader.half, Mux(flushes, planes.half,
                                           Mux(attends, attention.half, pool.half)))
        common = Mux(loads, loader.addresses[0],
                     Mux(flushes, planes.addresses[0], attention.addresses[0]))
        places = [Mux(pool.en.any(), own, common) for own in by_bank(pool.addresses)]
        word = Mux(loads, loader.data[0], Mux(flushes, planes.data[0], pool.data[0]))
        merge = [Mux(pool.en[bank], pool.merge[bank], 0) for bank in range(LINE_WORDS)]
        words = [Mux(attends, own, word)
                 | halves[0][bank] & (merge[bank] & ~pool.half).replicate(len(word))
                 | halves[1][bank] & (merge[bank] & pool.half).replicate(len(word))
                 for bank, own in enumerate(by_bank(attention.data))]
        return loader.en | planes.en | pool.en | attention.en, half, places, words
