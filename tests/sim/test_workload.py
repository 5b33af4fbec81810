# SPDX-License-Identifier: Apache-2.0
"""A workload is generated, simulated and counted; what yosys maps is replaced, as it takes long."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest

from hw.model import Samples
from hw.report import SynthesisError
from quantize.golden import GoldenModel
from sim import workload
from sim.benches.models import SMALL, random_inputs, random_model
from sim.cases import Case, Source
from sim.metrics import Synthesis, check, metrics
from sim.workload import commit, measure, synthesize

NETLIST = {"modules": {"\\accelerator": {"num_cells_by_type": {
    "LUT6": 7, "SRL16E": 2, "FDRE": 3, "RAMB18E1": 1}}}}


@pytest.fixture
def case(tmp_path):
    model = replace(random_model(SMALL), provenance={"synthetic": {}})
    model.save(tmp_path / "small", Samples(random_inputs(model, 1), np.array([1])))
    return Case("small", (Source(tmp_path / "small", "make it"),),
                ("--lanes", "8", "--banks", "2", "--port-bits", "64"), tool="sim.bench")


def test_figures(case, tmp_path):
    """Everything real but the mapping: adders are counted in the generated text."""
    result = measure(case, False, tmp_path / "journals")
    assert check(result) == [] and result.row.wrong == 0
    golden = list(GoldenModel(random_model(SMALL)).results(
        Samples.load(case.sources[0].directory).inputs[0]))
    assert [layer.useful for layer in result.layers] == [layer.acs for layer in golden]
    assert result.executed == result.useful   # nothing is reused here
    found = metrics(result)
    assert found["counted"] == found["adders"] == 32
    assert found["multipliers"] == 0 and "lut" not in found
    assert found["deviation"] < 0.02
    assert 0 < found["use"] < 1 and found["simulator_speed"] > 0
    assert result.row.command == "python -m sim.bench small"


def test_a_wrong_count_is_told(case, tmp_path, monkeypatch):
    lane = {"modules": {"\\accelerator": {"num_cells_by_type": {"\\a.lanes.lane0": 8}},
                        "\\a.lanes.lane0": {"num_cells_by_type": {"$add": 3}}}}
    monkeypatch.setattr(workload, "core_statistics", lambda verilog, mapped: {"rtl": lane})
    assert check(measure(case, False, tmp_path / "journals")) == [
        "small: the lanes must have 32 adders, not 24"]


def test_mapped(monkeypatch):
    rtl = {"modules": {"\\accelerator": {"num_cells_by_type": {"$mul": 1}}}}
    asked = []

    def core_statistics(verilog, mapped):
        asked.append((verilog, mapped))
        return {"rtl": rtl, "netlist": NETLIST, "seconds": 5.0}
    monkeypatch.setattr(workload, "core_statistics", core_statistics)
    assert synthesize("text", True) == Synthesis(0, 1, 9, 3, 0.5, 0, 5.0)
    assert asked == [("text", True)]

    def fails(*_):
        raise SynthesisError("yosys failed")
    monkeypatch.setattr(workload, "core_statistics", fails)
    with pytest.raises(SynthesisError, match="yosys failed"):
        synthesize("text", True)


def test_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for words in (["init", "-q"], ["config", "user.email", "a@b"], ["config", "user.name", "a"]):
        subprocess.run(["git", *words], check=True)
    assert commit() == "unknown"
    (tmp_path / "file").write_text("1")
    for words in (["add", "file"], ["commit", "-qm", "file"]):
        subprocess.run(["git", *words], check=True)
    name = commit()
    assert len(name) >= 7 and "+" not in name
    (tmp_path / "file").write_text("2")
    assert commit() == f"{name}+"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert commit() == "unknown"
