# SPDX-License-Identifier: Apache-2.0
"""Open Xilinx tools: parts, round trip; a whole build where the tools are installed."""

import pytest

from boards.arty_a7 import arty_a7
from boards.top import build_plan
from hw.toolchains.toolchain import ToolError
from hw.toolchains.xilinx import (
    XilinxOpen,
    check_round_trip,
    pin_constraints,
    split_part,
)


@pytest.mark.parametrize("part, expected", [
    ("xc7a35ticsg324-1L", ("artix7", "xc7a50t", "xc7a35tcsg324-1")),
    ("xc7a100tcsg324-1", ("artix7", "xc7a100t", "xc7a100tcsg324-1")),
    ("xc7z020clg400-1", ("zynq7", "xc7z020", "xc7z020clg400-1"))])
def test_parts(part, expected):
    assert split_part(part) == expected


def test_other_parts():
    with pytest.raises(ValueError, match=r"^part must be one of 7 series, such as "
                                         r"xc7a35ticsg324-1L, not 'LFE5U-85F'$"):
        split_part("LFE5U-85F")


def test_pin_constraints():
    """As nextpnr takes them: of quoted values and escaped indices it would know nothing."""
    xdc = ('# comment\nset_property LOC A9 [get_ports "rx__io"]\n'
           'set_property IOSTANDARD "LVCMOS33" [get_ports "rx__io"]\n'
           'set_property LOC E5 [get_ports "rts__io"]\n'
           'set_property LOC K5 [get_ports "dq__io\\[11]"]\n'
           'set_property IN_TERM "UNTUNED_SPLIT_40" [get_ports "dq__io\\[11]"]\n'
           'create_clock -name clk -period 10.0 [get_nets "clk"]\n'
           '    set_property CFGBVS VCCO [current_design]\n')
    assert pin_constraints(xdc, {"rx__io": {}, "dq__io": {}}).splitlines() == [
        "set_property LOC A9 [get_ports {rx__io}]",
        "set_property IOSTANDARD LVCMOS33 [get_ports {rx__io}]",
        "set_property LOC K5 [get_ports {dq__io[11]}]",
        "set_property IN_TERM UNTUNED_SPLIT_40 [get_ports {dq__io[11]}]"]


def test_round_trip():
    words = [0] * 101
    words[3], words[50] = 5, 0x10FF    # the low 13 bits of word 50 are the code, not content
    check_round_trip({0x20: words}, "bit_00000020_003_00\nbit_00000020_003_02\n"
                                    "bit_00000020_050_11\n")
    with pytest.raises(ToolError, match=r"^the bitstream must hold the frames it was made of, but "
                                        r"1 bits differ$"):
        check_round_trip({0x20: words}, "bit_00000020_003_00\n")


def test_without_tools(tmp_path, monkeypatch):
    monkeypatch.setattr("hw.toolchains.xilinx.find_tools", lambda: None)
    message = "nextpnr and prjxray for Xilinx are not there: make tools-xilinx unpacks them"
    assert XilinxOpen().missing() == message
    with pytest.raises(ToolError, match=message):
        XilinxOpen().build(tmp_path, "top", arty_a7.part, 50, tmp_path)


@pytest.mark.slow
def test_bitstream(tmp_path, monkeypatch):
    """A board with a core of a few cells, all the way; needs make tools-xilinx."""
    if XilinxOpen().missing():
        pytest.skip("the open Xilinx tools are not there")
    from tests.boards.test_ulx3s import ECHO, Echo

    monkeypatch.chdir(tmp_path)
    build_plan(arty_a7, Echo(), ECHO).extract(tmp_path / "build")
    timing = XilinxOpen().build(tmp_path / "build", "top", arty_a7.part, arty_a7.sync_mhz,
                                tmp_path / "cache")
    assert timing.met and timing.utilization["SLICE_FFX"][0] > 100
    assert (tmp_path / "build" / "top.bit").stat().st_size > 1_000_000
