# SPDX-License-Identifier: Apache-2.0
"""Gowin: what packs; tests/hw/test_pypi.py has its parts, tests/boards/test_tang_nano_20k.py a
bitstream."""

from hw.toolchains.gowin import Gowin


def test_packer():
    name, command = Gowin().packer("top", "GW2AR-LV18QN88C8/I7")
    assert name == "gowin_pack"
    assert command[-5:] == ["-d", "GW2A-18C", "-o", "top.fs", "top.placed.json"]


def test_timing_says_what_it_leaves_out():
    assert "second port of a block RAM" in Gowin().note
