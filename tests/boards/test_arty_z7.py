# SPDX-License-Identifier: Apache-2.0
"""Arty Z7-20: data, and a tiny accelerator as its peripheral, as far as yosys takes it."""

import json

import pytest

from boards.arty_z7 import arty_z7_20
from hw import build
from hw.families import Usage
from hw.network import NetworkConfig
from quantize.random_model import random_model


def test_a_slice_is_four_luts_eight_flip_flops_one_carry():
    slices = arty_z7_20.resources.carry
    assert (arty_z7_20.resources.lut, arty_z7_20.resources.ff) == (4 * slices, 8 * slices)


def test_part_and_memory_of_the_data_sheet():
    """DS190: 4.9 Mbit of block RAM, 220 DSP."""
    platform = arty_z7_20.platform()
    assert f"{platform.device}{platform.package}-{platform.speed}" == arty_z7_20.part
    assert 36 * arty_z7_20.resources.ram == 5_040 and arty_z7_20.resources.dsp == 220
    assert arty_z7_20.weight_memories == ("block_ram", "dram")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random_model(NetworkConfig(8, 1, 1, 1, 1, 4, 4, 3, pool_stages=(False, False, True, True)),
                 seed=2).save(tmp_path / "model")

    def call(*arguments):
        status = build.main(["--board", "arty_z7_20", "--model", "model", "--lanes", "8",
                             "--banks", "2", "--out", "out", *arguments])
        return status, *capsys.readouterr()
    return call


def test_a_peripheral(run, tmp_path, monkeypatch):
    """Sources, image and scripts; what yosys makes of it is the slow test's."""
    asked = []
    monkeypatch.setattr(build, "synthesize", lambda source, top, *_, **__: asked.append(
        (source.name, top)) or {"netlist": {}, "rtl": {}})
    monkeypatch.setattr(build, "hierarchy", lambda *_: {"spikeloom": Usage(900, 1, 1, 1, 0)})
    monkeypatch.setattr(build, "multipliers", lambda rtl: 0)
    status, out, err = run("--weights", "dram")
    assert (status, err, asked) == (0, "", [("spikeloom.v", "spikeloom")])
    folder = tmp_path / "out"
    assert {path.name for path in folder.iterdir()} >= {
        "spikeloom.v", "package_ip.tcl", "system.tcl", "accelerator.v", "images", "manifest.json",
        "report.json", "report.txt"}
    assert (folder / "images" / "weights.bin").is_file()
    text = (folder / "spikeloom.v").read_text()
    for port in ("input aclk;", "output [31:0] m_axi_weights_araddr;", "input s_axi_awvalid;",
                 "input [63:0] m_axi_weights_rdata;", "output [63:0] m_axis_tdata;"):
        assert port in text
    assert json.loads((folder / "report.json").read_text())["used"]["lut"] == 900
    assert out.endswith("for a system in Vivado: package_ip.tcl and system.tcl in out; of its "
                        "bitstream, program it: openFPGALoader -b arty_z7_20 FILE\n")
    assert "writes the address to register 0x50 and 8 to 0x40\n" in out


@pytest.mark.slow
def test_what_it_takes(run, tmp_path):
    status, out, err = run("--weights", "dram")
    assert (status, err) == (0, "") and "cells that multiply or divide: 0" in out
    result = json.loads((tmp_path / "out" / "report.json").read_text())
    assert result["used"]["dsp"] == 0 and result["used"]["lut"] > 500


def test_its_bitstream_is_that_of_a_system(run, tmp_path):
    sentence = ("error: --bitstream is for boards without processors, not 'arty_z7_20': Vivado "
                "makes the bitstream of its whole system, with the scripts of the output\n")
    assert run("--bitstream") == (2, "", sentence)
    assert not (tmp_path / "out").exists()
