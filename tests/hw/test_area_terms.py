# SPDX-License-Identifier: Apache-2.0
"""Structural terms of the units: there for every configuration, and where they belong."""

import pytest

from hw.accelerator import Accelerator, Images
from hw.area_terms import lutram, unit_terms
from hw.config import HardwareConfig
from hw.generate import share_modules
from hw.model import SHIPPED_MODEL, FixedPointModel

MODEL = FixedPointModel.load(SHIPPED_MODEL)


@pytest.mark.parametrize("options", [
    {}, {"port_bits": 64}, {"port_bits": 128, "spill_residual": True, "pairs": True}])
def test_terms_are_the_same_ones_whatever_the_hardware(options):
    wanted = unit_terms(HardwareConfig.for_model(MODEL, 32, 2))
    terms = unit_terms(HardwareConfig.for_model(MODEL, 16, 4, **options))
    assert {unit: set(each) for unit, each in terms.items()} == {
        unit: set(each) for unit, each in wanted.items()}
    assert all(value >= 0 for each in terms.values() for value in each.values())
    assert bool(terms["fetch"]["streamed"]) == ("port_bits" in options)
    assert bool(terms["spill"]["spills"]) == ("spill_residual" in options)


def test_units_are_those_of_the_design():
    """Every unit with terms is in the hierarchy; a renamed one would be fitted to nothing."""
    from amaranth.back import rtlil

    hardware = HardwareConfig.for_model(MODEL, 16, 2, port_bits=64, spill_residual=True)
    text = share_modules(rtlil.convert(Accelerator(hardware, Images([], [], [])), name="top",
                                       emit_src=False))
    modules = {line.split()[1].removeprefix("\\") for line in text.splitlines()
               if line.startswith("module ")}
    for unit in unit_terms(hardware):
        name = f"top.{unit}".removesuffix(".").replace("*", "0")
        assert name in modules or unit == "window", unit


def test_lutram():
    assert lutram(32, 6) == 4
    assert lutram(33, 6) == 8
    assert lutram(64, 3) == 4
    assert lutram(2, 12) == 8
