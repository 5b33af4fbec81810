# SPDX-License-Identifier: Apache-2.0
"""The two halves of the spike memory, and the ports through which units share them."""

from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.isa import bits_for


class SpikeRead(wiring.Signature):
    """Read port of a client: `data` follows `address` by one cycle and holds while `en` is 0."""

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({
            "en": Out(1), "half": Out(1), "address": Out(bits_for(max(hardware.spike_words))),
            "data": In(unsigned(hardware.geometry.spike_word)),
        })


class SpikeWrite(wiring.Signature):
    """Write port of a client."""

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({
            "en": Out(1), "half": Out(1), "address": Out(bits_for(max(hardware.spike_words))),
            "data": Out(unsigned(hardware.geometry.spike_word)),
        })


class SpikeMemory(wiring.Component):
    """Two 1R1W memories (halves) shared by `readers` read and `writers` write clients.

    The program lets at most one client read and one client write a half at any time, so sharing is
    a multiplexer without arbitration; where two ask at once, the lower number is served.

    Latency 1 cycle, one read and one write per half and cycle.
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
        data = []
        for half, depth in enumerate(self._hardware.spike_words):
            memory = Memory(shape=unsigned(word), depth=max(depth, 2), init=[])
            m.submodules[f"half{half}"] = memory
            write, read = memory.write_port(), memory.read_port()
            m.d.comb += read.en.eq(0)   # a reader that stalls keeps its word
            for port in reversed(readers):
                with m.If(port.en & (port.half == half)):
                    m.d.comb += [read.en.eq(1), read.addr.eq(port.address)]
            for port in reversed(writers):
                with m.If(port.en & (port.half == half)):
                    m.d.comb += [write.en.eq(1), write.addr.eq(port.address),
                                 write.data.eq(port.data)]
            data.append(read.data)
        for port in readers:
            half = Signal(name="half_q")
            with m.If(port.en):
                m.d.sync += half.eq(port.half)
            m.d.comb += port.data.eq(Mux(half, data[1], data[0]))
        return m
