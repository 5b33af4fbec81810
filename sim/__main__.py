# SPDX-License-Identifier: Apache-2.0
"""Run inferences through the RTL and compare every layer: `python -m sim DIR`."""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

from hw.memory_map import memory_map
from hw.options import describe
from quantize.golden import GoldenModel
from sim.compare import Comparison, compare
from sim.counts import count, table
from sim.load import Inputs, add_arguments, fail, load_inputs, load_program, surroundings
from sim.run import SimulationError, Simulator
from sim.toolchain import ToolError
from sim.trace import Inference


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sim",
        description="Simulate the generated Verilog of a model and compare every value of every "
                    "layer and timestep with the integer golden model.")
    add_arguments(parser)
    parser.add_argument("--image", type=Path, metavar="FILE",
                        help="a picture or .npy file instead of held-out images")
    parser.add_argument("--waves", type=Path, metavar="FILE",
                        help="write a VCD waveform of the whole run (slow and large)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 if the RTL hangs or differs from the golden model; 2 for bad input."""
    arguments = build_parser().parse_args(argv)
    try:
        program = load_program(arguments.model, arguments)
        inputs = load_inputs(arguments.model, program.model, arguments.samples, arguments.image)
        print(f"{arguments.model}: {describe(program.model, program.hardware)}")
        print("\n".join(memory_map(program).lines()), flush=True)
        start = time.perf_counter()
        simulator = Simulator.build(program, waves=arguments.waves is not None)
        print(f"simulator ready after {time.perf_counter() - start:.1f} s")
        inferences = simulator.run(inputs.values, waves=arguments.waves, progress=True,
                                   **surroundings(arguments))
    except (ValueError, ToolError) as error:
        return fail(error)
    except SimulationError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    golden = GoldenModel(program.model).run(inputs.values)
    comparison = Comparison()
    for inference, results in zip(inferences, golden):
        comparison.add(compare(inference, results))
    for line in image_lines(inferences, inputs):
        print(line)
    print("\n".join(comparison.lines()))
    print(table(count(inferences, golden, program)))
    if any(run.saturations for inference in inferences for run in inference.layers):
        total = sum(run.saturations for inference in inferences for run in inference.layers)
        print(f"the residual stream saturated {total} times: a wider residual loses less")
    if arguments.waves is not None:
        print(f"wrote {arguments.waves}")
    return 0 if comparison.equal else 1


def image_lines(inferences: list[Inference], inputs: Inputs) -> list[str]:
    """For each image: predicted and true label, simulated cycles, seconds."""
    lines, right, known = [], 0, 0
    for number, (inference, label) in enumerate(zip(inferences, inputs.labels)):
        predicted = int(np.argmax(inference.logits))
        truth = "" if label is None else f", true label {label}"
        right += predicted == label
        known += label is not None
        lines.append(f"image {number}: predicted {predicted}{truth}; {inference.cycles:,} cycles "
                     f"in {inference.seconds:.1f} s")
    if known > 1:
        lines.append(f"{right} of {known} labels predicted")
    return lines


if __name__ == "__main__":
    sys.exit(main())
