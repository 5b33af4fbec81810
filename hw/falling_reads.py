# SPDX-License-Identifier: Apache-2.0
"""Memories that are read without a clock, for devices whose memories all have one."""

from typing import Any

from amaranth import ClockDomain, ClockSignal, Const, Module
from amaranth.hdl import MemoryInstance
from amaranth.lib.memory import Memory


class FallingReads:
    """Part of a platform: reads without a clock happen at the falling edge, in the same cycle.

    Without LUT RAM such a memory is a register and a multiplexer for every bit.  What is read at
    the falling edge is the word of this cycle's address after the writes of the last rising edge,
    as without a clock; half a cycle remains for the address, and half for what is made of the word.
    So block RAM will do, and yosys chooses it where it is worth it.
    """

    def get_memory(self, memory: Memory) -> Any:
        """What takes the place of `memory` (called by Amaranth)."""
        m = Module()
        m.domains.fall = ClockDomain(clk_edge="neg", reset_less=True, local=True)
        m.d.comb += ClockSignal("fall").eq(ClockSignal())
        m.submodules.words = words = MemoryInstance(data=memory.data, attrs=memory.attrs)
        writes = {port: words.write_port(domain=port.domain, addr=port.addr, data=port.data,
                                         en=port.en) for port in memory.write_ports}
        for port in memory.read_ports:
            falls = port.domain == "comb"
            words.read_port(domain="fall" if falls else port.domain, addr=port.addr,
                            data=port.data, en=Const(1) if falls else port.en,
                            transparent_for=tuple(writes[each] for each in port.transparent_for))
        return m
