# SPDX-License-Identifier: Apache-2.0
"""cocotb test of the whole accelerator: everything runs in sim/testbench.sv, Python only waits.

Waking Python in each cycle would cost a factor of 5 to 20.
"""

import cocotb
from cocotb.handle import SimHandleBase
from cocotb.triggers import RisingEdge


@cocotb.test()
async def accelerator(dut: SimHandleBase) -> None:
    """Wait until the testbench is done; its watchdog must not have fired."""
    await RisingEdge(dut.done)
    stalled = bool(dut.stalled.value)
    assert not stalled, "the accelerator made no progress"
