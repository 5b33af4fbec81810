# SPDX-License-Identifier: Apache-2.0
"""python -m sim.coverage: parts alone, files, exit status."""

import json

import pytest

from sim.coverage import __main__ as module
from sim.coverage.__main__ import main
from sim.coverage.functional import DIMENSIONS
from sim.coverage.points import Reached
from sim.coverage.verilog import Simulated
from sim.draw import draw
from sim.run import SimulationError

FACT = {name: values[0] for name, values in DIMENSIONS.items()}


def verdicts(path, **changes):
    path.write_text(json.dumps([{"wrong": 0, "shown": [], "facts": [FACT]} | changes]))
    return str(path)


def test_functional_from_verdicts(tmp_path, capsys):
    out = tmp_path / "out"
    file = verdicts(tmp_path / "v.json")
    assert main(["--functional", "--verdicts", file, "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert list(report) == ["functional"]
    assert all(each["hit"] <= 1 for each in report["functional"])
    assert sum(each["hit"] for each in report["functional"]) > 5
    assert capsys.readouterr().out.startswith((out / "report.txt").read_text())


def test_planned(tmp_path):
    assert main(["--functional", "--planned", "--only", "17", "--out", str(tmp_path)]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert [each["hit"] > 0 for each in report["functional"]] == [True] * 7
    assert not any("silent" in each["cross"] for each in report["functional"])


def test_what_did_not_pass_counts_for_nothing(tmp_path):
    out = tmp_path / "out"
    file = verdicts(tmp_path / "v.json", wrong=1)
    assert main(["--functional", "--verdicts", file, "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    assert not any(each["hit"] for each in report["functional"])


@pytest.mark.parametrize("text", ["nonsense", "[1]", '[{"wrong": 0, "shown": []}]',
                                  '[{"wrong": 0, "shown": [], "facts": [{"tau": "2"}]}]'])
def test_other_files(text, tmp_path, capsys):
    file = tmp_path / "v.json"
    file.write_text(text)
    assert main(["--functional", "--verdicts", str(file), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == ("error: verdicts must be what `python -m sim.verify --out` "
                                       f"wrote, which {str(file)!r} is not\n")


def test_verilog_alone(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(module, "simulate", lambda *arguments: asked.append(arguments) or
                        Simulated(Reached(), [FACT], [2], 5))
    assert main(["--verilog", "--only", "2", "--values", "7", "--out", str(tmp_path)]) == 0
    assert main(["--verilog", "--seed", "4", "--out", str(tmp_path)]) == 0
    assert asked == [(0, [2], 7), (4, list(module.COMBINATIONS), 20_000)]
    assert "0 of 0" in capsys.readouterr().out


def test_accelerators_whose_statements_are_counted_have_what_they_are_chosen_for():
    full, engines = (draw(0, number).program for number in (48, 95))
    network = full.model.network
    assert network.embed_dim // network.num_heads == full.hardware.attention_lanes == 16
    assert full.hardware.attention_engines == 1
    # A head, padded, in each of the engines.
    assert engines.model.network.num_heads == engines.hardware.attention_engines == 4
    assert {48, 95} < set(module.COMBINATIONS)


def test_failures(tmp_path, monkeypatch, capsys):
    def wrong(*_):
        raise SimulationError("combination 2 of seed 0 must compute, but did not")

    monkeypatch.setattr(module, "simulate", wrong)
    assert main(["--verilog", "--out", str(tmp_path)]) == 1
    monkeypatch.setattr(module, "run_tests", lambda arguments, folder, workers: False)
    monkeypatch.setattr(module, "read_shares", lambda path: [])
    assert main(["--python", "--out", str(tmp_path), "--pytest", "-k", "x"]) == 1
    assert main(["--verilog", "--only", "-1", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: combination 2 of seed 0 must compute, but did not",
        "error: --seed and --only must not be negative, not -1"]
