# SPDX-License-Identifier: Apache-2.0
"""The pins of `boards.ddr3` on a device of 7 series: all of them go through SERDES."""

from typing import Any

from amaranth import Cat, ClockSignal, Const, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

from boards.ddr3_chip import SLOTS

# In which slots a clock or strobe is high: it changes in the middle of commands and of data.
_STROBE = 0b00111100
_NAMES = ("rst", "clk", "clk_en", "cs", "ras", "cas", "we", "ba", "a", "dq", "dqs", "dm", "odt")


class Xilinx7Ddr3Pads(Elaboratable):
    """OSERDESE2 at all pins and ISERDESE2 at the data pins, clocked by domain `fast`, which runs 4
    times as fast as `sync` and in phase with it.

    So all outputs have the same delay, words of 8 bits a cycle are a resolution of an eighth of a
    cycle in time, and no register of the fabric is in `fast`.  A command holds for a cycle, and the
    chip's clock rises a quarter of a cycle after it begins.

    pins:     the controller's `Ddr3Pins`
    resource: name and number of a resource as `ddr3` of `amaranth_boards.arty_a7`
    """

    def __init__(self, pins: Any, resource: tuple[str, int]) -> None:
        self._pins, self._resource = pins, resource

    def elaborate(self, platform):
        m = Module()
        pins = self._pins
        pads = platform.request(*self._resource, dir=dict.fromkeys(_NAMES, "-"))
        # Only until the clocks run: the board's button must not stop the chip's clock.
        self._reset = Signal()
        m.submodules.locked = FFSynchronizer(ResetSignal("fast"), self._reset, init=1)

        _output(m, "clk", pads.clk[0], self._serialized(m, "clk", _STROBE))
        for name, value in (("rst", pins.rst), ("clk_en", pins.cke), ("cs", Const(1)),
                            ("ras", pins.ras), ("cas", pins.cas), ("we", pins.we),
                            ("ba", pins.ba), ("a", pins.a), ("odt", Const(0)), ("dm", pins.dm_o)):
            port = getattr(pads, name)
            for bit, (pad, inverted) in enumerate(zip(port, port.invert)):
                level = value[bit] ^ inverted
                _output(m, f"{name}{bit}", pad,
                        self._serialized(m, f"{name}{bit}", level.replicate(SLOTS)))

        # The first register is beside that of the data in its SERDES, the second is its latency; no
        # reset takes the data of a write away.
        early, off = Signal(init=1, reset_less=True), Signal(init=1, reset_less=True)
        m.d.sync += [early.eq(~pins.dq_oe), off.eq(early)]
        strobe = Cat(pins.dqs_o & (_STROBE >> slot & 1) for slot in range(SLOTS))
        for lane, pad in enumerate(pads.dqs):
            _output(m, f"dqs{lane}", pad, *self._serialized(m, f"dqs{lane}", strobe, off))
        for bit, pad in enumerate(pads.dq):
            halves = pins.dq_o[bit], pins.dq_o[len(pads.dq) + bit]
            word = Cat(half.replicate(SLOTS // 2) for half in halves)
            out, released = self._serialized(m, f"dq{bit}", word, off)
            came = Signal(name=f"came{bit}")
            m.submodules[f"dq{bit}"] = Instance("IOBUF", i_I=out, i_T=released, o_O=came,
                                                io_IO=pad.io[0])
            self._deserialized(m, f"dq{bit}", came, pins.dq_i[SLOTS * bit:SLOTS * (bit + 1)])
        return m

    def _serialized(self, m, name, slots, off=None):
        """What a pin gets in each cycle, slot 0 first; with `off` also the three-state control."""
        slots = Const(slots, SLOTS) if isinstance(slots, int) else slots
        out, released = Signal(name=f"{name}_out"), Signal(name=f"{name}_off")
        m.submodules[f"{name}_serdes"] = Instance(
            "OSERDESE2", p_DATA_RATE_OQ="DDR", p_DATA_RATE_TQ="BUF", p_DATA_WIDTH=SLOTS,
            p_TRISTATE_WIDTH=1, p_SERDES_MODE="MASTER",
            i_CLK=ClockSignal("fast"), i_CLKDIV=ClockSignal(), i_RST=self._reset, i_OCE=1,
            **{f"i_D{slot + 1}": slots[slot] for slot in range(SLOTS)}, o_OQ=out,
            **({} if off is None else {"i_TCE": 1, "i_T1": off, "o_TQ": released}))
        return out if off is None else (out, released)

    def _deserialized(self, m, name, level, slots):
        """What a pin has in each slot of a cycle, the earliest first."""
        m.submodules[f"{name}_samples"] = Instance(
            "ISERDESE2", p_DATA_RATE="DDR", p_DATA_WIDTH=SLOTS, p_INTERFACE_TYPE="NETWORKING",
            p_SERDES_MODE="MASTER", p_NUM_CE=1, p_IOBDELAY="NONE", p_IS_CLKB_INVERTED=1,
            i_CLK=ClockSignal("fast"), i_CLKB=ClockSignal("fast"), i_CLKDIV=ClockSignal(),
            i_RST=self._reset, i_CE1=1, i_BITSLIP=0, i_D=level,
            **{f"o_Q{SLOTS - slot}": slots[slot] for slot in range(SLOTS)})


def _output(m, name, pad, level, off=None):
    """A pin, or a pair of them."""
    pair = isinstance(pad, io.DifferentialPort)
    pins = {"o_O": pad.p[0], "o_OB": pad.n[0]} if pair else {"o_O": pad.io[0]}
    if off is not None:
        pins["i_T"] = off
    kind = "OBUF" + "T" * (off is not None) + "DS" * pair
    m.submodules[name] = Instance(kind, i_I=level, **pins)
