# SPDX-License-Identifier: Apache-2.0
"""Whole inferences on the generated Verilog: build the simulator, run it, read the trace."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hw.command import CommandError, progress_bar
from hw.memory_map import traffic
from sim.activity import read_spans
from sim.build import CACHE, build, write_whole
from sim.design import accelerator_design
from sim.inputs import check_inputs, prepare
from sim.toolchain import ToolError, cocotb_environment
from sim.trace import (
    Inference,
    LayerRun,
    Outputs,
    Report,
    assemble,
    layer_run,
    read_outputs,
    read_traffic,
)
from sim.words import line_count, read_words

DEFAULT_LATENCY = 40   # cycles: a DRAM controller's, at the clock of the accelerator
# A transfer or trace word comes every few hundred cycles, except during the attention's K^T V.
WATCHDOG_CYCLES = 1_000_000
POLL_SECONDS = 0.02


class SimulationError(CommandError):
    """The RTL stopped, or the simulator died; one sentence."""


def check_gaps(gaps: int | None) -> None:
    """ValueError unless `gaps` can seed the testbench's generator."""
    if gaps is not None and not 0 < gaps < 1 << 31:
        raise ValueError(f"gaps must be a seed from 1 to 2147483647, not {gaps!r}")


@dataclass(frozen=True)
class Simulator:
    """The compiled simulator of one program.

    cocotb:  the testbench runs under cocotb, else under Verilator's own main
    waves:   it can write a VCD file
    preload: a run may begin with given contents of the memories
    coverage: a run can write what it reached
    build_seconds: that it took to generate, translate and compile it, maybe long ago
    """

    program: Any
    executable: Path
    cocotb: bool
    waves: bool
    preload: bool = False
    build_seconds: float = 0.0
    coverage: bool = False

    @classmethod
    def build(cls, program: Any, *, cocotb: bool = True, waves: bool = False,
              preload: bool = False, coverage: bool = False, verilog: str | None = None,
              cache: Path = CACHE) -> "Simulator":
        """Generate, translate and compile, unless the cache holds it.

        cocotb:  False, or a Python without shared library, takes Verilator's own main
        verilog: text to simulate instead of what `program` generates

        Raises ToolError if a tool is missing or fails.
        """
        start = time.perf_counter()
        cocotb = cocotb and cocotb_environment("", "", Path()) is not None
        design = accelerator_design(program, verilog=verilog, cocotb=cocotb, waves=waves,
                                    preload=preload, coverage=coverage, cache=cache)
        executable = build(design, cache)
        note = executable.with_name("seconds")
        if not note.is_file():
            write_whole(note, f"{time.perf_counter() - start:.1f}")
        return cls(program, executable, cocotb, waves, preload, float(note.read_text()),
                   coverage)

    def of(self, program: Any) -> "Simulator":
        """The simulator for another program of the same hardware, with streamed weights."""
        return replace(self, program=program)

    def start(self, inputs: np.ndarray, *, gaps: int | None = None,
              waves: Path | str | None = None, watchdog: int = WATCHDOG_CYCLES,
              latency: int = DEFAULT_LATENCY, stalls: int | None = None,
              preload: Mapping[str, bytes] | None = None,
              coverage: Path | None = None) -> "Run":
        """Start to run each input through the RTL, without a reset between them.

        inputs:   integer raw values [n, C, H, W] (static) or [n, T, C, H, W] (events)
        gaps:     seed of pseudo-random pauses at input and output; None: no pauses
        waves:    VCD file to write, complete or not at all
        watchdog: cycles without any transfer or trace word after which the run is given up
        latency:  cycles from a read request to the memory's first beat
        stalls:   seed of pseudo-random pauses of the memory; None: no pauses
        preload:  contents of the memories for a program that begins at a later layer
        coverage: file for Verilator's coverage data, written at the end

        Raises ValueError for unsuitable inputs.
        """
        inputs = check_inputs(self.program, inputs)
        check_gaps(gaps)
        if waves is not None and not self.waves:
            raise ValueError("waves must be asked for when the simulator is built")
        if preload is not None and not self.preload:
            raise ValueError("preload must be asked for when the simulator is built")
        if coverage is not None and not self.coverage:
            raise ValueError("coverage must be asked for when the simulator is built")
        options = {"gaps": gaps or 0, "watchdog": watchdog, "latency": latency,
                   "stalls": stalls or 0}
        return Run(self, inputs, options, waves and Path(waves), preload, coverage)

    def run(self, inputs: np.ndarray, *, progress: bool = False,
            **options: Any) -> list[Inference]:
        """Run each input through the RTL, all in one run; the options are those of `start`.

        Raises ValueError for unsuitable inputs, SimulationError if the RTL hangs or the simulator
        dies.
        """
        with self.start(inputs, **options) as run:
            total = run.count * len(self.program.traces)
            layers = list(progress_bar(run.layers(), total=total, unit="layer", desc="simulate",
                              disable=None if progress else True))
            return run.finish(layers)


