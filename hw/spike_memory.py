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
    """Read port of a client: every bank at an address of its own.

    `data` follows `addresses` by one cycle and holds while `en` is 0.
    """

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({
            "en": Out(1), "half": Out(1),
            "addresses": Out(data.ArrayLayout(line_address(hardware), LINE_WORDS)),
            "data": In(data.ArrayLayout(unsigned(hardware.geometry.spike_word), LINE_WORDS)),
        })


class SpikeWrite(wiring.Signature):
    """Write port of a client: the banks that `en` names, each at an address of its own."""

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({
            "en": Out(LINE_WORDS), "half": Out(1),
            "addresses": Out(data.ArrayLayout(line_address(hardware), LINE_WORDS)),
            "data": Out(data.ArrayLayout(unsigned(hardware.geometry.spike_word), LINE_WORDS)),
        })


def write_word(port, half, address, word):
    """Assignments that offer a word to all banks of a line; `en` takes it for one of them."""
    return [port.half.eq(half), *(each.eq(address) for each in port.addresses),
            *(each.eq(word) for each in port.data)]


class SpikeMemory(wiring.Component):
    """Two halves of LINE_WORDS memories (banks), 1R1W each, shared by read and write clients.

    The program lets at most one client read and one client write a half at any time, so sharing is
    a multiplexer without arbitration; where two ask at once, the lower number is served.

    Latency 1 cycle, one line read and one written per half and cycle.
    Ports: `read0`... and `write0`..., each a `SpikeRead` or `SpikeWrite`.
    """

    def __init__(self, hardware: HardwareConfig, readers: int, writers: int) -> None:
        self._hardware, self._readers, self._writers = hardware, readers, writers
        super().__init__({f"read{n}": In(SpikeRead(hardware)) for n in range(readers)}
                         | {f"write{n}": In(SpikeWrite(hardware)) for n in range(writers)})

    def elaborate(self, platform):
        m = Module()
        readers = [getattr(self, f"read{n}") for n in range(self._readers)]
        writers = [getattr(self, f"write{n}") for n in range(self._writers)]
        word = self._hardware.geometry.spike_word
        halves = Signal(data.ArrayLayout(readers[0].data.shape(), 2))
        for half, depth in enumerate(self._hardware.spike_lines):
            for bank in range(LINE_WORDS):
                memory = Memory(shape=unsigned(word), depth=max(depth, 2), init=[])
                m.submodules[f"half{half}bank{bank}"] = memory
                write, read = memory.write_port(), memory.read_port()
                m.d.comb += [read.en.eq(0),   # a reader that stalls keeps its words
                             halves[half][bank].eq(read.data)]
                for port in reversed(readers):
                    with m.If(port.en & (port.half == half)):
                        m.d.comb += [read.en.eq(1), read.addr.eq(port.addresses[bank])]
                for port in reversed(writers):
                    with m.If(port.en.any() & (port.half == half)):
                        m.d.comb += [write.en.eq(port.en[bank]),
                                     write.addr.eq(port.addresses[bank]),
                                     write.data.eq(port.data[bank])]
        for port in readers:
            half = Signal(name="half_q")
            with m.If(port.en):
                m.d.sync += half.eq(port.half)
            m.d.comb += port.data.eq(Mux(half, halves[1], halves[0]))
        return m
