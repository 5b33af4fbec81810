# SPDX-License-Identifier: Apache-2.0
"""`python -m sim`: what it prints, and its exit status."""

import re
from dataclasses import replace

import numpy as np
import pytest

from hw.model import Samples
from quantize.golden import GoldenModel
from sim.__main__ import main
from sim.benches.models import SMALL, random_inputs, random_model
from sim.run import SimulationError, Simulator

HARDWARE = ["--lanes", "8", "--banks", "2"]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    model = random_model(SMALL)
    path = tmp_path_factory.mktemp("models") / "model"
    model.save(path, Samples(random_inputs(model, 3), np.array([1, 0, 4])))
    return path


def test_equal(directory, capsys):
    assert main([str(directory), "--samples", "2", *HARDWARE]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^image 1: predicted \d, true label 0; [\d,]+ cycles in \d+\.\d s$", printed,
                     re.MULTILINE)
    assert re.search(r"^\d of 2 labels predicted$", printed, re.MULTILINE)
    assert re.search(r"^0 mismatches in [1-9]\d* values$", printed, re.MULTILINE)
    assert re.search(r"^head +[\d.]+% ", printed, re.MULTILINE)


def test_a_difference_is_named(directory, capsys, monkeypatch):
    golden_run = GoldenModel.run

    def run(self, inputs):
        results = golden_run(self, inputs)
        spikes = results[0][6].spikes.copy()
        spikes[2, 5, 1, 2] ^= True
        results[0][6] = replace(results[0][6], spikes=spikes)
        return results

    monkeypatch.setattr(GoldenModel, "run", run)
    assert main([str(directory), *HARDWARE]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"^1 mismatch in \d+ values\n  block\.0\.attn\.k: spike at timestep 2, token "
                     r"5 \(y 1, x 2\), channel 5 must be [01], not [01]$", printed, re.MULTILINE)


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["/nowhere"], "error: model directory must hold manifest.json, not '/nowhere'\n"),
    (["DIR", "--samples", "4"], "error: --samples must be at most 3, "),
    (["DIR", "--lanes", "6", "--banks", "4"], "error: banks must be at most spike_word 2, not 4\n"),
    (["DIR", "--image", "/no.png"], "error: image must be a file, not '/no.png'\n"),
])
def test_bad_input(directory, capsys, arguments, sentence):
    assert main([str(directory) if each == "DIR" else each for each in arguments]) == 2
    assert capsys.readouterr().err.startswith(sentence)


@pytest.mark.parametrize(("option", "value"), [("--lanes", "0"), ("--samples", "x"),
                                               ("--gaps", "-3")])
def test_bad_option(directory, capsys, option, value):
    assert main([str(directory), f"{option}={value}"]) == 2
    assert (f"error: argument {option}: must be a positive integer, not '{value}'"
            in capsys.readouterr().err)


def test_a_hang_is_status_1(directory, capsys, monkeypatch):
    def run(self, inputs, **options):
        raise SimulationError("the accelerator hangs")

    monkeypatch.setattr(Simulator, "run", run)
    assert main([str(directory), *HARDWARE]) == 1
    assert capsys.readouterr().err == "error: the accelerator hangs\n"
