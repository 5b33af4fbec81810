# SPDX-License-Identifier: Apache-2.0
"""What a build tells; the whole of it is in test_build.py."""

from pathlib import Path

import pytest

import boards
from hw import build_report, toolchains
from hw.families import Usage

MODULES = {"top.core": Usage(30, 20, 1, 2, 0), "top": Usage(40, 25, 1, 2, 0)}
OUT = Path("out")


class Absent:
    """A toolchain that is not installed."""

    def missing(self):
        return "tools must be installed"


def timing(mhz):
    return toolchains.Timing(mhz, 50, {}, [])


def test_figures_of_a_design_and_of_none():
    assert build_report.total(MODULES) == MODULES["top"]
    assert build_report.figures(MODULES, 0) == {"used": MODULES["top"], "modules": MODULES,
                                                "multipliers": 0}
    assert build_report.figures({}, None) == {"used": None, "modules": {}, "multipliers": None}


@pytest.mark.parametrize(("board", "memory", "steps"), [
    ("arty_a7", "flash", [("weights first, at 0x400000 of the flash: openFPGALoader -b arty_a7_35t "
                          "-f -o 0x400000 out/images/weights.bin")]),
    ("ulx3s_85f", "sdram", [("then its weights, after each power-up: python -m boards.host --port "
                            "DEV load out/images/weights.bin")]),
    ("arty_a7", "block_ram", [])])
def test_how_weights_come_to_the_board(board, memory, steps):
    place = boards.get(board)
    tools = toolchains.get(place.toolchains[0])
    told = build_report.next_steps(place, OUT, place.memory(memory), tools, timing(60))
    assert told[:-1] == steps
    assert told[-1] == f"program it: {place.loader.format(bit='out/top.bit')}"
    # One that misses its clock is not to be programmed.
    assert build_report.next_steps(place, OUT, place.memory(memory), tools, timing(40)) == steps


def test_without_a_bitstream_the_next_step_is_one(monkeypatch):
    board = boards.get("arty_a7")
    monkeypatch.setattr(toolchains, "installed", lambda names: Absent())
    assert build_report.next_steps(board, OUT, None, None, None) == ["for a bitstream: --bitstream"]
    monkeypatch.setattr(toolchains, "installed", lambda names: None)
    monkeypatch.setattr(toolchains, "get", lambda name: Absent())
    assert build_report.next_steps(board, OUT, None, None, None) == [
        "for a bitstream: tools must be installed"]
