# SPDX-License-Identifier: Apache-2.0
"""Sample configurations of the area model, with yosys replaced."""

import pytest

from hw import area_samples
from hw.area_samples import CASES, case, own_usage, sample
from hw.area_terms import unit_terms
from hw.families import Usage


@pytest.mark.parametrize("each", CASES, ids=lambda each: each.name)
def test_every_case_compiles(each):
    hardware = each.program().hardware
    assert hardware.weight_bits == each.weight_bits
    assert all(getattr(hardware, name) == value for name, value in each.changes.items())


def test_enough_cases_are_held_out():
    held = [each for each in CASES if each.held_out]
    assert len(held) >= 3 and len(CASES) - len(held) >= 10
    assert len({each.name for each in CASES}) == len(CASES)


def test_usage_of_units_without_those_below():
    modules = {"accelerator": Usage(lut=100, ff=50), "accelerator.lanes": Usage(lut=60, ff=40),
               "accelerator.lanes.lane*": Usage(lut=45, ff=40),
               "accelerator.lanes.banks": Usage(lut=5)}
    assert own_usage(modules, ["", "lanes", "lanes.lane*", "fetch"]) == {
        "": {"lut": 40, "ff": 10}, "lanes": {"lut": 15, "ff": 0},
        "lanes.lane*": {"lut": 45, "ff": 40}}


def test_a_sample_is_the_synthesis_of_its_case(monkeypatch):
    modules = {"\\accelerator": {"num_cells_by_type": {"\\accelerator.gather": 1, "LUT6": 5}},
               "\\accelerator.gather": {"num_cells_by_type": {"LUT4": 3, "RAMB18E1": 1}}}
    seen = []

    def core_statistics(verilog):
        seen.append(verilog)
        return {"netlist": {"modules": modules}}
    monkeypatch.setattr(area_samples, "core_statistics", core_statistics)
    one = sample(case("digits", lanes=8, banks=1, held_out=True))
    assert one.held_out and one.name == "digits lanes 8 banks 1"
    assert one.units["gather"] == {"lut": 3, "ff": 0} and one.units[""]["lut"] == 5
    assert one.total("lut") == 8 and one.ramb36 == 0.5
    assert "module accelerator(" in seen[0]
    assert set(one.units) <= set(unit_terms(one.hardware))
