# SPDX-License-Identifier: Apache-2.0
"""The area model: fit, file, and how far the shipped one is from synthesis."""

import json

import numpy as np
import pytest

from hw import area, area_samples
from hw.area import AreaModel, Sample, fit, shipped, table, unit_table
from hw.area_terms import unit_terms
from hw.config import HardwareConfig
from hw.model import SHIPPED_MODEL, FixedPointModel


def hardware(lanes, banks=2, **options):
    return HardwareConfig.for_model(FixedPointModel.load(SHIPPED_MODEL), lanes, banks, **options)


def made_up(config, held_out=False):
    """A sample that takes exactly two LUTs of each lane's adder tree, and one for each row bit."""
    terms = unit_terms(config)
    return Sample("made up", held_out, config, {
        "lanes.lane*": {"lut": 2 * terms["lanes.lane*"]["tree"], "ff": 0},
        "dispatch": {"lut": terms["dispatch"]["rows"], "ff": 7}}, 1)


def test_a_law_of_the_terms_is_found():
    samples = [made_up(hardware(lanes, banks)) for lanes in (16, 32, 64) for banks in (1, 2, 4)]
    model = fit([*samples, made_up(hardware(48, 4), held_out=True)])
    assert max(map(abs, model.errors("lut", held_out=False))) < 1e-3
    assert model.errors("lut") == pytest.approx([0], abs=1e-3)
    assert model.units(samples[0].hardware)["dispatch"]["ff"] == pytest.approx(7, rel=1e-3)
    assert min(factor for unit in model.coefficients.values() for terms in unit.values()
               for factor in terms.values()) >= 0
    assert "held out: 0.0 % mean error" in "\n".join(table(model))
    assert len(unit_table(model)) == len(model.coefficients)


def test_a_model_survives_its_file(tmp_path):
    model = fit([made_up(hardware(16)), made_up(hardware(32))])
    model.save(tmp_path / "area.json")
    again = AreaModel.load(tmp_path / "area.json")
    assert again.predict(hardware(48)) == model.predict(hardware(48))
    assert again.samples == model.samples


def test_coefficients_of_other_terms_are_refused(tmp_path):
    model = fit([made_up(hardware(16))])
    other = {"gather": {"lut": {"gone": 1.0}, "ff": {}}}
    AreaModel(other, model.samples).save(tmp_path / "area.json")
    with pytest.raises(ValueError, match=r"gather has no term .gone. any more$"):
        AreaModel.load(tmp_path / "area.json")


@pytest.mark.parametrize("content", [None, "{", "{}", json.dumps({"coefficients": {},
                                                                  "samples": [{}]})])
def test_a_wrong_file_is_one_sentence(content, tmp_path, capsys):
    path = tmp_path / "area.json"
    if content is not None:
        path.write_text(content)
    assert area.main(["check", "--model", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: area model must be a file of `python -m hw.area fit`, not ")
    assert error.count("\n") == 1


def test_the_shipped_model_is_close_to_synthesis(capsys):
    model = shipped()
    assert len(model.errors("lut")) >= 3
    for resource in ("lut", "ff"):
        for held_out in (False, True):
            assert np.mean(np.abs(model.errors(resource, held_out))) < 0.06
            assert np.max(np.abs(model.errors(resource, held_out))) < 0.12
    for each in model.samples:
        counted = model.predict(each.hardware).ramb36
        assert counted == pytest.approx(each.ramb36, rel=0.1), each.name
    assert area.main(["check", "--units"]) == 0
    assert "LUT * held out" in capsys.readouterr().out


def test_fit_synthesizes_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(area_samples, "synthesize_samples",
                        lambda: [made_up(hardware(16)), made_up(hardware(32), held_out=True)])
    assert area.main(["fit", "--model", str(tmp_path / "area.json")]) == 0
    assert AreaModel.load(tmp_path / "area.json").samples
    assert "made up *" in capsys.readouterr().out


def test_area_grows_with_every_slot():
    model = shipped()
    few, lanes, banks = (model.predict(hardware(*each)) for each in ((16, 2), (32, 2), (16, 4)))
    assert few.lut < lanes.lut and few.lut < banks.lut and few.ff < banks.ff
