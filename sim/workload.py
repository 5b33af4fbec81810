# SPDX-License-Identifier: Apache-2.0
"""A workload of the benchmark, from its files to its figures: generated, simulated, mapped."""

import subprocess
from dataclasses import asdict
from pathlib import Path

from hw.core import TOP, adders, core_statistics
from hw.cycles import predict_inference
from hw.model import Samples
from hw.report import hierarchy, multipliers
from quantize.golden import GoldenModel
from quantize.sources import source_maps
from sim.cases import Case
from sim.generation import generate
from sim.metrics import Result, Synthesis, layer_figures
from sim.results import compile_case, run_case

JOURNALS = Path("build/bench")


def synthesize(verilog: str, mapped: bool) -> Synthesis:
    """What yosys counts in the accelerator; SynthesisError if it fails.

    mapped: to a 7 series device, which takes minutes, unless it has seen this text before
    """
    statistics = core_statistics(verilog, mapped)
    counts = adders(statistics["rtl"]), multipliers(statistics["rtl"])
    if "netlist" not in statistics:
        return Synthesis(*counts)
    usage = hierarchy(statistics["netlist"], TOP)[TOP]
    return Synthesis(*counts, usage.lut, usage.ff, usage.ram, usage.dsp,
                     statistics.get("seconds"))


def measure(case: Case, mapped: bool, journals: Path = JOURNALS) -> Result:
    """The case of one network in one of the surroundings.

    mapped:   with LUTs
    journals: directory of the records of finished layers

    Raises ValueError, SimulationError, ToolError and SynthesisError as its steps do.
    """
    config = compile_case(case)[0].hardware   # makes the network, if it is missing
    program, verilog, generation = generate(case.sources[0], config)
    row, = run_case(case, False, journals, [program])
    image = Samples.load(case.sources[0].directory).inputs[0]
    predicted = predict_inference(program, source_maps(GoldenModel(program.model), image),
                                  case.around[0].latency)
    layers = layer_figures(program, row, [layer.cycles for layer in predicted.layers])
    return Result(row, layers, synthesize(verilog, mapped), asdict(generation), predicted.cycles)


def commit() -> str:
    """Of the working tree, with a "+" if it was changed; "unknown" without git."""
    try:
        name, changes = (subprocess.run(["git", *words], capture_output=True, text=True,
                                        check=True).stdout.strip()
                         for words in (("rev-parse", "--short", "HEAD"),
                                       ("status", "--porcelain", "--untracked-files=no")))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return name + "+" * bool(changes)
