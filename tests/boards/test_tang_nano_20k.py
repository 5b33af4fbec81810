# SPDX-License-Identifier: Apache-2.0
"""Tang Nano 20K: data, pins of its schematic, and a small design all the way to a bitstream."""

import pytest

from boards.tang_nano_20k import tang_nano_20k
from boards.top import build_plan
from hw import build, toolchains
from hw.config import HardwareConfig
from hw.model import FixedPointModel
from tests.boards.test_ulx3s import ECHO, Echo


def test_platform_agrees():
    platform = tang_nano_20k.platform()
    assert platform.default_clk_frequency == tang_nano_20k.oscillator_hz
    assert platform.part == tang_nano_20k.part
    assert (platform.series, platform.size, platform.speed) == ("GW2AR", "18", "C8/I7")


def test_resources_of_the_data_sheet():
    """DS226: 20,736 LUTs, 828 Kbit in 46 blocks, 48 multipliers."""
    assert tang_nano_20k.resources.lut == 20_736 and tang_nano_20k.resources.dsp == 48
    assert tang_nano_20k.ram_bits == 828 * 1024


def test_pins():
    lines = build_plan(tang_nano_20k, Echo(), ECHO).files["top.cst"].splitlines()
    pins = {line.split('"')[1]: line.split()[-1].strip(";") for line in lines
            if line.startswith("IO_LOC")}
    assert pins == {"clk27_0__io": "4", "uart_0__rx__io": "70", "uart_0__tx__io": "69",
                    "led_0__io": "15", "led_1__io": "16", "led_2__io": "17"}


def test_its_network_has_weights_of_4_bits():
    """Those of 8 bits are more than the block RAM."""
    model = FixedPointModel.load(tang_nano_20k.model)
    assert model.weight_bits == 4 and model.network.name == "digits"
    assert 8 * build.weight_bits(model) // 4 > tang_nano_20k.ram_bits
    assert HardwareConfig.for_model(model, **tang_nano_20k.hardware).geometry.lanes == 16


@pytest.mark.slow
def test_bitstream(tmp_path, monkeypatch):
    """The PLL, the link and the pins, with a core of a few cells: yosys, nextpnr, gowin_pack."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "build"
    build_plan(tang_nano_20k, Echo(), ECHO).extract(folder)
    toolchain = toolchains.get("gowin")
    assert toolchain.missing() is None
    timing = toolchain.build(folder, "top", tang_nano_20k.part, tang_nano_20k.sync_mhz,
                             tmp_path / "cache")
    assert timing.met and timing.fmax_mhz > 54
    assert timing.utilization["rPLL"] == (1, 2)
    assert timing.utilization["DFF"][0] > 100   # not optimised away
    assert any(step.module.startswith("system") for step in timing.path)
    bits = (folder / "top.fs").read_text()
    # The preamble, and the command that names the device: identification code 0x0000081b.
    assert "1010010111000011\n" in bits[:500]
    assert f"{0x06 << 56 | 0x081b:064b}\n" in bits[:500]


@pytest.mark.slow
def test_the_network_meets_its_clock(tmp_path, capsys):
    out = tmp_path / "out"
    assert build.main(["--board", "tang_nano_20k", "--bitstream", "--out", str(out)]) == 0
    assert (out / "top.fs").is_file()
    assert "openFPGALoader -b tangnano20k" in capsys.readouterr().out
