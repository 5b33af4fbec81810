# SPDX-License-Identifier: Apache-2.0
import json
import os
import re
import sys
from dataclasses import replace

import pytest

import boards
from hw import build, report, toolchains
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.families import XC7, Usage
from hw.generate import accelerator_verilog
from hw.model import FixedPointModel, sha256
from hw.network import NetworkConfig
from quantize.random_model import random_model

TINY = NetworkConfig(embed_dim=8, depth=1, num_heads=2, timesteps=2, in_channels=1, image_height=4,
                     image_width=4, num_classes=3, pool_stages=(False, False, False, True))
SMALL = ["--board", "arty_a7", "--lanes", "8", "--banks", "1"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with a tiny model, in which the synthesis cache is shared by the tests."""
    folder = tmp_path_factory.mktemp("build")
    random_model(TINY).save(folder / "model")
    return folder


@pytest.fixture
def run(workspace, monkeypatch, capsys):
    """Call the command in the workspace: exit status, stdout, stderr."""
    monkeypatch.chdir(workspace)

    def call(*arguments):
        try:
            status = build.main([*arguments])
        except SystemExit as error:   # argparse
            status = error.code
        return (status, *capsys.readouterr())
    return call


def leftovers(folder):
    return sorted(path.name for path in folder.rglob(".build-*"))


def test_build_writes_everything(run, workspace):
    status, out, err = run(*SMALL, "--model", "model", "--out", "out")
    assert (status, err) == (0, "")
    assert "cells that multiply or divide: 0" in out
    folder = workspace / "out"
    assert {path.name for path in folder.iterdir()} >= {
        "accelerator.v", "top.v", "top.xdc", "top.tcl", "images", "manifest.json", "report.json",
        "report.txt"}
    assert {path.name for path in (folder / "images").iterdir()} == {
        "program.hex", "params.hex", "weights0.hex"}
    result = json.loads((folder / "report.json").read_text())
    assert result["used"]["dsp"] == 0
    assert result["used"]["lut"] > 500   # a design that reaches no pin would be optimized away
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["sha256"]["top.v"] == sha256(folder / "top.v")
    assert manifest["inputs"]["weights.safetensors"] == sha256(
        workspace / "model" / "weights.safetensors")
    assert "create_clock" in (folder / "top.xdc").read_text()
    script = (folder / "top.tcl").read_text()
    assert "-part xc7a35t" in script
    assert "write_bitstream" in script
    assert leftovers(workspace) == []


def test_weights_in_flash_and_no_synthesis(run, workspace, monkeypatch):
    """Sources, image and how to write it; yosys is not asked."""
    monkeypatch.setattr(report, "run_yosys", None)
    status, out, err = run(*SMALL, "--model", "model", "--out", "flash", "--weights", "flash",
                           "--no-synthesis")
    assert (status, err) == (0, "")
    image = workspace / "flash" / "images" / "weights.bin"
    model = FixedPointModel.load(workspace / "model")
    program = compile_model(model, HardwareConfig.for_model(model, 8, 1, port_bits=64))
    assert image.read_bytes() == program.stream
    assert ("weights first, at 0x400000 of the flash: openFPGALoader -b arty_a7_35t -f -o 0x400000 "
            "flash/images/weights.bin\n") in out
    assert {path.name for path in (workspace / "flash").iterdir()} >= {"top.v", "top.xdc"}
    assert not (workspace / "flash" / "report.json").exists()   # which has the resources
    manifest = json.loads((workspace / "flash" / "manifest.json").read_text())
    assert (manifest["weights"], manifest["offset"]) == ("flash", 4 << 20)


@pytest.mark.parametrize("ram, name, expected", [
    (50, None, None), (0, None, "flash"), (50, "flash", "flash"), (0, "block_ram", None)])
def test_weights_go_where_they_fit(ram, name, expected):
    board = boards.get("arty_a7")
    board = replace(board, resources=replace(board.resources, ram=ram))
    memory = build.choose_memory(random_model(TINY), name, board)
    assert (memory and memory.kind) == expected


def test_second_build_takes_the_synthesis_from_the_cache(run, monkeypatch):
    status, _, _ = run(*SMALL, "--model", "model", "--out", "out")
    monkeypatch.setattr(report, "run_yosys", None)
    assert (status, run(*SMALL, "--model", "model", "--out", "out")[0]) == (0, 0)


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["--board", "arty_a7", "--bitstream", "--no-synthesis"],
     "--bitstream needs synthesis: it must be without --no-synthesis"),
    (["--board", "foo"], "board must be one of .*, not 'foo'"),
    (["--board", "arty_a7", "--lanes", "0"], "lanes must be a positive integer, not 0"),
    (["--board", "arty_a7", "--banks", "-1"], "banks must be a positive integer, not -1"),
    (["--board", "arty_a7", "--lanes", "6"],
     "spike_word must hold the 1 input channels of 5 bits, not 2"),
    (["--board", "arty_a7", "--model", "nowhere"],
     "model directory must hold manifest.json, not 'nowhere': python -m quantize .*"),
    (["--board", "arty_a7", "--bitstream", "--toolchain", "vivado"],
     "--bitstream needs the toolchain vivado: vivado must be on the PATH: .*"),
    (["--board", "arty_a7", "--bitstream", "--toolchain", "ecp5"],
     "--toolchain of arty_a7 must be one of xilinx, vivado, not 'ecp5'"),
    (["--board", "nexys4ddr", "--bitstream", "--weights", "flash"],
     "--bitstream needs the toolchain vivado: vivado must be on the PATH: .*"),
    (["--board", "nexys4ddr", "--bitstream", "--weights", "flash", "--toolchain", "xilinx"],
     "--toolchain of nexys4ddr with weights in flash must be one of vivado, not 'xilinx'"),
    (["--board", "arty_a7", "--model", "model", "--lanes", "8", "--clock-mhz", "33"],
     "clock must be 100 MHz or that divided by an even number, not 33"),
    (["--board", "ulx3s_85f", "--weights", "block_ram", "--spike-lines", "9", "9"],
     ("--spike-lines needs memory that is written: --weights must be sdram or ddr3, "
      "not 'block_ram'")),
    (["--board", "arty_a7", "--weights", "flash", "--spill-residual"],
     ("--spill-residual needs memory that is written: --weights must be sdram or ddr3, "
      "not 'flash'")),
    (["--board", "arty_a7", "--weights", "sdram"],
     "weight memory of arty_a7 must be one of block_ram, flash, ddr3, not 'sdram'"),
    (["--board", "arty_a7", "--out", "model/weights.safetensors"],
     "output directory must be new, empty or an earlier output, .*"),
])
def test_bad_input_is_one_sentence(run, workspace, monkeypatch, arguments, sentence):
    monkeypatch.setenv("PATH", os.defpath)
    before = sorted(workspace.iterdir())
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"error: {sentence}\n", err)
    assert sorted(workspace.iterdir()) == before


def test_a_foreign_directory_is_not_replaced(run, workspace):
    (workspace / "precious").mkdir()
    (workspace / "precious" / "thesis.tex").touch()
    assert run("--board", "arty_a7", "--out", "precious")[0] == 2
    assert (workspace / "precious" / "thesis.tex").exists()


def test_what_does_not_fit_is_named_and_not_written(run, workspace, monkeypatch):
    small = replace(boards.get("arty_a7"), resources=Usage(100, 10 ** 6, 50, 10 ** 6, 90))
    monkeypatch.setattr(boards, "get", lambda name: small)
    status, out, err = run(*SMALL, "--model", "model", "--out", "too_small")
    assert status == 1
    assert re.search(r"does not fit .*: [\d,]+ LUT over \(\S+ of 100\)\n$", err)
    assert "LUT" in out
    assert not (workspace / "too_small").exists()
    assert leftovers(workspace) == []
    status, out, err = run(*SMALL, "--model", "model", "--out", "too_small", "--json")
    document = json.loads(out)
    assert (status, f"error: {document['error']}\n") == (1, err)
    assert document["used"]["lut"] > 100 and document["hardware"]["geometry"]["lanes"] == 8


SUCCESS = """
assert 'top.tcl' in sys.argv
pathlib.Path('top.v').stat()
pathlib.Path('top.bit').touch()
pathlib.Path('top_timing.rpt').write_text('WNS(ns)  TNS(ns)\\n------- -------\\n  1.5  0\\n')
"""


def fake_vivado(folder, body):
    """An executable named vivado, first on the PATH."""
    path = folder / "vivado"
    path.write_text(f"#!{sys.executable}\nimport pathlib, sys\n{body}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("body", "expected"), [
    (SUCCESS, 0), ("print('no licence'); sys.exit(1)", 1)
], ids=["succeeds", "fails"])
def test_bitstream_runs_vivado(run, workspace, tmp_path, monkeypatch, body, expected):
    fake_vivado(tmp_path, body)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    out = f"bit{expected}"
    status, _, err = run(*SMALL, "--model", "model", "--out", out, "--bitstream",
                         "--toolchain", "vivado")
    assert status == expected
    assert (workspace / out / "top.bit").exists() == (expected == 0)
    assert (workspace / out).exists() == (expected == 0)
    assert ("vivado failed:\nno licence" in err) == (expected == 1)
    if expected == 0:
        timing = json.loads((workspace / out / "report.json").read_text())["timing"]
        assert (timing["met"], timing["slack_ns"]) == (True, pytest.approx(1.5))


class Timed(toolchains.Toolchain):
    """Finds the Fmax that it is told, without a netlist, which would be one more synthesis."""

    name, family, uses_yosys = "timed", XC7, False

    def __init__(self, fmax_mhz):
        self.fmax_mhz = fmax_mhz

    def missing(self):
        return None

    def build(self, folder, top, part, target_mhz, cache):
        return toolchains.Timing(self.fmax_mhz, target_mhz, {}, [])


@pytest.mark.parametrize("mhz, status", [
    pytest.param(60, 0, marks=pytest.mark.slow), (40, 1)])
def test_a_missed_clock_is_told(run, workspace, monkeypatch, mhz, status):
    monkeypatch.setattr(build, "choose_toolchain", lambda *_: Timed(mhz))
    got, out, err = run(*SMALL, "--model", "model", "--out", f"at{mhz}", "--bitstream",
                        "--clock-mhz", "50")
    assert got == status
    assert (err == f"error: the bitstream misses its clock: {mhz:.1f} of 50 MHz; --clock-mhz makes "
                   "it slower\n") == bool(status)
    assert ("openFPGALoader -b arty_a7_35t" in out) == (not status)
    report = json.loads((workspace / f"at{mhz}" / "report.json").read_text())
    assert (report["clock_mhz"], report["timing"]["fmax_mhz"]) == (50, mhz)


def test_a_missed_clock_keeps_its_figures(run, monkeypatch):
    """The document of --json has what a build that meets its clock tells, and the error."""
    documents = {}
    for mhz in (60, 40):
        monkeypatch.setattr(build, "choose_toolchain", lambda *_, mhz=mhz: Timed(mhz))
        status, out, err = run(*SMALL, "--model", "model", "--out", "document", "--bitstream",
                               "--clock-mhz", "50", "--json")
        documents[mhz] = json.loads(out)
        assert (status, documents[mhz]["status"]) == (mhz == 40, mhz == 40)
    good, bad = documents[60], documents[40]
    assert err == f"error: {bad.pop('error')}\n"
    assert [bad["timing"][name] for name in ("fmax_mhz", "met", "slack_ns")] == [40, False, -5]
    assert bad["used"]["lut"] > 500 and good["next_steps"] and not bad["next_steps"]
    varying = ("timing", "next_steps", "status")
    assert bad.keys() == good.keys()
    assert all(bad[name] == good[name] for name in good if name not in varying)


def test_list_boards(run):
    status, out, err = run("--list-boards")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    count = len(boards.NAMES)
    assert [line.split()[0] for line in lines[1:count + 1]] == list(boards.NAMES)
    assert [line.split()[:2] for line in lines[-count:]] == [
        [name, "openFPGALoader"] for name in boards.NAMES]
    assert lines[-3].endswith("-b tangnano20k build/tang_nano_20k/top.fs")
    line = next(line for line in lines if line.startswith("ulx3s_85f"))
    assert "83,640" in line and "3,833,856" in line and "ecp5 (found)" in line


def test_the_shipped_accelerator_has_no_multiplier(tmp_path):
    model = FixedPointModel.load(build.SHIPPED_MODEL)
    program = compile_model(model, HardwareConfig.for_model(model))
    (tmp_path / "top.v").write_text(accelerator_verilog(program))
    report.run_yosys(tmp_path, "read_verilog top.v; hierarchy -check -top accelerator; proc; "
                                "tee -q -o rtl.json stat -json")
    statistics = json.loads((tmp_path / "rtl.json").read_text())
    assert report.multipliers(statistics) == 0
    # Equal modules are written once; it is all there.
    assert sum(module["num_cells_by_type"].get("accelerator.lanes.lane0", 0)
               for module in statistics["modules"].values()) == 32


@pytest.mark.slow
def test_the_shipped_network_fits_the_a7_35t(run, workspace):
    status, _, err = run("--board", "arty_a7", "--out", "shipped")
    assert (status, err) == (0, "")
    used = json.loads((workspace / "shipped" / "report.json").read_text())["used"]
    assert used["dsp"] == 0
    assert used["lut"] > 5000
