# SPDX-License-Identifier: Apache-2.0
"""Verilog of an accelerator."""

import contextlib
import gc
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from amaranth.back import rtlil, verilog
from amaranth.lib import wiring

from hw.accelerator import Accelerator
from hw.compiler import Program

_CONTENTS = re.compile(r"(^  cell \$meminit_v2 .*\n(?:    .*\n)*?    connect \\DATA ){  }", re.M)
# yosys takes the square of a block's length to read it: minutes for thousands of words.
_CONTENT_LINES = re.compile(r"(?<=^  initial begin\n)(?:    \S+\[\d+\] = .*\n)+", re.M)
_PART = 64
_MODULE = re.compile(r"((?:^attribute [^\n]*\n)*)^module (\S+)\n(.*?^end\n)", re.M | re.S)
_CELL = re.compile(r"^(  cell )(\\\S+)(?= )", re.M)


def accelerator_verilog(program: Program, trace: bool = False, name: str = "accelerator") -> str:
    """Synthesizable Verilog of the accelerator with the program's memory contents inside.

    One clock `clk`, synchronous reset `rst`; streams as `i__payload`, `i__valid`, `i__ready` and
    `o__...`; with `trace` also the ports of `hw.accelerator.SpikeTrace`, `ResidualTrace` and
    `hw.activity.ActivityTrace`.  The lanes are instances of one module, and likewise all other
    units that are equal: tools read and map it once.
    """
    return component_verilog(Accelerator(program.hardware, program.memory, trace), name)


def component_verilog(component: wiring.Component, name: str, platform: Any = None) -> str:
    """The same of anything with an accelerator inside; its members are the ports.

    platform: what Amaranth asks for its memories, if not None
    """
    return verilog_of(share_modules(_rtlil(component, name, platform)))


def verilog_of(text: str) -> str:
    """Verilog of RTLIL, as `amaranth.back.verilog.convert` makes it, the contents of memories in
    many short `initial` blocks.
    """
    return _CONTENT_LINES.sub(_in_parts, verilog._convert_rtlil_text(text,
                                                                     strip_internal_attrs=True))


def _in_parts(block: re.Match) -> str:
    lines = block[0].splitlines(keepends=True)
    parts = ("".join(lines[n:n + _PART]) for n in range(0, len(lines), _PART))
    return "  end\n  initial begin\n".join(parts)


def accelerator_rtlil(program: Program, trace: bool = False, name: str = "accelerator",
                      platform: Any = None) -> str:
    """The same in RTLIL, which yosys reads faster; each unit is a module of its own."""
    return _rtlil(Accelerator(program.hardware, program.memory, trace), name, platform)


def _rtlil(component: wiring.Component, name: str, platform: Any = None) -> str:
    contents: list[str] = []
    with _without_contents(contents), _without_collector():
        text = rtlil.convert(component, name=name, platform=platform, emit_src=False)
    waiting = iter(contents)
    return _CONTENTS.sub(lambda cell: cell[1] + next(waiting), text)


@contextlib.contextmanager
def _without_contents(contents: list[str]) -> Iterator[None]:
    """Make Amaranth leave out the initial contents of memories, and list them in their order.

    It would make an object of each bit, of which there are millions.
    """
    original = rtlil.ModuleEmitter.emit_memory

    def emit_memory(emitter: rtlil.ModuleEmitter, index: int, cell: Any) -> None:
        bits = "".join(f"{row:0{cell.width}b}" for row in reversed(cell.init))
        contents.append(f"{len(bits)}'{bits}")
        empty = SimpleNamespace(init=(), width=cell.width, depth=cell.depth, src_loc=cell.src_loc)
        original(emitter, index, empty)

    rtlil.ModuleEmitter.emit_memory = emit_memory
    try:
        yield
    finally:
        rtlil.ModuleEmitter.emit_memory = original


@contextlib.contextmanager
def _without_collector() -> Iterator[None]:
    """Nothing that Amaranth makes is free before the end; looking for it takes a third longer."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def share_modules(text: str) -> str:
    """RTLIL in which modules that differ in nothing but their name are one, named as the first."""
    modules = {match[2]: (match[1], match[3]) for match in _MODULE.finditer(text)}
    count = len(modules) + 1
    while len(modules) < count:
        # Modules whose parts were equal may be equal now.
        count, modules = len(modules), _without_copies(modules)
    return "".join(f"{attributes}module {name}\n{body}\n"
                   for name, (attributes, body) in modules.items())


def _without_copies(modules: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """The first of each set of equal modules: attributes and body by name."""
    first: dict[str, str] = {}
    kept = {name: first.setdefault(body, name) for name, (_, body) in modules.items()}

    def rename(cell: re.Match) -> str:
        return cell[1] + kept.get(cell[2], cell[2])

    return {name: (attributes, _CELL.sub(rename, body))
            for name, (attributes, body) in modules.items() if kept[name] == name}
