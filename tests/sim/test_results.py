# SPDX-License-Identifier: Apache-2.0
"""`python -m sim.results`: cases become rows, differences an exit status."""

from dataclasses import replace

import numpy as np
import pytest

from hw.model import Samples
from quantize import synthesize
from quantize.golden import GoldenModel
from sim import results
from sim.benches.models import SMALL, random_inputs, random_model
from sim.cases import Case, Source, Surroundings
from sim.result_rows import BEGIN, END, load
from sim.results import ensure, main
from sim.run import SimulationError, Simulator

OPTIONS = ("--lanes", "8", "--banks", "2", "--port-bits", "64")


@pytest.fixture
def docs(tmp_path, monkeypatch):
    """A page, and two cases of two networks on one hardware."""
    sources = []
    for name, network in (("small", SMALL), ("deep", replace(SMALL, depth=2, timesteps=2))):
        model = replace(random_model(network), provenance={"synthetic": {}})
        model.save(tmp_path / name, Samples(random_inputs(model, 1), np.array([1])))
        sources.append(Source(tmp_path / name, "make"))
    cases = (Case("both", tuple(sources), OPTIONS),
             Case("stalls", tuple(sources[:1]), OPTIONS, (Surroundings(), Surroundings(stalls=1))))
    monkeypatch.setattr(results, "CASES", {case.name: case for case in cases})
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "results.md").write_text(f"# Results\n\n{BEGIN}\n{END}\n")
    return tmp_path / "docs"


def run(docs, *words):
    return main([*words, "--docs", str(docs), "--journals", str(docs.parent / "journals")])


@pytest.mark.slow
def test_rows(docs, capsys):
    assert run(docs) == 0
    printed = capsys.readouterr().out
    assert "both deep: 0 mismatches in " in printed
    assert "stalls, latency 40, stalls seed 1: 0 mismatches in " in printed
    small, deep = load([docs / "results" / "both.json"])
    assert (small.network, deep.network) == ("small", "deep")
    assert small.hardware.split(";")[0] == deep.hardware.split(";")[0]
    assert small.on_chip_bits == deep.on_chip_bits and small.external_bytes < deep.external_bytes
    assert small.synthetic and small.build_seconds > 0 and not small.wrong
    usual, stalled = load([docs / "results" / "stalls.json"])
    assert usual.cycles != stalled.cycles
    assert (usual.acs, usual.values) == (stalled.acs, stalled.values) == (small.acs, small.values)
    page = (docs / "results.md").read_text()
    assert page.count("| `python -m sim.results both` | deep, synthetic |") == 2
    assert page.count("| `python -m sim.results stalls` | small, synthetic |") == 3
    # One case again replaces its own rows only.
    assert run(docs, "both", "--resume") == 0
    assert "resuming at layer head" in capsys.readouterr().out
    assert (docs / "results.md").read_text().count("sim.results stalls") == 3


def test_a_difference_is_status_1(docs, monkeypatch):
    golden = GoldenModel.results

    def wrong(self, image):
        for result in golden(self, image):
            if result.name == "block.0.attn.proj":
                result = replace(result, residual=result.residual + 1)
            yield result

    monkeypatch.setattr(GoldenModel, "results", wrong)
    assert run(docs, "both") == 1
    small = load([docs / "results" / "both.json"])[0]
    proj = next(layer for layer in small.layers if layer["name"] == "block.0.attn.proj")
    assert small.wrong == proj["wrong"] == SMALL.timesteps * SMALL.tokens * SMALL.embed_dim


def test_a_hang_is_status_1(docs, monkeypatch, capsys):
    def start(self, inputs, **options):
        raise SimulationError("the accelerator hangs")

    monkeypatch.setattr(Simulator, "start", start)
    assert run(docs) == 1
    assert capsys.readouterr().err == (
        "error: both: the accelerator hangs\nerror: stalls: the accelerator hangs\n")
    assert not (docs / "results").exists()


def test_bad_input(docs, capsys):
    assert run(docs, "none") == 2
    assert capsys.readouterr().err == "error: NAME must be one of both, stalls, not 'none'\n"
    (docs / "results.md").write_text("no markers")
    assert run(docs, "both") == 2
    assert "must hold the lines" in capsys.readouterr().err


def test_missing_networks(tmp_path, monkeypatch, capsys):
    with pytest.raises(ValueError, match=r"must hold a trained network, which `make it` makes$"):
        ensure(Source(tmp_path / "trained", "make it"))
    asked = []
    monkeypatch.setattr(synthesize, "main", lambda words: asked.append(words) or 0)
    ensure(Source(tmp_path / "random", ("name", "--seed", "1")))
    assert asked == [["name", "--seed", "1"]]
    monkeypatch.setattr(synthesize, "main", lambda words: 2)
    with pytest.raises(ValueError, match=r"must be made, which failed$"):
        ensure(Source(tmp_path / "random", ("name",)))
