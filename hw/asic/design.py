# SPDX-License-Identifier: Apache-2.0
"""The accelerator as it goes to silicon: RTL with SRAM macros and without initial contents."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hw.asic.macros import MACRO_BITS, Macro, SramPlatform, model_text, stub_text
from hw.compiler import Program
from hw.generate import accelerator_rtlil, share_modules, verilog_of

TOP = "accelerator"
# Values at power-up, of registers (the reset gives them the same) and of memories (all zeros).
_INIT = re.compile(
    r"^ *attribute \\init .*\n|^  cell \$meminit_v2 .*\n(?:    .*\n)*  end\n", re.M)
_MODULE = re.compile(r"^module \\(\S+)\n(.*?)^end\n", re.M | re.S)
_CELL = re.compile(r"^  cell \\(\S+) \\(\S+)$", re.M)


@dataclass(frozen=True)
class AsicDesign:
    """Sources of an accelerator for silicon.

    rtlil:   of the module `accelerator` and all below it, SRAM macros as black boxes
    macros:  how many of each there are
    """

    rtlil: str
    macros: Mapping[Macro, int]

    def verilog(self) -> str:
        return verilog_of(self.rtlil)

    def models(self) -> str:
        """Behavioural Verilog of the macros."""
        return model_text(self.macros)

    def stubs(self) -> str:
        return stub_text(self.macros)


def asic_design(program: Program, trace: bool = False,
                least_bits: int = MACRO_BITS) -> AsicDesign:
    """The accelerator of a program; with `trace` also its trace ports.

    least_bits: memories from this size on become macros, smaller ones flip-flops
    Raises ValueError for weights that are not streamed: what would load them?
    """
    if not program.hardware.streamed:
        raise ValueError("weights on silicon must be streamed: --port-bits must be 64 or 128, "
                         "not 0")
    platform = SramPlatform(least_bits)
    text = share_modules(accelerator_rtlil(program, trace, TOP, platform))
    return AsicDesign(_INIT.sub("", text), dict(sorted(platform.macros.items())))


def instances(design: AsicDesign) -> dict[str, str]:
    """Macros of a design: path of the instance, such as "lanes.banks.bank0.macro", to its name."""
    names = {macro.name for macro in design.macros}
    modules = {match[1]: _CELL.findall(match[2]) for match in _MODULE.finditer(design.rtlil)}
    found: dict[str, str] = {}

    def visit(module: str, path: tuple[str, ...]) -> None:
        for kind, cell in modules[module]:
            if kind in names:
                found[".".join((*path, cell))] = kind
            elif kind in modules:
                visit(kind, (*path, cell))
    visit(TOP, ())
    return dict(sorted(found.items()))
