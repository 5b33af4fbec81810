# SPDX-License-Identifier: Apache-2.0
"""cocotb test of the serial line between another's UARTs, those of cocotbext-uart."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotbext.uart import UartSink, UartSource

from sim.streams import parameters


@cocotb.test()
async def echo(dut):
    """All bytes come back; parameters: period of the clock and of a bit, in ns."""
    given = parameters()
    cocotb.start_soon(Clock(dut.clk, given["period"], unit="ns").start())
    dut.rst.value = 1
    source = UartSource(dut.rx, baud=1e9 / given["bit"])
    sink = UartSink(dut.tx, baud=1e9 / given["bit"])
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 4)
    rng, sent = random.Random(1), b""
    for _ in range(4):
        burst = bytes(rng.randbytes(24)) + b"\0\xff\x55"
        await source.write(burst)   # back to back
        await source.wait()
        sent += burst
        await ClockCycles(dut.clk, rng.randint(1, 400))
    await ClockCycles(dut.clk, 40 * given["bit"] // given["period"])
    assert bytes(sink.read_nowait()) == sent
