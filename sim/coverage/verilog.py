# SPDX-License-Identifier: Apache-2.0
"""What simulations of random accelerators reach in the generated Verilog."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hw.accelerator import Accelerator
from hw.command import progress_bar
from sim.build import CACHE
from sim.coverage.explained import LINES, SIGNALS
from sim.coverage.points import Reached, read_points
from sim.coverage.probes import ROOT, probed_verilog
from sim.draw import draw
from sim.run import SimulationError, Simulator
from sim.verify import check


@dataclass
class Simulated:
    """All combinations together.

    facts:  of their layers, for `sim.coverage.functional`
    values: compared
    """

    reached: Reached = field(default_factory=Reached)
    facts: list[dict[str, str]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    values: int = 0


def simulate(seed: int, numbers: Iterable[int], values: int, cache: Path = CACHE) -> Simulated:
    """Simulate combinations of `sim.draw`, each with pauses and without, and count.

    Raises SimulationError if one of them did not compute what the golden model does, ToolError if
    a tool is missing.
    """
    found = Simulated()
    bar = progress_bar(list(numbers), unit="combination", desc="verilog")
    for number in bar:
        drawn = draw(seed, number)
        bar.set_postfix_str(str(drawn))
        program = drawn.program
        probed = probed_verilog(Accelerator(program.hardware, program.memory, trace=True))
        simulator = Simulator.build(program, cocotb=False, coverage=True, verilog=probed.verilog,
                                    cache=cache)
        with tempfile.TemporaryDirectory(prefix="coverage-") as folder:
            result = check(drawn, simulator, values, Path(folder))
            if result["shown"]:
                raise SimulationError(f"combination {number} of seed {seed} must compute what the "
                                      f"golden model does: {result['shown'][0]}")
            for file in sorted(Path(folder).glob("*.dat")):
                found.reached.add(read_points(file, probed))
        found.facts += result["facts"]
        found.numbers.append(number)
        found.values += result["values"]
    return found


@dataclass(frozen=True)
class File:
    """A source file of the hardware: reached and all."""

    name: str
    lines: int
    all_lines: int
    signals: int
    all_signals: int
    bits: int
    all_bits: int


def by_file(reached: Reached) -> list[File]:
    """Conditional statements, signals of which a bit changed, and changes of bits in each file."""
    signals: dict[tuple[str, str, str], bool] = {}
    for key, hit in reached.toggles.items():
        signals[key[:3]] = signals.get(key[:3], False) or hit
    names = {place.partition(":")[0] for place in reached.lines} | {key[0] for key in signals}
    rows = []
    for name in sorted(names):
        lines = [hit for place, hit in reached.lines.items() if place.startswith(f"{name}:")]
        whole = [hit for key, hit in signals.items() if key[0] == name]
        bits = [hit for key, hit in reached.toggles.items() if key[0] == name]
        rows.append(File(name, sum(lines), len(lines), sum(whole), len(whole), sum(bits),
                         len(bits)))
    return rows


@dataclass(frozen=True)
class Gap:
    """What was never reached: where, what it is, and why ("" if nobody has said)."""

    place: str
    what: str
    reason: str


def gaps(reached: Reached, root: Path = ROOT) -> list[Gap]:
    """Statements that were never in effect, and signals of which no bit ever changed."""
    found = []
    for place in sorted(place for place, hit in reached.lines.items() if not hit):
        name, _, number = place.partition(":")
        text = (root / name).read_text().splitlines()[int(number) - 1].strip()
        found.append(Gap(place, text, LINES.get((name, text), "")))
    alive = {key[:3] for key, hit in reached.toggles.items() if hit}
    for name, unit, signal in sorted({key[:3] for key in reached.toggles} - alive):
        found.append(Gap(name, f"{unit}.{signal}", SIGNALS.get((unit, signal), "")))
    return found
