# SPDX-License-Identifier: Apache-2.0
"""The pins of a memory chip on a board, between its controller and the platform's resource."""

from typing import Any

from amaranth import ClockDomain, ClockSignal, Elaboratable, Instance, Module, Signal
from amaranth.lib import io


class FlashPads(Elaboratable):
    """Pins of `boards.flash`: plain buffers, as the chip's clock leaves a whole period for them.

    pins:     the controller's `FlashPins`
    resource: name and number of a resource with cs, clk and dq; one without clk is the flash that
              configures a device of 7 series, whose clock STARTUPE2 drives
    """

    def __init__(self, pins: Any, resource: tuple[str, int]) -> None:
        self._pins, self._resource = pins, resource

    def elaborate(self, platform):
        m = Module()
        pins = self._pins
        pads = platform.request(*self._resource, dir={"cs": "-", "clk": "-", "dq": "-"})
        outputs = {"cs": pins.cs}
        if hasattr(pads, "clk"):
            outputs["clk"] = pins.sck
        else:
            m.submodules.startup = Instance(
                "STARTUPE2", p_PROG_USR="FALSE", p_SIM_CCLK_FREQ=0.0,
                i_CLK=0, i_GSR=0, i_GTS=0, i_KEYCLEARB=1, i_PACK=0, i_USRCCLKO=pins.sck,
                i_USRCCLKTS=0, i_USRDONEO=1, i_USRDONETS=1)
        for name, signal in outputs.items():
            m.submodules[name] = buffer = io.Buffer("o", getattr(pads, name))
            m.d.comb += buffer.o.eq(signal)
        for bit in range(4):
            m.submodules[f"dq{bit}"] = buffer = io.Buffer("io", pads.dq[bit])
            m.d.comb += [buffer.o.eq(pins.dq_o[bit]), buffer.oe.eq(pins.dq_oe[bit]),
                         pins.dq_i[bit].eq(buffer.i)]
        return m


class Ecp5SdramPads(Elaboratable):
    """Pins of `boards.sdram` on an ECP5: outputs from registers of the pins, data taken when our
    clock falls, which is when that of the chip rises.

    pins:     the controller's `SdramPins`
    resource: name and number of a resource as of `amaranth_boards.resources.SDRAMResource`
    """

    def __init__(self, pins: Any, resource: tuple[str, int]) -> None:
        self._pins, self._resource = pins, resource

    def elaborate(self, platform):
        m = Module()
        pins = self._pins
        names = ("clk", "clk_en", "cs", "ras", "cas", "we", "ba", "a", "dq", "dqm")
        pads = platform.request(*self._resource, dir=dict.fromkeys(names, "-"))
        m.submodules.clk = clk = io.DDRBuffer("o", pads.clk)
        m.d.comb += [clk.o[0].eq(0), clk.o[1].eq(1)]
        for name, value in (("clk_en", 1), ("cs", 1), ("dqm", 0)):
            m.submodules[name] = buffer = io.Buffer("o", getattr(pads, name))
            m.d.comb += buffer.o.eq(value)
        for name in ("ras", "cas", "we", "ba", "a"):
            m.submodules[name] = buffer = io.FFBuffer("o", getattr(pads, name))
            m.d.comb += buffer.o.eq(getattr(pins, name))

        # The library's buffers take data at the rising edge only, which is too early or too late.
        m.domains.fall = ClockDomain(clk_edge="neg", reset_less=True, local=True)
        m.d.comb += ClockSignal("fall").eq(ClockSignal("sync"))
        came = Signal(len(pins.dq_i))
        m.d.fall += pins.dq_i.eq(came)
        for bit in range(len(pads.dq)):
            out, off = Signal(name=f"out{bit}"), Signal(name=f"off{bit}")
            for name, d, q in (("data", pins.dq_o[bit], out), ("off", ~pins.dq_oe, off)):
                m.submodules[f"dq{bit}_{name}"] = Instance(
                    "OFS1P3DX", i_SCLK=ClockSignal(), i_SP=1, i_CD=0, i_D=d, o_Q=q)
            m.submodules[f"dq{bit}"] = Instance("BB", i_I=out, i_T=off, o_O=came[bit],
                                                io_B=pads.dq.io[bit])
        return m
