# SPDX-License-Identifier: Apache-2.0
"""The Verilog is generated once for one hardware, whatever the program."""

from dataclasses import replace

from hw import generate
from hw.compiler import compile_model
from hw.config import HardwareConfig
from sim.benches.models import SMALL, random_model
from sim.design import accelerator_design, generated
from tests.sim import mock


def test_generated_once(tmp_path, monkeypatch):
    made = []

    def accelerator_verilog(program, trace):
        made.append(program)
        return f"text {len(made)}"

    monkeypatch.setattr(generate, "accelerator_verilog", accelerator_verilog)
    models = [random_model(SMALL, seed=seed) for seed in (1, 2)]
    hardware = HardwareConfig.for_models(models, lanes=8, banks=2, port_bits=64)
    programs = [compile_model(model, hardware) for model in models]
    assert [generated(program, tmp_path) for program in programs] == ["text 1"] * 2
    deeper = replace(hardware, weight_rows=hardware.weight_rows + 1)
    assert generated(compile_model(models[0], deeper), tmp_path) == "text 2"
    # With weights on chip the program is part of the hardware.
    held = [compile_model(model, HardwareConfig.for_models(models, lanes=8, banks=2))
            for model in models]
    assert [generated(program, tmp_path) for program in held] == ["text 3", "text 4"]
    assert len(list(tmp_path.iterdir())) == 4


def test_defines():
    program = mock.program()
    assert not accelerator_design(program, verilog="").sources["testbench.sv"].startswith("`define")
    program.hardware.streamed = program.hardware.spills_maps = True
    design = accelerator_design(program, verilog="", preload=True)
    text = design.sources["testbench.sv"]
    assert text.startswith("`define WEIGHT_PORT\n`define MAPS_PORT\n`define PRELOAD\n")
    assert set(design.sources) == {"accelerator.v", "testbench.sv", "axi_ram.sv"}
