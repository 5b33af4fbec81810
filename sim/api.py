# SPDX-License-Identifier: Apache-2.0
"""The whole way in Python: what the commands do, as functions that a notebook can call.

    from sim import api

    checkpoint = api.load("net.pth", network="cifar10-4-384")
    quantized = api.quantize(checkpoint, "build/net", calibration=images)
    simulation = api.simulate(quantized, samples=2, lanes=64)
    built = api.build(quantized, "arty_a7", synthesis=False)
    page = api.report(simulation, quantized)

Each function says what is wrong with its arguments by a ValueError of one sentence.  Where a tool
is missing or fails it raises a `hw.command.CommandError`.  `docs/tour.ipynb` is an example.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from hw.build import Built
from hw.build import build as build_for_board
from hw.compiler import compile_model
from hw.model import FixedPointModel
from hw.options import add_hardware_options, hardware
from quantize.load import load
from quantize.pipeline import Quantized, quantize
from sim.load import Inputs, load_inputs
from sim.report import OUT, beside, write_page
from sim.simulation import Simulation
from sim.simulation import simulate as run_simulation

__all__ = ["Built", "Quantized", "Simulation", "build", "load", "quantize", "report", "simulate"]


def _directory(model: Quantized | Path | str) -> Path:
    return model.directory if isinstance(model, Quantized) else Path(model)


def simulate(model: Quantized | Path | str, inputs: np.ndarray | None = None, *, samples: int = 1,
             waves: Path | str | None = None, gaps: int | None = None,
             latency: int | None = None, stalls: int | None = None,
             **options: Any) -> Simulation:
    """Run inputs through the generated Verilog and compare every value with the golden model.

    model:   what `quantize` returned, or its directory
    inputs:  integer raw values [n, C, H, W], or [n, T, C, H, W] for events; None: the first
             `samples` held-out inputs of the directory, whose labels are known
    waves:   VCD file to write, with a view for GTKWave beside it
    gaps, stalls: seeds of random pauses of the streams and of external memory; None: no pauses
    latency: cycles from a read request to the memory's first beat
    options: of the hardware, as on the command line: lanes=64, banks=4, port_bits=128, ...

    The first simulation of a hardware compiles a simulator, which takes half a minute.
    """
    directory = _directory(model)
    loaded = FixedPointModel.load(directory)
    program = compile_model(loaded, hardware([loaded], hardware_options(**options)))
    given = (load_inputs(directory, loaded, samples) if inputs is None
             else Inputs(np.asarray(inputs), (None,) * len(inputs)))
    around = {"gaps": gaps, "stalls": stalls} | ({} if latency is None else {"latency": latency})
    return run_simulation(program, given, waves=None if waves is None else Path(waves), **around)


def hardware_options(**options: Any) -> argparse.Namespace:
    """The options of `hw.options.add_hardware_options`, those not given at their defaults.

    ValueError for one that does not exist.
    """
    parser = argparse.ArgumentParser()
    add_hardware_options(parser)
    known = vars(parser.parse_args([]))
    if unknown := sorted(options.keys() - known.keys()):
        raise ValueError(f"option of the hardware must be one of {', '.join(sorted(known))}, "
                         f"not {unknown[0]!r}")
    return argparse.Namespace(**known | options)


def build(model: Quantized | Path | str | None, board: str, out: Path | str | None = None,
          **options: Any) -> Built:
    """Write sources, constraints, memory images and scripts for a board: `hw.build.build`.

    options: as there; synthesis=False writes the sources only, in seconds
    """
    return build_for_board(None if model is None else _directory(model), board, out, **options)


def report(simulation: Simulation, model: Quantized | Path | str, out: Path | str | None = None, *,
           checkpoint: Path | str | None = None, built: Built | Path | str | None = None,
           explored: Path | str | None = None) -> Path:
    """Write one self-contained HTML page about the first inference of a simulation; its path.

    model:      that was simulated, or its directory
    out:        None: build/reports/MODEL.html
    checkpoint: that the model was made of: adds a Spikformer of equal shape and other weight bits
    built:      a build with synthesis, or its folder; None: the newest of these weights, if any
    explored:   points of `hw.explore`; None: those of this network and board, if any
    """
    directory = _directory(model)
    folder = built.directory if isinstance(built, Built) else built
    more = beside(directory, simulation.program,
                  *(None if each is None else Path(each)
                    for each in (checkpoint, folder, explored)))
    page = Path(out or OUT / f"{directory.resolve().name}.html")
    write_page(simulation, page, more)
    return page
