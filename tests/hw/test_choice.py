# SPDX-License-Identifier: Apache-2.0
"""Choices that are kept: shipped, cached, and taken by hw.build."""

import shutil
from dataclasses import replace

import pytest

import boards
from hw import choice, explore
from hw.area import Area
from hw.choice import FAMILY, board_hardware, keep, key, recall
from hw.config import HardwareConfig
from hw.design_space import Choice, Point
from hw.model import SHIPPED_MODEL, FixedPointModel

MODEL = FixedPointModel.load(SHIPPED_MODEL)
ARTY = boards.get("arty_a7")
POINT = Point(Choice(16, 4), None, Area(1234.4, 0, 0), 5678.0)


def test_kept_choices_are_recalled(tmp_path):
    path = tmp_path / "below" / "choices.json"
    assert recall(path, "one") is None
    keep(path, "one", POINT)
    keep(path, "two", replace(POINT, cycles=1))
    assert Choice(**recall(path, "one")["choice"]) == POINT.choice
    assert (recall(path, "one")["cycles"], recall(path, "one")["lut"]) == (5678, 1234)
    assert recall(path, "two")["cycles"] == 1 and recall(path, "three") is None


def test_the_shipped_choice_needs_no_search(tmp_path, monkeypatch):
    monkeypatch.setattr(explore, "search_board", None)
    for name in ("arty_a7", "arty_a7_100"):
        hardware, line = board_hardware(MODEL, SHIPPED_MODEL, boards.get(name), tmp_path)
        assert not hardware.streamed
        assert line.startswith(f"chosen by hw.explore: --lanes {hardware.geometry.lanes} --banks ")
    assert list(tmp_path.iterdir()) == []


def test_other_networks_are_searched_once(tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(SHIPPED_MODEL, folder)
    monkeypatch.setattr(choice, "SHIPPED", tmp_path / "none.json")
    asked = []
    monkeypatch.setattr(explore, "search_board", lambda *each: asked.append(each) or POINT)
    first = board_hardware(MODEL, folder, ARTY, tmp_path)
    assert board_hardware(MODEL, folder, ARTY, tmp_path) == first
    assert asked == [(folder, ARTY)]
    assert first[0] == POINT.choice.hardware(MODEL)
    assert "5,678 cycles and 1,234 LUTs predicted" in first[1]


def test_boards_without_an_area_model_get_the_default(tmp_path):
    hardware, line = board_hardware(MODEL, SHIPPED_MODEL, boards.get("ulx3s_85f"), tmp_path)
    assert hardware == HardwareConfig.for_model(MODEL)
    assert "no area model of ecp5" in line and FAMILY == "xc7"


def test_a_choice_of_an_older_engine_is_made_anew(tmp_path, monkeypatch):
    shipped = tmp_path / "shipped.json"
    keep(shipped, key(SHIPPED_MODEL, ARTY.name), replace(POINT, choice=Choice(16, 5, spike_word=4)))
    monkeypatch.setattr(choice, "SHIPPED", shipped)
    monkeypatch.setattr(explore, "search_board", lambda *_: POINT)
    assert board_hardware(MODEL, SHIPPED_MODEL, ARTY, tmp_path)[0].geometry.banks == 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arty_a7", "arty_a7_100"])
def test_the_shipped_choice_is_the_explorers(name):
    """Fails when engine or area model changed: `python -m hw.explore --board NAME --keep`."""
    chosen = explore.search_board(SHIPPED_MODEL, boards.get(name))
    kept = recall(choice.SHIPPED, key(SHIPPED_MODEL, name))
    assert Choice(**kept["choice"]) == chosen.choice
    assert kept["cycles"] == round(chosen.cycles)
