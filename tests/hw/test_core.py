# SPDX-License-Identifier: Apache-2.0
"""python -m hw.core: the synthesis of the accelerator alone, with yosys replaced."""

from dataclasses import replace

import pytest

from hw import core
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.generate import accelerator_verilog
from hw.network import NetworkConfig
from hw.report import SynthesisError
from tests.hw.reference import random_model


def statistics(cells):
    lane = "\\accelerator.lanes.lane0"
    modules = {"\\accelerator": {"num_cells_by_type": {lane: 2, "LUT6": 5, "$add": 1}},
               lane: {"num_cells_by_type": cells}}
    return {"rtl": {"modules": modules}, "netlist": {"modules": modules}}


def test_adds_up_all_modules(monkeypatch, capsys):
    seen = []

    def synthesize(verilog, top, cache, mapped):
        seen.append((verilog.read_text(), top))
        return statistics({"LUT4": 3, "$mul": 1, "$add": 4})
    monkeypatch.setattr(core, "synthesize", synthesize)
    assert core.main(["--lanes", "32"]) == 0
    (verilog, top), = seen
    assert top == "accelerator" and "module accelerator(" in verilog
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("32 lanes x 2 banks of 2 ports")
    assert [line.split()[:2] for line in lines if line.startswith("accelerator")] == [
        ["accelerator", "11"]]
    assert lines[-2] == "adders in the lanes: 8"
    assert lines[-1] == "cells that multiply or divide: 1"


@pytest.mark.parametrize(("argv", "message"), [
    (["nowhere"], "nowhere"), (["--lanes", "3"], "must"), (["--spill-residual"], "--port-bits")])
def test_bad_input_is_one_sentence(argv, message, capsys):
    assert core.main(argv) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and message in error


def test_a_failed_synthesis_is_told(monkeypatch, capsys):
    def synthesize(*_):
        raise SynthesisError("yosys failed:\nERROR: no")
    monkeypatch.setattr(core, "synthesize", synthesize)
    assert core.main([]) == 1
    assert "ERROR: no" in capsys.readouterr().err


def test_adders_of_generated_hardware(tmp_path):
    """Counted in what is generated, without mapping it to a device."""
    model, _ = random_model(NetworkConfig(8, 1, 1, 2, 1, 3, 3, 2, pool_stages=(False,) * 4,
                                          mlp_ratio=1.0))
    for banks, ports in ((2, 2), (1, 1)):
        hardware = HardwareConfig.for_model(model, 8, banks, neurons=4)
        geometry = replace(hardware.geometry, ports=ports)
        program = compile_model(model, replace(hardware, geometry=geometry))
        found = core.core_statistics(accelerator_verilog(program), False, tmp_path)
        assert core.adders(found["rtl"]) == 8 * banks * ports
        assert "netlist" not in found
