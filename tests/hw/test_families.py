# SPDX-License-Identifier: Apache-2.0
"""Cells of the families."""

import pytest

from hw.families import ECP5, GOWIN, ICE40, XC7, Usage


@pytest.mark.parametrize("family, kind, usage", [
    (XC7, "LUT5", Usage(lut=1)), (XC7, "RAMB18E1", Usage(ram=0.5)), (XC7, "BUFG", Usage()),
    (ECP5, "LUT4", Usage(lut=1)), (ECP5, "CCU2C", Usage(lut=2, carry=1)),
    (ECP5, "TRELLIS_DPR16X4", Usage(lut=6)), (ECP5, "DP16KD", Usage(ram=1)),
    (ECP5, "MULT18X18D", Usage(dsp=1)), (ECP5, "PFUMX", Usage()),
    (GOWIN, "LUT3", Usage(lut=1)), (GOWIN, "MUX2_LUT5", Usage()),
    (GOWIN, "ALU", Usage(lut=1, carry=1)), (GOWIN, "DFFRE", Usage(ff=1)),
    (GOWIN, "DPX9B", Usage(ram=1)), (GOWIN, "SDPB", Usage(ram=1)), (GOWIN, "SP", Usage(ram=1)),
    (GOWIN, "RAM16SDP4", Usage(lut=8)), (GOWIN, "MULT18X18", Usage(dsp=1)),
    (GOWIN, "IBUF", Usage()), (ICE40, "SB_LUT4", Usage(lut=1)),
    (ICE40, "SB_CARRY", Usage(carry=1)), (ICE40, "SB_DFFESR", Usage(ff=1)),
    (ICE40, "SB_RAM40_4KNR", Usage(ram=1)), (ICE40, "SB_MAC16", Usage(dsp=1))])
def test_usage(family, kind, usage):
    assert family.usage(kind) == usage
    assert family.usage(kind, 4) == usage + usage + usage + usage


def test_labels_are_those_of_the_vendor():
    assert [ECP5.label(name) for name in ("lut", "ff", "ram")] == ["LUT4", "FF", "DP16KD"]
    assert [XC7.label(name) for name in ("lut", "ff", "ram")] == ["LUT", "FF", "RAMB36"]


def test_scripts_keep_the_hierarchy():
    assert ECP5.script("top") == "synth_ecp5 -noflatten -top top"
    assert "flatten" not in XC7.script("top")
    assert "-noflatten -top top" in GOWIN.script("top")
    assert "-noflatten" not in ICE40.script("top")   # where every cell counts
