# SPDX-License-Identifier: Apache-2.0
"""python -m hw.core: the synthesis of the accelerator alone, with yosys replaced."""

import pytest

from hw import core
from hw.report import SynthesisError


def statistics(cells):
    modules = {"\\accelerator": {"num_cells_by_type": {"\\accelerator.lane0": 2, "LUT6": 5}},
               "\\accelerator.lane0": {"num_cells_by_type": cells}}
    return {"rtl": {"modules": modules}, "netlist": {"modules": modules}}


def test_adds_up_all_modules(monkeypatch, capsys):
    seen = []

    def synthesize(verilog, top, cache):
        seen.append((verilog.read_text(), top))
        return statistics({"LUT4": 3, "$mul": 1})
    monkeypatch.setattr(core, "synthesize", synthesize)
    assert core.main(["--lanes", "32"]) == 0
    (verilog, top), = seen
    assert top == "accelerator" and "module accelerator(" in verilog
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("32 lanes x 2 banks of 2 ports")
    assert [line.split()[:2] for line in lines if line.startswith("accelerator")] == [
        ["accelerator", "11"]]
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
