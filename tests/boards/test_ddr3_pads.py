# SPDX-License-Identifier: Apache-2.0
"""The pins of the Arty's DDR3 in the files for the tools, compared with Digilent's constraints."""

import re

import pytest

import boards
from boards.ddr3 import Ddr3
from boards.ddr3_pads import Xilinx7Ddr3Pads
from boards.top import build_plan
from hw.toolchains.xilinx import pin_constraints
from tests.boards.stand_in import StandIn, identity

PINS = {"clk__p": "U9", "clk__n": "V9", "rst__io": "K6", "clk_en__io": "N5", "cs__io": "U8",
        "ras__io": "P3", "cas__io": "M4", "we__io": "P5", "odt__io": "R5", "ba__io[0]": "R1",
        "ba__io[2]": "P2", "a__io[0]": "R2", "a__io[13]": "T8", "dm__io[0]": "L1",
        "dm__io[1]": "U1", "dqs__p[0]": "N2", "dqs__n[0]": "N1", "dqs__p[1]": "U2",
        "dqs__n[1]": "V2", "dq__io[0]": "K5", "dq__io[7]": "M2", "dq__io[8]": "V4",
        "dq__io[15]": "R3"}


class Core(StandIn):
    """With a controller beside it, which nobody asks for anything."""

    def elaborate(self, platform):
        m = super().elaborate(platform)
        m.submodules.controller = controller = Ddr3(64, 50_000_000)
        m.submodules.pads = Xilinx7Ddr3Pads(controller.pins, ("ddr3", 0))
        return m


@pytest.fixture(scope="module")
def files():
    board = boards.get("arty_a7")
    plan = build_plan(board.with_memory(board.memory("ddr3")), Core(8, 3), identity(8, 3))
    return {name: text if isinstance(text, str) else text.decode()
            for name, text in plan.files.items()}


def test_pins_and_their_levels(files):
    ports = set(re.findall(r'get_ports "(ddr3_0__\w+)', files["top.xdc"]))
    lines = pin_constraints(files["top.xdc"], ports)
    pins = dict(re.findall(r"LOC (\w+) \[get_ports \{ddr3_0__(.*)\}\]", lines)[::1])
    places = {port: pin for pin, port in pins.items()}
    assert places.items() >= PINS.items()
    assert len(places) == 2 + 6 + 1 + 3 + 14 + 2 + 4 + 16
    kinds = dict(re.findall(r"IOSTANDARD (\w+) \[get_ports \{ddr3_0__(.*)\}\]", lines)[::1])
    assert set(kinds) == {"SSTL135", "DIFF_SSTL135"}
    assert lines.count("IN_TERM UNTUNED_SPLIT_40") == 16
    assert "INTERNAL_VREF 0.675 [get_iobanks 34]" in files["top.xdc"]


def test_every_pin_has_its_serdes(files):
    source = files["top.v"]
    count = {kind: len(re.findall(rf"^ *{kind} ", source, re.M)) for kind in (
        "OSERDESE2", "ISERDESE2", "IOBUF", "OBUFTDS", "OBUFDS", "PLLE2_ADV")}
    assert count == {"OSERDESE2": 1 + 26 + 2 + 16, "ISERDESE2": 16, "IOBUF": 16, "OBUFTDS": 2,
                     "OBUFDS": 1, "PLLE2_ADV": 1}
    # Between a SERDES and its pin there must be nothing.
    for name in ("OSERDESE2", "ISERDESE2"):
        pins = re.findall(rf"{name} #\(.*?\);", source, re.S)
        assert all(re.search(r"\.(?:OQ|D)\(\\?[\w.\$ ]+(?:\[\d+\])? ?\)", each) for each in pins)
