# SPDX-License-Identifier: Apache-2.0
"""Inferences in RTL simulation, compared and counted: what the commands of sim stand on."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hw.command import doing, note
from hw.compiler import Program
from quantize.golden import GoldenModel
from sim.compare import Comparison, compare
from sim.counts import Row, count
from sim.load import Inputs
from sim.run import Simulator
from sim.trace import Inference
from sim.waves import write_view


@dataclass(frozen=True)
class Simulation:
    """Inferences of the RTL beside those of the golden model.

    inferences: of the RTL, in the order of the inputs: logits, counters, maps of every layer
    golden:     for each inference the golden model's `LayerResult` of each layer
    comparison: of every value of both
    rows:       counts of each layer and of the whole, means over the inferences
    """

    program: Program
    inputs: Inputs
    inferences: Sequence[Inference]
    golden: Sequence[Sequence[Any]]
    comparison: Comparison
    rows: Sequence[Row]

    @property
    def predicted(self) -> np.ndarray:
        """Labels, int64 [n]."""
        return np.array([int(np.argmax(each.logits)) for each in self.inferences])

    @property
    def saturations(self) -> int:
        """Of the residual stream, in all inferences."""
        return sum(run.saturations for each in self.inferences for run in each.layers)

    def lines(self) -> list[str]:
        """For each image: predicted and true label, simulated cycles, seconds."""
        lines, right, known = [], 0, 0
        for number, (inference, predicted, label) in enumerate(
                zip(self.inferences, self.predicted, self.inputs.labels, strict=True)):
            truth = "" if label is None else f", true label {label}"
            right += predicted == label
            known += label is not None
            lines.append(f"image {number}: predicted {predicted}{truth}; {inference.cycles:,} "
                         f"cycles in {inference.seconds:.1f} s")
        return [*lines, *[f"{right} of {known} labels predicted"] * (known > 1)]

    def to_dict(self) -> dict[str, Any]:
        """The figures, for programs."""
        return {"hardware": self.program.hardware.to_dict(),
                "images": [{"predicted": predicted, "label": label, "cycles": inference.cycles,
                            "logits": inference.logits, "seconds": inference.seconds}
                           for inference, predicted, label in zip(
                               self.inferences, self.predicted, self.inputs.labels, strict=True)],
                "layers": self.rows, "saturations": self.saturations,
                **self.comparison.to_dict()}


def simulate(program: Program, inputs: Inputs, *, waves: Path | None = None,
             **surroundings: Any) -> Simulation:
    """Run every input through the generated Verilog, and compare all values.

    waves:        VCD file to write, with a view for GTKWave beside it (`sim.waves`)
    surroundings: `gaps`, `latency` and `stalls` of `sim.run.Simulator.start`

    Raises ValueError for unsuitable inputs, ToolError if the simulator cannot be built,
    SimulationError if the RTL hangs.
    """
    with doing("generating and compiling the simulator"):
        simulator = Simulator.build(program, waves=waves is not None)
    note(f"simulator ready, built in {simulator.build_seconds:.1f} s or taken from the cache")
    inferences = simulator.run(inputs.values, waves=waves, progress=True, **surroundings)
    if waves is not None:
        with doing("waveform view"):
            view = write_view(program, waves)
        note(f"wrote {waves}, and for GTKWave {view}")
    comparison = Comparison()
    with doing("golden model and comparison"):
        golden = GoldenModel(program.model).run(inputs.values)
        for inference, results in zip(inferences, golden, strict=True):
            comparison.add(compare(inference, results))
    return Simulation(program, inputs, inferences, golden, comparison,
                      count(inferences, golden, program))
