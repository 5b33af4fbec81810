# SPDX-License-Identifier: Apache-2.0
"""LIF neurons, exact in integers (paper Eq. 21 to 23)."""

from amaranth import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.config import HardwareConfig
from hw.drain import Tag, beat_bits
from hw.isa import Instruction
from hw.residual import NeuronBeat


class FireBeat(data.StructLayout):
    """Spikes of one beat."""

    def __init__(self, hardware: HardwareConfig) -> None:
        super().__init__({"spikes": hardware.geometry.neurons, "tag": Tag(hardware)})


def third(value):
    """floor(value / 3) of a signed value, by long division in base 16 from a table.

    Each digit joins the remainder (0 to 2) of the digits above it: a 6-bit table index.  A negative
    value starts with remainder -1 mod 3 = 2, so that the quotient comes out floored.
    """
    quotients = Const(sum((i // 3 & 15) << 4 * i for i in range(64)), 256)
    remainders = Const(sum(i % 3 << 2 * i for i in range(64)), 128)
    width = -(-(len(value) - 1) // 4) * 4
    sign, digits = value[-1], Cat(value[:-1], value[-1].replicate(width - len(value) + 1))
    # value = digits - sign * 16**n and 16**n = 3 * (16**n - 1) / 3 + 1: the sign is remainder 2
    # (-1 + 3) below a quotient of all ones.
    remainder, result = Cat(0, sign)[:2], []
    for position in reversed(range(0, width, 4)):
        # Not word_select, which Amaranth turns into a multiplication by the word's width.
        index = Cat(digits[position:position + 4], remainder)
        result.insert(0, quotients.bit_select(index << 2, 4))
        remainder = remainders.bit_select(index << 1, 2)
    return Cat(*result, sign).as_signed()[:len(value) - 1].as_signed()


class LIF(wiring.Component):
    """h = v + x, fire = h >= threshold, v = 0 if fire else h >> 1 (floor).

    With `slow_tau` (tau 1.5) h = v + 2x and v = floor(h / 3).  Both carry the state of Eq. 21 to 23
    exactly, since floors nest; the thresholds are 2 and 3 times the neuron's.  v is 0 at the first
    timestep.

    Throughput one beat per cycle; latency 2 cycles.  The next timestep of the same beat may come 3
    cycles after this one (tau 1.5 included).
    Ports: `instruction`, `i`, `o`.
    """

    LATENCY = 2

    def __init__(self, hardware: HardwareConfig) -> None:
        self._hardware = hardware
        super().__init__({
            "instruction": In(Instruction(hardware)),
            "i": In(stream.Signature(NeuronBeat(hardware), always_ready=True)),
            "o": Out(stream.Signature(FireBeat(hardware), always_ready=True)),
        })

    def elaborate(self, platform):
        m = Module()
        hardware = self._hardware
        neurons, width = hardware.geometry.neurons, hardware.state_width
        slow = self.instruction.slow_tau if hardware.slow_tau else Const(0)
        # v, or that it is 0: the gate goes into the adder, where it costs nothing.
        kept = data.StructLayout({"v": signed(width - 1), "fired": 1})
        states = data.ArrayLayout(kept, neurons)
        # Two neighbouring positions take turns, if they are taken together.
        m.submodules.state = memory = Memory(
            shape=states, init=[], depth=1 << beat_bits(hardware) + hardware.pairs)
        read, write = memory.read_port(domain="comb"), memory.write_port()

        # Stage 1: h.
        beat = self.i.payload
        h, s1_valid = Signal(data.ArrayLayout(signed(width), neurons)), Signal()
        s1_thresholds, s1_tag = Signal.like(beat.thresholds), Signal.like(beat.tag)
        m.d.comb += read.addr.eq(self._address(beat.tag))
        m.d.sync += [s1_valid.eq(self.i.valid), s1_tag.eq(beat.tag),
                     s1_thresholds.eq(beat.thresholds)]
        for n in range(neurons):
            x, old = beat.values[n], read.data[n]
            v = old.v.as_unsigned() & ~(beat.tag.first_timestep | old.fired).replicate(width - 1)
            m.d.sync += h[n].eq((Mux(slow, x << 1, x) if hardware.slow_tau else x) + v.as_signed())

        # Stage 2: fire, decay or reset.
        fire = Cat(h[n] >= s1_thresholds[n] for n in range(neurons))
        m.d.sync += [self.o.valid.eq(s1_valid), self.o.payload.spikes.eq(fire),
                     self.o.payload.tag.eq(s1_tag)]
        m.d.comb += [write.en.eq(s1_valid), write.addr.eq(self._address(s1_tag))]
        for n in range(neurons):
            decayed = h[n] >> 1
            if hardware.slow_tau:
                decayed = Mux(slow, third(h[n]), decayed)
            m.d.comb += [write.data[n].v.eq(decayed), write.data[n].fired.eq(fire[n])]
        return m

    def _address(self, tag):
        return Cat(tag.beat, tag.odd) if self._hardware.pairs else tag.beat
