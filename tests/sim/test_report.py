# SPDX-License-Identifier: Apache-2.0
"""`python -m sim.report`: the page it writes, and what it says of bad input."""

import json
from pathlib import Path

import numpy as np
import pytest

from hw.model import WEIGHTS, Samples, sha256
from sim.benches.models import SMALL, random_inputs, random_model
from sim.report import find_build, find_explored, main, of_checkpoint
from tests.sim.html_report.small import BUILD, EXPLORED

HARDWARE = ["--lanes", "8", "--banks", "2"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    model = random_model(SMALL)
    path = tmp_path_factory.mktemp("models") / "model"
    model.save(path, Samples(random_inputs(model, 1), np.array([1])))
    return path


def built(folder, weights, build=BUILD):
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps(
        {name: value for name, value in build.items() if name != "floorplan"}))
    (folder / "floorplan.json").write_text(json.dumps({"modules": BUILD["floorplan"]}))
    (folder / "manifest.json").write_text(json.dumps({"inputs": {WEIGHTS: weights}}))
    return folder


def test_page(directory, tmp_path, capsys):
    folder = built(tmp_path / "arty_a7", sha256(directory / WEIGHTS))
    (tmp_path / "points.json").write_text(json.dumps(EXPLORED))
    out = tmp_path / "new" / "page.html"
    assert main([str(directory), *HARDWARE, "--build", str(folder), "--explored",
                 str(tmp_path / "points.json"), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "\n0 mismatches in " in f"\n{printed}" and printed.endswith(f"wrote {out}\n")
    text = out.read_text()
    assert text.startswith("<!DOCTYPE html>") and text.rstrip().endswith("</html>")
    assert "figure-front" in text and "figure-resources" in text
    assert "figure-floorplan" in text
    assert [each.name for each in out.parent.iterdir()] == ["page.html"]


def test_the_build_of_these_weights_is_found(directory, tmp_path):
    assert find_build(directory, tmp_path) is None
    built(tmp_path / "other", "0" * 64)
    built(tmp_path / "asic", sha256(directory / WEIGHTS), {"cells": 3})
    assert find_build(directory, tmp_path) is None
    mine = built(tmp_path / "mine", sha256(directory / WEIGHTS))
    assert find_build(directory, tmp_path) == mine


def test_points_are_found_by_name_and_board(tmp_path):
    (tmp_path / "net-one.json").write_text("{}")
    assert find_explored("net", "two", tmp_path) is None
    assert find_explored("net", None, tmp_path) == tmp_path / "net-one.json"
    assert find_explored("net", "one", tmp_path) == tmp_path / "net-one.json"


def test_checkpoint_of_another_network():
    with pytest.raises(ValueError, match=r"^--checkpoint must be of the model's network, with "
                                         r"embed_dim 32, not 64$"):
        of_checkpoint(Path("quantize/checkpoints/digits.safetensors"), SMALL)


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["/nowhere"], "error: model directory must hold manifest.json, not '/nowhere'\n"),
    (["DIR", "--build", "/nowhere"], "error: '/nowhere/report.json' cannot be used: no such file"),
    (["DIR", "--checkpoint", "/nowhere.pth"], "error: "),
    (["DIR", "--image", "/no.png"], "error: image must be a file, not '/no.png'\n"),
])
def test_bad_input(directory, tmp_path, capsys, arguments, sentence):
    out = tmp_path / "page.html"
    assert main([str(directory) if each == "DIR" else each for each in arguments]
                + [*HARDWARE, "--out", str(out)]) == 2
    assert capsys.readouterr().err.startswith(sentence)
    assert not out.exists()
