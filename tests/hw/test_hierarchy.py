# SPDX-License-Identifier: Apache-2.0
"""What is found of a design by elaborating it."""

import pytest
from amaranth import Module, Signal, signed, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.hierarchy import Link, hierarchy, leaves


class Color(enum.Enum, shape=2):
    RED = 1


PAIR = data.StructLayout({"color": Color, "values": data.ArrayLayout(signed(5), 2)})


class Stage(wiring.Component):
    i: In(stream.Signature(unsigned(8)))
    o: Out(stream.Signature(unsigned(8)))
    mode: In(3)

    def elaborate(self, platform):
        m = Module()
        m.submodules.store = Memory(shape=8, depth=4, init=[])
        wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
        return m


class Top(wiring.Component):
    i: In(stream.Signature(unsigned(8)))
    o: Out(stream.Signature(unsigned(8)))
    pair: Out(PAIR)

    def elaborate(self, platform):
        m = Module()
        m.submodules.first = first = Stage()
        m.submodules.second = second = Stage()
        wiring.connect(m, wiring.flipped(self.i), first.i)
        kept = Signal(8)
        with m.If(first.o.payload == 3):   # a condition is no data
            m.d.sync += kept.eq(second.o.payload[:4])
        m.d.sync += second.i.payload.eq(first.o.payload)
        m.d.comb += [second.i.valid.eq(first.o.valid), first.o.ready.eq(second.i.ready),
                     self.o.payload.eq(kept)]
        return m


@pytest.fixture(scope="module")
def top():
    return hierarchy(Top(), "top")


def test_units_and_ports(top):
    assert [(path, unit.kind) for path, unit in top.walk()] == [
        ((), "Top"), (("first",), "Stage"), (("second",), "Stage")]   # memories are no units
    ports = {port.name: (port.incoming, port.width) for port in top.children[0].ports}
    assert ports == {"i__payload": (True, 8), "i__valid": (True, 1), "i__ready": (False, 1),
                     "o__payload": (False, 8), "o__valid": (False, 1), "o__ready": (True, 1),
                     "mode": (True, 3)}


def test_streams(top):
    assert top.streams == [
        Link(("", "i__payload"), ("first", "i__payload"), 8),
        Link(("first", "o__payload"), ("second", "i__payload"), 8),
        Link(("second", "o__payload"), ("", "o__payload"), 8)]


def test_leaves():
    assert [*leaves("pair", PAIR)] == [("pair.color", Color), ("pair.values[0]", signed(5)),
                                       ("pair.values[1]", signed(5))]
