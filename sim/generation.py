# SPDX-License-Identifier: Apache-2.0
"""Seconds from a checkpoint to everything that simulation and synthesis read."""

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.compiler import Program, compile_model
from hw.config import HardwareConfig
from hw.generate import accelerator_verilog
from hw.model import FixedPointModel, Samples
from quantize import fixed
from quantize.checkpoint import load_checkpoint
from quantize.fuse import fuse
from quantize.pipeline import calibrate
from sim.cases import Source
from sim.inputs import prepare


@dataclass(frozen=True)
class Generation:
    """Seconds of each step; the steps are those of the commands, in one process.

    quantize: checkpoint to model directory, calibrated on the directory's own samples; accuracies
              are not measured.  None where there is no checkpoint
    compile:  model directory to program: instructions, weight images
    verilog:  program to the accelerator's Verilog
    files:    writing Verilog, weights and samples as the testbench reads them
    """

    quantize: float | None
    compile: float
    verilog: float
    files: float

    @property
    def total(self) -> float:
        return (self.quantize or 0.0) + self.compile + self.verilog + self.files


def generate(source: Source, config: HardwareConfig) -> tuple[Program, str, Generation]:
    """The program and the Verilog of a model directory on some hardware, and what they took.

    Raises ValueError for networks that do not fit, and for what the checkpoint refuses.
    """
    seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def timed(step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        seconds[step] = time.perf_counter() - start

    with tempfile.TemporaryDirectory(prefix="spikeloom-bench-") as folder:
        if source.checkpoint is not None and source.checkpoint.is_file():
            with timed("quantize"):
                quantized(source).save(Path(folder) / "model", Samples.load(source.directory))
        with timed("compile"):
            model = FixedPointModel.load(source.directory)
            program = compile_model(model, config)
        with timed("verilog"):
            verilog = accelerator_verilog(program)
        with timed("files"):
            (Path(folder) / "accelerator.v").write_text(verilog)
            prepare(program, Samples.load(source.directory).inputs[:1].astype(np.int64),
                    Path(folder))
    return program, verilog, Generation(
        seconds.get("quantize"), seconds["compile"], seconds["verilog"], seconds["files"])


def quantized(source: Source) -> FixedPointModel:
    """The checkpoint of a source as integers, calibrated on the samples of its directory."""
    checkpoint = load_checkpoint(source.checkpoint)
    network, fmt = checkpoint.config, checkpoint.input_format
    old = FixedPointModel.load(source.directory)
    floats = (Samples.load(source.directory).inputs * fmt.scale).astype(np.float32)
    largest = 0.0
    for number in range(min(len(floats), 8)):   # one by one: each tensor of a batch is kept
        batch = floats[number:number + 1]
        largest = max(largest, calibrate(
            checkpoint, batch if network.static_input else batch.swapaxes(0, 1).copy()))
    return fixed.quantize(network, fuse(network, checkpoint.state_dict), fmt,
                          fixed.residual_format(old.residual.width, largest), old.weight_bits,
                          checkpoint.provenance)
