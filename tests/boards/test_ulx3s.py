# SPDX-License-Identifier: Apache-2.0
"""ULX3S: data, pins of its schematic, and a small design all the way to a bitstream."""

import json

import pytest
from amaranth import Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from boards.top import build_plan
from boards.ulx3s import ulx3s_85f
from hw import build, build_report, toolchains
from hw.diagram import owners
from hw.identity import Identity
from hw.readout import OUTPUT

ECHO = Identity(input_bits=8, samples=1, classes=1, layers=0)


class Echo(wiring.Component):
    """Stands in for the accelerator: answers each sample with its running sum."""

    def __init__(self):
        super().__init__({"i": In(stream.Signature(unsigned(8))),
                          "o": Out(stream.Signature(OUTPUT))})

    def elaborate(self, platform):
        m = Module()
        total, full = Signal(24), Signal()
        m.d.comb += [self.i.ready.eq(~full), self.o.valid.eq(full),
                     self.o.payload.data.eq(total), self.o.payload.last.eq(1)]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [total.eq(total + self.i.payload), full.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += full.eq(0)
        return m


def test_platform_agrees():
    platform = ulx3s_85f.platform()
    assert platform.default_clk_frequency == ulx3s_85f.oscillator_hz
    assert platform.device == "LFE5U-85F" and ulx3s_85f.part.startswith("LFE5U-85F-6BG381")


def test_resources_of_the_data_sheet():
    """FPGA-DS-02012: 84 thousand LUTs, 208 blocks of 18 Kbit, 156 multipliers."""
    assert ulx3s_85f.resources.lut // 1000 == 83 and ulx3s_85f.resources.dsp == 156
    assert ulx3s_85f.ram_bits == 208 * 18 * 1024


def test_pins():
    lines = build_plan(ulx3s_85f, Echo(), ECHO).files["top.lpf"].splitlines()
    pins = {line.split('"')[1]: line.split('"')[3] for line in lines if line.startswith("LOCATE")}
    expected = {"clk25_0__io": "G2", "uart_0__rx__io": "M1", "uart_0__tx__io": "L4",
                "led_0__io": "B2", "led_1__io": "C2", "led_2__io": "C1"}
    assert pins.items() >= expected.items()


def test_bitstream(tmp_path, monkeypatch):
    """The PLL, the link and the pins, with a core of a few cells: yosys, nextpnr, ecppack."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "build"
    build_plan(ulx3s_85f, Echo(), ECHO).extract(folder)
    toolchain = toolchains.get("ecp5")
    assert toolchain.missing() is None
    timing = toolchain.build(folder, "top", ulx3s_85f.part, ulx3s_85f.sync_mhz, tmp_path / "cache")
    assert timing.met and timing.fmax_mhz > 50
    assert timing.utilization["EHXPLLL"] == (1, 4)
    assert timing.utilization["TRELLIS_FF"][0] > 100   # not optimised away
    assert any(step.module.startswith("system") for step in timing.path)
    bits = (folder / "top.bit").read_bytes()
    # The preamble of an ECP5's bitstream, and its identification code.
    assert b"\xff\xff\xbd\xb3" in bits[:200] and bytes.fromhex("41113043") in bits[:400]
    placed = json.loads((folder / "floorplan.json").read_text())["modules"]
    build_report.draw_floorplan(folder, "an echo")
    picture = (folder / "floorplan.svg").read_text()
    tiles = owners(placed)
    assert any(unit.startswith("system") for unit in tiles)
    for unit, places in tiles.items():
        assert f">{unit} ({len(places)})<" in picture


@pytest.mark.slow
def test_the_shipped_network_meets_its_clock(tmp_path, monkeypatch, capsys):
    assert build.main(["--board", "ulx3s_85f", "--bitstream", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "top.bit").is_file()
    assert "openFPGALoader -b ulx3s" in capsys.readouterr().out
