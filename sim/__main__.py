# SPDX-License-Identifier: Apache-2.0
"""Run inferences through the RTL and compare every layer: `python -m sim DIR`."""

import argparse
import sys
from pathlib import Path

from hw.command import Outcome, Parser, execute, note
from hw.memory_map import memory_map
from hw.options import describe
from sim.counts import table
from sim.load import add_arguments, load_inputs, load_program, surroundings
from sim.simulation import simulate


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m sim",
        description="Simulate the generated Verilog of a model and compare every value of every "
                    "layer and timestep with the integer golden model.")
    add_arguments(parser)
    parser.add_argument("--image", type=Path, metavar="FILE",
                        help="a picture or .npy file instead of held-out images")
    parser.add_argument("--waves", type=Path, metavar="FILE",
                        help="write a VCD waveform of the whole run (slow and large), and beside "
                             "it a view for GTKWave: layers, timesteps, units, decoded values")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 if the RTL hangs or differs from the golden model; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    program = load_program(arguments.model, arguments)
    inputs = load_inputs(arguments.model, program.model, arguments.samples, arguments.image)
    note(f"{arguments.model}: {describe(program.model, program.hardware)}",
         *memory_map(program).lines())
    done = simulate(program, inputs, waves=arguments.waves, **surroundings(arguments))
    print("\n".join(done.lines()))
    print("\n".join(done.comparison.lines()))
    print(table(done.rows))
    if done.saturations:
        print(f"the residual stream saturated {done.saturations} times: a wider residual loses "
              "less")
    return Outcome(done.to_dict(), int(not done.comparison.equal))


if __name__ == "__main__":
    sys.exit(main())