class Run:
    """A simulation under way; the end of the `with` ends it.

    count: of inferences
    """

    def __init__(self, simulator: Simulator, inputs: np.ndarray, options: Mapping[str, int],
                 waves: Path | None, preload: Mapping[str, bytes] | None,
                 coverage: Path | None = None) -> None:
        self.program, self.count = simulator.program, len(inputs)
        self._waves = waves
        self._temporary = tempfile.TemporaryDirectory(prefix="spikeloom-sim-")
        self._directory = directory = Path(self._temporary.name)
        arguments = prepare(self.program, inputs, directory)
        arguments += [f"+{name}={value}" for name, value in options.items()]
        if waves is not None:
            arguments.append(f"+waves={directory / 'waves.vcd'}")
        if coverage is not None:
            arguments.append(f"+verilator+coverage+file+{coverage.absolute()}")
        if preload is not None:
            (directory / "before").mkdir()
            for name, content in preload.items():
                (directory / "before" / name).write_bytes(content)
            arguments.append(f"+preload={directory / 'before'}")
        environment = None
        if simulator.cocotb:
            environment = cocotb_environment("testbench", "sim.benches.accelerator",
                                             directory / "results.xml")
        else:
            arguments.append("+finish")
        self._started = time.perf_counter()
        with (directory / "log").open("w") as log:
            self._process = subprocess.Popen([str(simulator.executable), *arguments],
                                             cwd=directory, env=environment, stdout=log,
                                             stderr=subprocess.STDOUT)

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:  # an interrupt leaves no simulator behind
            self._process.kill()
            self._process.wait()
        self._temporary.cleanup()

    def layers(self) -> Iterator[LayerRun]:
        """Each layer of each inference, as soon as it is done.

        Raises SimulationError if the RTL hangs or the simulator dies.
        """
        files = self._traces()
        seen, name = [0, 0], None
        for number, report in enumerate(self._reports()):
            trace = self.program.traces[number % len(self.program.traces)]
            if report.layer != trace.index:
                raise SimulationError(f"layer {trace.layer.name} must follow on {name}, "
                                      f"not layer number {report.layer}")
            done, name = (report.spike_lines, report.residual_lines), trace.layer.name
            words = [read_words(path, width, first, last)
                     for (path, width), first, last in zip(files, seen, done, strict=True)]
            seen = done
            yield layer_run(self.program, trace, report, *words)
        self._process.wait()
        outputs = self._outputs()
        if outputs.stalled:
            raise SimulationError(_stall(outputs, name))
        for (path, width), count in zip(files, seen):
            if line_count(path, width) > count:
                raise SimulationError(f"words of {path.name} must not come after the last layer")

    def _traces(self) -> list[tuple[Path, int]]:
        """Trace files and the bits of their words."""
        hardware = self.program.hardware
        return [(self._directory / "spikes", hardware.geometry.spike_word),
                (self._directory / "residual",
                 hardware.geometry.neurons * hardware.residual_width)]

    def _reports(self) -> Iterator[Report]:
        """The testbench's notes of finished layers, as they come."""
        path, rest = self._directory / "layers", ""
        while not path.exists() and self._process.poll() is None:
            time.sleep(POLL_SECONDS)
        if not path.exists():
            return
        with path.open() as file:
            while True:
                ended = self._process.poll() is not None   # before the last look into the file
                *lines, rest = (rest + file.read()).split("\n")
                for line in lines:
                    yield Report.parse(line)
                if ended:
                    return
                if not lines:
                    time.sleep(POLL_SECONDS)

    def finish(self, layers: Sequence[LayerRun]) -> list[Inference]:
        """The inferences, when `layers` has yielded the last of these layers.

        Raises SimulationError if there are too few or too many.
        """
        seconds = (time.perf_counter() - self._started) / self.count
        size = len(self.program.traces)
        if len(layers) != self.count * size:
            raise SimulationError(f"{self.count * size} layers must be done, not {len(layers)}")
        if self._waves is not None:
            _place(self._directory / "waves.vcd", self._waves)
        outputs, moved = self._outputs(), [()] * self.count
        if self.program.hardware.streamed:
            moved = read_traffic(self._directory / "traffic", self.program.hardware.port_bits)
        predicted, spans = traffic(self.program), read_spans(self._directory / "activity")
        return [assemble(self.program, layers[n * size:(n + 1) * size], outputs, n, seconds,
                         moved[n], predicted, spans[n]) for n in range(self.count)]

    def _outputs(self) -> Outputs:
        try:
            return read_outputs(self._directory / "outputs")
        except (FileNotFoundError, ValueError):
            tail = (self._directory / "log").read_text().strip().splitlines()[-1:]
            raise SimulationError("the simulator must end by itself, but died with: "
                                  f"{(tail or ['no message'])[0]}") from None


def simulate(program: Any, inputs: np.ndarray, *, gaps: int | None = None,
             waves: Path | str | None = None, cocotb: bool = True, progress: bool = False,
             verilog: str | None = None, watchdog: int = WATCHDOG_CYCLES,
             cache: Path = CACHE) -> list[Inference]:
    """Build and run at once: the arguments of `Simulator.build` and `Simulator.run`."""
    check_inputs(program, inputs)
    check_gaps(gaps)
    simulator = Simulator.build(program, cocotb=cocotb, waves=waves is not None, verilog=verilog,
                                cache=cache)
    return simulator.run(inputs, gaps=gaps, waves=waves, progress=progress, watchdog=watchdog)


def _stall(outputs: Outputs, layer: str | None) -> str:
    after = "before any layer was done" if layer is None else f"after layer {layer}"
    number = int(outputs.last.sum())
    words = int((outputs.inference == number).sum())
    return (f"the accelerator hangs: it made no progress until cycle {outputs.cycles} in inference "
            f"{number}, {after}, with {outputs.samples} samples in and {words} words out")


def _place(built: Path, target: Path) -> None:
    """Copy beside the target, then rename: the target is complete or untouched."""
    if not built.is_file():
        raise ToolError("the simulator must have written a waveform, which it did not")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_bytes(built.read_bytes())
    os.replace(partial, target)
