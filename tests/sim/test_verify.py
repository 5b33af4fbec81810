# SPDX-License-Identifier: Apache-2.0
"""python -m sim.verify: a few combinations in earnest, its words and its errors."""

import json
import re
from concurrent.futures import Future

import numpy as np
import pytest

from sim import verify as module
from sim.benches.models import SMALL, random_model
from sim.draw import DIMENSIONS, dealt
from sim.verify import Verdict, crosses, hostile_inputs, main, summary, verify


@pytest.mark.parametrize("number", [12, pytest.param(17, marks=pytest.mark.slow)])
def test_combinations(number, tmp_path):
    verdict = verify(0, number, 20_000)
    assert verdict.passed, verdict.shown
    assert verdict.values >= 20_000 and verdict.layers == verdict.exact > 12


@pytest.mark.slow
def test_a_threshold_that_must_be_exceeded_is_found():
    def broken(verilog):
        return re.sub(r"(module \\accelerator\.finish\.lif .*?\$signed\(\S+ \)) >= ", r"\1 > ",
                      verilog, count=1, flags=re.DOTALL)

    verdict = verify(0, 17, 20_000, change=broken)
    assert not verdict.passed and verdict.wrong
    assert any(re.search(r"spike at timestep \d+, token \d+ .*, channel \d+ must be 1, not 0", line)
               for line in verdict.shown)


def test_inputs():
    model = random_model(SMALL)
    inputs = hostile_inputs(model, 7, 1)
    assert inputs.shape == (7, 2, 6, 5)
    assert not inputs[1].any() and (inputs[2] == model.input.maximum).all()
    assert (inputs[3] == model.input.minimum).all() and np.count_nonzero(inputs[5]) == 1
    assert len(np.unique(inputs[6])) > 2 and len(np.unique(inputs[0])) > 2
    assert (hostile_inputs(model, 7, 1) == inputs).all()
    assert len(np.unique(hostile_inputs(model, 1, 1))) > 2


def verdict_of(number, **values):
    chosen = {name: str(value) for name, value in dealt(0, number).items()}
    return Verdict(0, number, f"network {number}", chosen,
                   **{"inferences": 2, "values": 100, "layers": 13, "exact": 13} | values)


def test_summary():
    lines = summary([verdict_of(0, wrong=2, shown=["a: spike must be 1, not 0"]), verdict_of(1)])
    assert lines == [
        "1 of 2 combinations passed", "2 mismatches in 200 values of 4 inferences",
        "cycles of 26 of 26 layers as predicted", lines[3],
        "network 0; again: python -m sim.verify --seed 0 --only 0", "  a: spike must be 1, not 0"]
    met, possible = crosses([verdict_of(n).chosen for n in range(200)])
    assert 0.9 * possible < met <= possible
    assert crosses([verdict_of(0).chosen])[0] == len(DIMENSIONS) * (len(DIMENSIONS) - 1) // 2
    assert not verdict_of(0, values=0).passed and verdict_of(0).passed


class Pool:
    """Does the work at once."""

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture
def instead(monkeypatch):
    """Replace the work: what was asked for is in the list."""
    asked = []

    def work(seed, number, values):
        asked.append((seed, number, values))
        return verdict_of(number, wrong=int(number == 13), shown=["x"] * (number == 13))

    monkeypatch.setattr(module, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(module, "verify", work)
    return asked


def test_command(instead, tmp_path, capsys):
    target = tmp_path / "verdicts.json"
    assert main(["--count", "3", "--values", "10", "--out", str(target)]) == 0
    assert instead == [(0, 0, 10), (0, 1, 10), (0, 2, 10)]
    assert [each["number"] for each in json.loads(target.read_text())] == [0, 1, 2]
    assert "3 of 3 combinations passed" in capsys.readouterr().out
    assert main(["--only", "12", "13", "--seed", "5"]) == 1
    out = capsys.readouterr().out
    assert "  13 FAILED" in out and "again: python -m sim.verify --seed 0 --only 13" in out


def test_bad_input(instead, capsys):
    assert main(["--only", "-1"]) == 2
    assert capsys.readouterr().err == "error: --seed and --only must not be negative, not -1\n"


def test_dask_that_is_missing(instead, monkeypatch, capsys):
    monkeypatch.setitem(module.sys.modules, "distributed", None)
    assert main(["--scheduler", "tcp://127.0.0.1:1"]) == 2
    assert capsys.readouterr().err == (
        "error: --scheduler needs Dask: pip install 'spikeloom[cluster]'\n")


@pytest.mark.slow
def test_dask(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None,
                                  local_directory=str(tmp_path)) as cluster:
        assert main(["--only", "12", "--values", "100", "--scheduler",
                     cluster.scheduler_address]) == 0
