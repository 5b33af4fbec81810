# SPDX-License-Identifier: Apache-2.0
"""From checkpoint to Verilog, with times."""

import time
from dataclasses import replace

import numpy as np
import pytest

from hw.model import FixedPointModel
from hw.options import hardware
from sim import generation
from sim.cases import DIGITS
from sim.generation import Generation, generate, quantized


def test_steps(monkeypatch):
    def accelerator_verilog(program):
        time.sleep(0.05)
        return "module accelerator(); endmodule"
    monkeypatch.setattr(generation, "accelerator_verilog", accelerator_verilog)
    model = FixedPointModel.load(DIGITS.directory)
    from sim.cases import BENCH
    config = hardware([model], BENCH["digits"].hardware_options())
    program, verilog, took = generate(DIGITS, config)
    assert verilog.startswith("module") and program.hardware == config
    assert took.quantize > 0 and took.compile > 0 and took.files > 0 and took.verilog >= 0.05
    assert took.total == pytest.approx(took.quantize + took.compile + took.verilog + took.files)
    without = generate(replace(DIGITS, checkpoint=None), config)[2]
    assert without.quantize is None and without.total > 0.05
    assert Generation(None, 1.0, 2.0, 3.0).total == 6.0


def test_quantized_is_the_network_of_the_directory():
    """All but what the largest value in calibration decides, as other images are looked at."""
    made, shipped = quantized(DIGITS), FixedPointModel.load(DIGITS.directory)
    assert made.network == shipped.network and made.weight_bits == shipped.weight_bits
    for name, tensors in shipped.tensors.items():
        assert np.array_equal(made.tensors[name].weight, tensors.weight)
