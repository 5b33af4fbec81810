# SPDX-License-Identifier: Apache-2.0
"""An accelerator as a peripheral in Verilator, with faults of its memories and of its state.

Everything is asked of one process (`sim/fault_bench.cpp`), which plays the host at the registers
and streams, and the memories at the AXI ports.
"""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from types import TracebackType

import numpy as np

from hw.compiler import Program
from hw.generate import component_verilog
from hw.model import in_port_order
from hw.soc import NAME, peripheral
from sim.board_top import inlined
from sim.build import CACHE, Design, build

_PORTS = ("weights", "residual", "maps")
_SOURCE = "fault_bench.cpp"
# Generated Verilog assigns registers and memories, and nothing else, with <= at a line's begin.
_MODULE = re.compile(r"^module .*?^endmodule", re.M | re.S)
_ASSIGNED = re.compile(r"^ +(?:if \([^\n]*\) *\n? *)?(\\\S+ |[\w$]+)(?:\[[^\n]*?\])? ?<= ", re.M)
_DECLARED = re.compile(
    r"^(  reg (?:\[[\d:]+\] )?)(\\\S+ |[\w$]+)((?: ?\[[\d:]+\])?(?: =[^\n]*)?;)$", re.M)


class End(IntEnum):
    """How an inference ended: with its last word, with a fault in the status instead, or never."""

    ANSWER = 0
    FAULT = 1
    NEVER = 2


@dataclass(frozen=True)
class Outcome:
    """`status` of the register, cycles from the first sample on, `words` that left by m_axis:
    logits, then counters by layer.
    """

    end: End
    status: int
    cycles: int
    words: tuple[int, ...]


@dataclass(frozen=True)
class Variable:
    """A register, or a memory of `words` words."""

    number: int
    bits: int
    words: int
    name: str

    @property
    def memory(self) -> bool:
        return self.words > 1


def with_public_state(verilog: str) -> str:
    """Generated Verilog whose registers and memories Verilator lets others read and write."""
    def module(match: re.Match) -> str:
        state = {name.strip() for name in _ASSIGNED.findall(match[0])}

        def declare(found: re.Match) -> str:
            # A memory that is only read has contents instead of assignments.
            if found[2].strip() in state or found[3].lstrip().startswith("["):
                # Behind the last range, before initial contents.
                ranges, equals, rest = found[3].partition(" =")
                ranges = ranges.removesuffix(";")
                end = equals + rest if equals else ";"
                return f"{found[1]}{found[2]}{ranges} /*verilator public_flat_rw*/{end}"
            return found[0]
        return _DECLARED.sub(declare, match[0])
    return _MODULE.sub(module, verilog)


def build_fault_bench(program: Program, state: bool = False, short: bool = False,
                      cache: Path = CACHE) -> Path:
    """The simulator; with `state` its registers and memories can be flipped; `short`: as of
    `sim.build.Design`.

    Raises ValueError for ports of other than 64 bits, ToolError as of `sim.build`.
    """
    hardware = program.hardware
    if hardware.port_bits not in (0, 64):
        raise ValueError("faults are simulated with memory ports of 64 bits, "
                         f"not {hardware.port_bits!r}")
    defines = {"WITH_STATE": state, "WITH_WEIGHTS": hardware.streamed,
               "WITH_RESIDUAL": hardware.spills_residual, "WITH_MAPS": hardware.spills_maps}
    main = "".join(f"#define {name}\n" for name, wanted in defines.items() if wanted)
    text = component_verilog(peripheral(program), NAME)
    sources = {f"{NAME}.v": with_public_state(text) if state else text}
    return build(Design(sources, toplevel=NAME, parameters={}, cocotb=False,
                        main=main + inlined(_SOURCE), vpi=state, short=short), cache)


class FaultBench:
    """The peripheral, its host and memories in a process; a context manager.

    sample: raw integers [C, H, W] or [T, C, H, W], those of every inference
    Memory ports are numbered in the order weights, residual, maps, those that are there.
    """

    def __init__(self, simulator: Path, program: Program, sample: np.ndarray) -> None:
        self._simulator, self._program, self._sample = simulator, program, sample

    def __enter__(self) -> "FaultBench":
        program, hardware = self._program, self._program.hardware
        self._folder = tempfile.TemporaryDirectory(prefix="spikeloom-faults-")
        folder = Path(self._folder.name)
        mask = (1 << hardware.input_width) - 1
        (folder / "samples").write_text("\n".join(
            f"{int(value) & mask:x}" for value in in_port_order(self._sample)))
        (folder / "weights").write_bytes(program.stream)
        (folder / "empty").write_bytes(b"")
        memories = {"weights": (hardware.streamed, "weights", len(program.stream)),
                    "residual": (hardware.spills_residual, "empty", program.residual_bytes),
                    "maps": (hardware.spills_maps, "empty", program.map_bytes)}
        words = [str(word) for port in _PORTS for there, name, size in [memories[port]] if there
                 for word in (folder / name, size)]
        self._process = subprocess.Popen(
            [str(self._simulator), str(folder / "samples"), *words], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, bufsize=1)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._folder.cleanup()

    def _ask(self, *words: object) -> list[str]:
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        return self._line()

    def _line(self) -> list[str]:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the simulator ended before it answered")
        return line.split()

    def variables(self) -> list[Variable]:
        """All that can be flipped."""
        count = int(self._ask("vars")[0])
        return [Variable(*map(int, line[:3]), line[3])
                for line in (self._line() for _ in range(count))]

    def arm(self, kind: str, *numbers: int) -> None:
        """What shall happen, in the next inference: `read` and `write` errors (port, which beat or
        burst), `mute` (cycle), `flip` (cycle, variable, word, bit).
        """
        self._ask("arm", kind, *numbers)

    def flip(self, variable: Variable, word: int, bit: int) -> None:
        """At once."""
        self._ask("flip", variable.number, word, bit)

    def infer(self, limit: int) -> Outcome:
        """An inference of at most `limit` cycles."""
        return self._outcome(self._ask("infer", limit))

    def begin(self, cycles: int) -> Outcome:
        """The first cycles of one."""
        return self._outcome(self._ask("begin", cycles))

    def _outcome(self, line: Sequence[str]) -> Outcome:
        words = tuple(value - (value >> 63 << 64) for value in (int(each, 16) for each in line[3:]))
        return Outcome(End(int(line[0])), int(line[1]), int(line[2]), words)

    def reset(self, forced: bool = False, limit: int = 1000) -> int:
        """By the register; the cycles that it took, or -1 if it was not done within `limit`."""
        return int(self._ask("reset", int(forced), limit)[0])

    def mute(self, on: bool) -> None:
        """The memories stop to answer, or answer again."""
        self._ask("mute", int(on))

    def forget(self) -> None:
        """The memories are reset: what they were asked for is lost."""
        self._ask("forget")
