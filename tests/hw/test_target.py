# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from hw import build
from hw.asic import target
from hw.model import MANIFEST, sha256
from hw.network import NetworkConfig
from quantize.random_model import random_model
from tests.hw.test_mapping import LIBERTY

TINY = NetworkConfig(embed_dim=8, depth=1, num_heads=2, timesteps=2, in_channels=1, image_height=4,
                     image_width=4, num_classes=3, pool_stages=(False, False, False, True))
SMALL = ["--target", "asic", "--model", "model", "--lanes", "8", "--banks", "2"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asic")
    random_model(TINY).save(folder / "model")
    (folder / "mini.lib").write_text(LIBERTY)
    return folder


@pytest.fixture
def run(workspace, monkeypatch, capsys):
    """Call the command in the workspace, where no library is found: status, stdout, stderr."""
    monkeypatch.chdir(workspace)
    monkeypatch.setattr(target, "find_library", lambda: None)

    def call(*arguments):
        try:
            status = build.main([*arguments])
        except SystemExit as error:   # argparse
            status = error.code
        return (status, *capsys.readouterr())
    return call


def test_without_a_library_everything_but_the_mapping(run, workspace):
    status, out, err = run(*SMALL, "--out", "out", "--clock-mhz", "40")
    assert (status, err) == (0, "")
    assert "no standard-cell library is there: make tools-asic" in out
    folder = workspace / "out"
    names = {path.name for path in folder.iterdir()}
    assert names == {"accelerator.v", "accelerator.sdc", "config.json", "macros.json",
                     "sram_models.v", "sram_stubs.v", "weights.bin", "report.txt", "report.json",
                     MANIFEST}
    assert "period 25.0000" in (folder / "accelerator.sdc").read_text()
    macros = json.loads((folder / "macros.json").read_text())
    weights = next(macro for macro in macros if macro["ports"] == "1r1rw")
    assert weights["instances"] == ["lanes.banks.bank0.macro", "lanes.banks.bank1.macro"]
    assert weights["bits"] == weights["depth"] * weights["width"]
    total = sum(macro["bits"] * len(macro["instances"]) for macro in macros)
    assert json.loads((folder / "report.json").read_text())["sram_bits"] == total
    assert f"{total:,}" in out
    stubs = (folder / "sram_stubs.v").read_text()
    assert all(f"module {macro['name']} (" in stubs for macro in macros)
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["sha256"]["accelerator.v"] == sha256(folder / "accelerator.v")
    assert manifest["hardware"]["port_bits"] == 64
    assert run(*SMALL, "--out", "out")[0] == 0   # an earlier output is replaced
    assert "period 20.0000" in (folder / "accelerator.sdc").read_text()
    assert not list(workspace.glob(".build-*"))


@pytest.mark.slow
def test_with_a_library_a_netlist_and_its_area(run, workspace):
    status, out, _ = run(*SMALL, "--out", "mapped", "--liberty", "mini.lib")
    assert status == 0
    assert "cells that multiply or divide: 0" in out
    assert "registers that the reset does not reach: 0" in out
    report = json.loads((workspace / "mapped" / "report.json").read_text())
    assert report["nand2_area"] == 3
    whole = report["modules"]["accelerator"]
    assert whole["sram_bits"] == report["sram_bits"]
    assert whole["area"] > 10.5 * whole["flip_flops"] > 0
    assert "DFF" in (workspace / "mapped" / "accelerator.netlist.v").read_text()
    assert "module NAND2X1" in (workspace / "mapped" / "cell_models.v").read_text()


@pytest.mark.parametrize(("arguments", "complaint"), [
    (("--bitstream",), "--bitstream is for boards"),
    (("--toolchain", "vivado"), "--toolchain is for boards"),
    (("--weights", "sdram"), "--weights is for boards"),
    (("--spill-residual",), "--spill-residual is for boards"),
    (("--spike-lines", "8", "8"), "--spike-lines is for boards"),
    (("--parity",), "--parity is for boards"),
    (("--clock-mhz", "0"), "clock_mhz must be positive, not 0.0"),
    (("--liberty", "none.lib"), "none.lib"),
    (("--liberty", "model/manifest.json"), "must have a cell named NAND2"),
    (("--lanes", "0"), "lanes"),
    (("--model", "none"), "none"),
    (("--board", "arty_a7"), "not allowed with"),
])
def test_bad_input_is_one_sentence(run, workspace, arguments, complaint):
    status, _, err = run(*SMALL, "--out", "bad", *arguments)
    assert status == 2
    assert complaint in err
    assert not (workspace / "bad").exists()
