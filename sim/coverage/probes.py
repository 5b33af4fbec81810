# SPDX-License-Identifier: Apache-2.0
"""Verilog of a component in which the simulator can count what Python wrote.

Generated Verilog has one block a signal and numbers for names, so its own lines say little and are
others for each configuration.  Here each conditional statement of the Python source (one within
`m.If`, `m.Switch` or `m.State`) gets a signal of its own, which is 1 while the statement is in
effect: its line in the Verilog is reached when the Python line is.  Besides, registers and output
ports are counted bit by bit.  Nothing that was there before is changed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth import Elaboratable, Signal
from amaranth.hdl import Fragment
from amaranth.hdl._ast import Statement, Switch

import hw
from hw.generate import component_verilog

ROOT = Path(hw.__path__[0]).parent
_PROBE = "line:"
_MODULE = re.compile(r"^module \\?([^\s(]+)")
_BLOCK = re.compile(r"^  always @\*")
_REGISTER = re.compile(r"^  always @\(posedge \S+\)\s*\n\s*(\S+) +<=", re.M)
_DECLARED = re.compile(r"^  (reg|wire|output)(?: signed)? (?:\[\d+:\d+\] )?(\S+?) *(?:=.*)?;$")
_ON, _OFF = "/*verilator coverage_on*/", "/*verilator coverage_off*/"


@dataclass(frozen=True)
class Probed:
    """Verilog, and what its parts are called in Python.

    verilog: of the module `accelerator`
    lines:   number of a line of it to the statement that it stands for, as `hw/fetch.py:91`
    signals: (module of the Verilog, name in it) to (file of the unit, its class, name), for what is
             counted
    """

    verilog: str
    lines: Mapping[int, str]
    signals: Mapping[tuple[str, str], tuple[str, str, str]]


class _Instrumented(Elaboratable):
    """A component whose fragments have probes; notes the class of each module."""

    def __init__(self, component: Any) -> None:
        self._component, self.signature = component, component.signature
        self.units: dict[str, type] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._component, name)

    def elaborate(self, platform: Any) -> Fragment:
        fragment = Fragment.get(self._component, platform)
        self._visit(fragment, "accelerator")
        return fragment

    def _visit(self, fragment: Fragment, name: str) -> None:
        self.units[name] = type(fragment.origins[0]) if fragment.origins else type(None)
        probes: dict[str, Signal] = {}
        for statements in list(fragment.statements.values()):
            fragment.add_statements("comb", *_mirrored(statements, probes, False))
        for number, (part, label, _) in enumerate(fragment.subfragments):
            self._visit(part, f"{name}.{label or f'U${number}'}")


def _mirrored(statements: Iterable[Statement], probes: dict[str, Signal],
              inside: bool) -> Iterator[Statement]:
    """The same branches, in which each statement of ours sets its probe."""
    for statement in statements:
        if isinstance(statement, Switch):
            cases = [(patterns, list(_mirrored(body, probes, True)), where)
                     for patterns, body, where in statement.cases]
            if any(body for _, body, _ in cases):
                yield Switch(statement.test, cases, src_loc=statement.src_loc)
        elif inside and (place := source(statement.src_loc)):
            if place not in probes:
                probes[place] = Signal(name=f"{_PROBE}{place}")
            yield probes[place].eq(1)


def source(location: tuple[str, int]) -> str | None:
    """A place in the source of the hardware as `hw/fetch.py:91`; None for one elsewhere."""
    path = Path(location[0])
    if not path.is_relative_to(ROOT / "hw"):
        return None
    return f"{path.relative_to(ROOT)}:{location[1]}"


def probed_verilog(component: Any) -> Probed:
    """The Verilog of `hw.generate.component_verilog` with probes, as module `accelerator`."""
    instrumented = _Instrumented(component)
    text = component_verilog(instrumented, "accelerator")
    return _switched(text, instrumented.units)


def _switched(text: str, units: Mapping[str, type]) -> Probed:
    """Only probes, registers and output ports of our units are left to the simulator to count."""
    lines, places, signals = text.splitlines(), {}, {}
    shown = [_OFF, *lines]          # so that line n of the result is shown[n - 1]
    for first, last in _modules(lines):
        name = _MODULE.match(lines[first])[1]
        unit = units.get(name, type(None))
        if not unit.__module__.startswith("hw."):
            continue
        body = "\n".join(lines[first:last])
        registers, seen = set(_REGISTER.findall(body)), Counter()
        outputs = {match[2] for line in lines[first:last]
                   if (match := _DECLARED.match(line)) and match[1] == "output"}
        for number in range(first, last):
            if (match := _DECLARED.match(lines[number])) and match[2] in registers | outputs:
                shown[number + 1] = f"{_ON} {lines[number]} {_OFF}"
                key = (name, match[2].removeprefix("\\"))
                if key not in signals and _PROBE not in match[2]:
                    signals[key] = (unit.__module__.replace(".", "/") + ".py", unit.__qualname__,
                                    _plain(match[2], seen))
        for begin, end in _probe_blocks(lines, first, last):
            shown[begin + 1] = f"{_ON} {lines[begin]}"
            shown[end + 1] = f"{lines[end]} {_OFF}"
            places |= _probe_lines(lines, begin, end)
    return Probed("\n".join(shown) + "\n", places, signals)


def _modules(lines: list[str]) -> Iterator[tuple[int, int]]:
    first = 0
    for number, line in enumerate(lines):
        if line.startswith("module "):
            first = number
        elif line.startswith("endmodule"):
            yield first, number


def _probe_blocks(lines: list[str], first: int, last: int) -> Iterator[tuple[int, int]]:
    """First and last line of each block that drives a probe."""
    begin = None
    for number in range(first, last):
        if _BLOCK.match(lines[number]):
            begin = number
        elif begin is not None and lines[number].startswith("  end"):
            if any(f"\\{_PROBE}" in line for line in lines[begin:number]):
                yield begin, number
            begin = None


def _probe_lines(lines: list[str], begin: int, end: int) -> dict[int, str]:
    """Number in the result of each line that sets a probe."""
    return {number + 2: match[1] for number in range(begin, end)
            if (match := re.match(rf"\s*\\{_PROBE}(\S+) += 1'h1;", lines[number]))}


def _plain(name: str, seen: Counter) -> str:
    """A signal's name without what makes it unique: `last`, and `last#2` for the next of its name.

    The numbers that Amaranth appends are others in each configuration.
    """
    base = re.sub(r"\$\d+", "", name.removeprefix("\\").rstrip()) or "unnamed"
    seen[base] += 1
    return base if seen[base] == 1 else f"{base}#{seen[base]}"
