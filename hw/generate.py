# SPDX-License-Identifier: Apache-2.0
"""Verilog of an accelerator."""

from amaranth.back import rtlil, verilog

from hw.accelerator import Accelerator
from hw.compiler import Program


def accelerator_verilog(program: Program, trace: bool = False, name: str = "accelerator") -> str:
    """Synthesizable Verilog of the accelerator with the program's memory contents inside.

    One clock `clk`, synchronous reset `rst`; streams as `i__payload`, `i__valid`, `i__ready` and
    `o__...`; with `trace` also the ports of `hw.accelerator.SpikeTrace` and `ResidualTrace`.
    """
    return verilog.convert(Accelerator(program.hardware, program.memory, trace), name=name,
                           emit_src=False, strip_internal_attrs=True)


def accelerator_rtlil(program: Program, trace: bool = False, name: str = "accelerator") -> str:
    """The same in RTLIL, which yosys reads faster."""
    return rtlil.convert(Accelerator(program.hardware, program.memory, trace), name=name,
                         emit_src=False)
