# SPDX-License-Identifier: Apache-2.0
"""The functions for notebooks: what they take and what they refuse; docs/tour.ipynb uses all."""

import inspect
import typing

import numpy as np
import pytest

from hw.model import Samples
from sim import api
from sim.benches.models import SMALL, random_inputs, random_model

HARDWARE = {"lanes": 8, "banks": 2}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    model = random_model(SMALL)
    path = tmp_path_factory.mktemp("models") / "model"
    model.save(path, Samples(random_inputs(model, 2), np.array([1, 0])))
    return path


@pytest.mark.parametrize("name", ["load", "quantize", "build", "simulate", "report"])
def test_typed_and_documented(name):
    function = getattr(api, name)
    hints = typing.get_type_hints(function)
    assert set(hints) == {*inspect.signature(function).parameters, "return"}
    assert "ValueError" in function.__doc__ or name in ("build", "simulate", "report")
    assert len(function.__doc__.splitlines()) > 3


def test_simulate_and_report(directory, tmp_path):
    stored = api.simulate(directory, samples=2, **HARDWARE)
    given = api.simulate(str(directory), random_inputs(random_model(SMALL), 2), latency=7,
                         **HARDWARE)
    assert stored.comparison.equal and given.comparison.equal
    assert stored.inputs.labels == (1, 0) and given.inputs.labels == (None, None)
    assert stored.inferences[1].cycles == given.inferences[1].cycles
    page = api.report(stored, directory, tmp_path / "page.html")
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_what_is_refused(directory, tmp_path):
    with pytest.raises(ValueError, match=r"option of the hardware must be one of .*, not 'lane'"):
        api.simulate(directory, lane=8)
    with pytest.raises(ValueError, match="--samples must be at most 2"):
        api.simulate(directory, samples=3, **HARDWARE)
    with pytest.raises(ValueError, match=r"board must be one of .*, not 'toaster'"):
        api.build(directory, "toaster")
    with pytest.raises(ValueError, match="--bitstream needs synthesis"):
        api.build(directory, "arty_a7", tmp_path / "out", synthesis=False, bitstream=True)
    assert not (tmp_path / "out").exists()
