# SPDX-License-Identifier: Apache-2.0
"""One inference, layer by layer: simulated, compared, recorded, resumed after interruptions."""

import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hw.command import progress_bar
from hw.compiler import Program
from hw.memory_map import PortTraffic, traffic
from quantize.golden import GoldenModel
from sim.activity import Span
from sim.build import content_hash
from sim.compare import compare_layer, compare_outputs
from sim.journal import SHOWN, Journal, LayerRecord
from sim.preload import contents, needed
from sim.resume import from_layer
from sim.run import Simulator


@dataclass(frozen=True)
class Measurement:
    """An inference that ran to its end.

    layers:   one record each
    values, wrong, shown: of the whole comparison, logits and bytes moved included
    cycles:   of the whole inference, its input included; None if it was interrupted: the cycles of
              its layers say less
    span:     of the whole inference; of 0 cycles if it was interrupted
    moved:    bytes by port, as counted; of the last part only, if it was interrupted
    first:    number of the layer with which the last part began
    seconds:  of the simulation and comparison, of the last part
    simulator_seconds: of processor time that the simulator took for it
    peak_mb:  most memory that this process has had in use, of all inferences so far
    """

    layers: tuple[LayerRecord, ...]
    values: int
    wrong: int
    shown: tuple[str, ...]
    cycles: int | None
    span: Span
    moved: tuple[PortTraffic, ...]
    predicted: tuple[PortTraffic, ...]
    first: int
    seconds: float
    simulator_seconds: float
    peak_mb: float

    @property
    def acs(self) -> int:
        return sum(record.acs for record in self.layers)


def journal_key(simulator: Simulator, image: np.ndarray, around: Any) -> str:
    """Hash of what shapes the results: design, program, weights, input, surroundings."""
    program = simulator.program
    return content_hash([simulator.executable.parent.name, repr(program.instructions),
                         program.stream.hex(), image.tobytes().hex(), repr(around)])


def measure(simulator: Simulator, image: np.ndarray, around: dict[str, Any], directory: Path,
            resume: bool = False, label: str = "") -> Measurement:
    """Run one input and compare each layer as soon as it is done.

    simulator: built with `preload`
    around:    keywords of `Simulator.start`
    directory: of the layers' records; with `resume` the layers that have one are not run again
    label:     for the progress bar

    Raises SimulationError if the RTL hangs or the simulator dies.
    """
    program = simulator.program
    names = [trace.layer.name for trace in program.traces]
    journal = Journal(directory, journal_key(simulator, image, around))
    records = journal.resume(names) if resume else []
    if len(records) == len(names):   # what came after the last layer is not recorded
        records.pop()
    first = len(records)
    if first:
        print(f"{label}: resuming at layer {names[first]}, number {first + 1} of {len(names)}",
              flush=True)
    else:
        journal.clear()
    start, before = time.perf_counter(), os.times()
    golden = GoldenModel(program.model).results(image)
    running, preload = program, None
    if first:
        wanted = needed(program, first)
        results = {number: result for number, result in
                   ((number, next(golden)) for number in range(first)) if number in wanted}
        running = from_layer(program, first)
        preload = contents(running, results)
    layers, logits = [], None
    with (simulator.of(running).start(image[None], preload=preload, **around) as run,
          progress_bar(total=len(names), initial=first, desc=label, unit="layer") as bar):
        for number, (result, layer) in enumerate(zip(golden, run.layers(), strict=True), first):
            record = LayerRecord.of(layer, result, compare_layer(layer, result, SHOWN),
                                    began=number == first > 0)
            journal.add(number, record)
            records.append(record)
            _tell(bar, record)
            layers.append(replace(layer, spikes=None, residual=None, spike_seen=None,
                                  residual_seen=None))
            logits = result.logits
        inference = run.finish(layers)[0]
    seconds, after = time.perf_counter() - start, os.times()
    used = (after.children_user - before.children_user
            + after.children_system - before.children_system)
    return _judge(records, first, inference, logits, seconds, used, program)


def _tell(bar: Any, record: LayerRecord) -> None:
    bar.update()
    bar.set_postfix_str(record.name)
    for line in record.shown:
        bar.write(line)


def _judge(records: Sequence[LayerRecord], first: int, inference: Any, logits: np.ndarray,
           seconds: float, simulator_seconds: float, program: Program) -> Measurement:
    end = compare_outputs(inference, logits, SHOWN)
    shown = [line for record in records for line in record.shown] + end.lines(SHOWN)[1:]
    return Measurement(
        layers=tuple(records), values=sum(record.values for record in records) + end.values,
        wrong=sum(record.wrong for record in records) + end.total + len(end.faults),
        shown=tuple(shown), cycles=None if first else inference.cycles, span=inference.span,
        moved=inference.traffic, predicted=tuple(traffic(program)), first=first, seconds=seconds,
        simulator_seconds=simulator_seconds,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
