# SPDX-License-Identifier: Apache-2.0
"""The pins of the Arty's DDR3 in the files for the tools, compared with Digilent's constraints."""

import re

import pytest
from amaranth import Module, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

import boards
from boards.ddr3 import Ddr3
from boards.ddr3_pads import Xilinx7Ddr3Pads
from boards.sdram import WRITE
from boards.top import build_plan
from hw import toolchains
from hw.faults import FAULTS
from hw.identity import Identity
from hw.readout import OUTPUT
from hw.toolchains.xilinx import pin_constraints

PINS = {"clk__p": "U9", "clk__n": "V9", "rst__io": "K6", "clk_en__io": "N5", "cs__io": "U8",
        "ras__io": "P3", "cas__io": "M4", "we__io": "P5", "odt__io": "R5", "ba__io[0]": "R1",
        "ba__io[2]": "P2", "a__io[0]": "R2", "a__io[13]": "T8", "dm__io[0]": "L1",
        "dm__io[1]": "U1", "dqs__p[0]": "N2", "dqs__n[0]": "N1", "dqs__p[1]": "U2",
        "dqs__n[1]": "V2", "dq__io[0]": "K5", "dq__io[7]": "M2", "dq__io[8]": "V4",
        "dq__io[15]": "R3"}


class Probe(wiring.Component):
    """In the accelerator's place: reads the memory, which the host writes, where a sample says."""

    def __init__(self):
        super().__init__({"i": In(stream.Signature(unsigned(16))),
                          "o": Out(stream.Signature(OUTPUT)), "writes": In(stream.Signature(WRITE)),
                          "loaded": Out(1), "bad_image": Out(1), "faults": Out(FAULTS),
                          "dead_memory": Out(1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.controller = controller = Ddr3(64, 50_000_000)
        m.submodules.pads = Xilinx7Ddr3Pads(controller.pins, ("ddr3", 0))
        wiring.connect(m, wiring.flipped(self.writes), controller.writes)
        ar, r = controller.axi.ar, controller.axi.r
        m.d.comb += [
            ar.valid.eq(self.i.valid), self.i.ready.eq(ar.ready),
            ar.payload.addr.eq(self.i.payload << 8), r.ready.eq(self.o.ready),
            self.o.valid.eq(r.valid), self.o.payload.data.eq(r.payload.data),
            self.o.payload.last.eq(1), self.loaded.eq(controller.ready),
            self.dead_memory.eq(controller.failed)]
        return m


def plan():
    board = boards.get("arty_a7")
    told = Identity(input_bits=16, samples=1, classes=1, layers=0, writable=True)
    return build_plan(board.with_memory(board.memory("ddr3")), Probe(), told)


@pytest.fixture(scope="module")
def files():
    return {name: text if isinstance(text, str) else text.decode()
            for name, text in plan().files.items()}


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


@pytest.mark.slow
def test_bitstream(tmp_path, monkeypatch):
    """Link, controller and pads, all the way with the open tools."""
    toolchain = toolchains.get("xilinx")
    if (missing := toolchain.missing()) is not None:
        pytest.skip(missing)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "build"
    plan().extract(folder)
    board = boards.get("arty_a7")
    timing = toolchain.build(folder, "top", board.part, board.sync_mhz, tmp_path / "cache")
    print(timing.text())
    assert timing.met and (folder / "top.bit").is_file()
    assert timing.utilization["OSERDESE2_OSERDESE2"][0] == 45
    assert timing.utilization["ISERDESE2_ISERDESE2"][0] == 16
    fasm = (folder / "top.fasm").read_text()
    assert "VREF.V_675_MV" in fasm and fasm.count("IN_TERM.UNTUNED_SPLIT_40") == 16
    assert fasm.count("OUT_DIFF") == 3
