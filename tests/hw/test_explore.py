# SPDX-License-Identifier: Apache-2.0
"""python -m hw.explore: search, choice, figure, and what it says if nothing fits."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import boards
from hw import explore
from hw.area import Area, shipped
from hw.compiler import compile_model
from hw.cycles import predict_inference
from hw.design_space import Choice
from hw.explore import FILL, Budget, budget, choose, flags, load_workload, table, window_events
from hw.model import SHIPPED_MODEL
from hw.options import add_hardware_options
from hw.options import hardware as hardware_of

DIGITS = load_workload(SHIPPED_MODEL, 1)


@pytest.fixture(scope="module")
def searched():
    limit = budget(boards.get("arty_a7"), FILL)
    return explore.explore(DIGITS, limit, (0,)), limit


def test_the_choice_is_the_fastest_that_fits(searched):
    search, limit = searched
    chosen = choose(search, limit)
    assert limit.holds(chosen.area)
    best = min(each.cycles for each in search.points)
    assert best <= chosen.cycles <= 1.01 * best
    assert not any(each.cycles <= 1.01 * best and each.area.lut < chosen.area.lut
                   for each in search.points)
    program = compile_model(DIGITS.model, chosen.hardware)
    assert predict_inference(program, DIGITS.maps[0]).cycles == chosen.cycles
    assert shipped().predict(chosen.hardware) == chosen.area
    # Better than what was built before there was a choice.
    before = DIGITS.point(Choice(), Choice().hardware(DIGITS.model), chosen.area)
    assert chosen.cycles < before.cycles


def test_no_point_undercuts_its_bound(searched):
    for point in searched[0].points:
        assert DIGITS.bound(point.hardware) <= point.cycles, point.choice


def test_flags_give_the_same_hardware(searched):
    import argparse

    parser = argparse.ArgumentParser()
    add_hardware_options(parser)
    for choice in (choose(*searched).choice,
                   Choice(16, 2, port_bits=64, ring=2, spill_residual=True, pairs=True)):
        config = choice.hardware(DIGITS.model)
        options = parser.parse_args(flags(config).split())
        assert hardware_of([DIGITS.model], options) == config


def test_table_marks_the_chosen_one(searched):
    search, limit = searched
    chosen = choose(search, limit)
    lines = table([chosen, search.points[0]], chosen)
    assert [line.startswith(">") for line in lines] == [False, True, False]
    assert f"{chosen.cycles:,.0f}" in lines[1] and f"{chosen.area.lut:,.0f}" in lines[1]


def test_events_of_windows():
    rng = np.random.default_rng(1)
    spikes = rng.random((2, 3, 4, 5)) < 0.5
    padded = np.pad(spikes, ((0, 0), (0, 0), (1, 1), (1, 1)))
    wanted = sum(padded[:, :, y:y + 3, x:x + 3].sum() for y in range(4) for x in range(5))
    assert window_events(spikes, 3) == wanted
    assert window_events(spikes, 1) == spikes.sum()


def test_budget_names_what_is_short():
    limit = Budget("small", lut=10, ramb36=3)
    assert limit.holds(Area(10, 1e9, 3))
    assert limit.short(Area(11, 0, 3.5)) == ["11 LUT of 10", "4 RAMB36 of 3"]


@pytest.mark.parametrize(("options", "message"), [
    (["--board", "nowhere"], "board must be one of"),
    (["--board", "ulx3s_85f"], "board must have a device of xc7, .* not 'ulx3s_85f'"),
    (["--lut", "500"], "no hardware fits the limits: the smallest needs .* LUT of 500"),
    (["--board", "arty_a7", "--ramb36", "4"], "no hardware fits arty_a7: .* RAMB36 of 4"),
    (["--board", "arty_a7", "--fill", "2"], "--fill must be above 0 and at most 1, not 2.0"),
    (["--model", "nowhere"], "nowhere"),
    (["--keep"], "--keep needs one --model and a --board"),
])
def test_bad_input_is_one_sentence(options, message, capsys):
    assert explore.main(options) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert re.search(message, error)


def test_command_writes_table_and_figure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(explore, "SEEDS", ((16, 2),))
    monkeypatch.setattr(explore, "SHIPPED", tmp_path / "choices.json")
    out = tmp_path / "figure.svg"
    assert explore.main(["--board", "arty_a7", "--lut", "9500", "--out", str(out), "--keep"]) == 0
    text = capsys.readouterr().out
    assert "\n> " in text and "LUTs within" in text and "chosen: --lanes" in text
    assert out.read_text().lstrip().startswith("<?xml") and not list(tmp_path.glob(".*"))
    kept = json.loads((tmp_path / "choices.json").read_text())
    assert next(iter(kept)).endswith(" arty_a7")


@pytest.mark.slow
def test_several_weight_bits_share_a_front(tmp_path, monkeypatch, capsys):
    from hw.model import Samples

    model = DIGITS.model
    narrow = replace(model, weight_bits=4, tensors={
        name: replace(each, weight=each.weight >> 4) for name, each in model.tensors.items()})
    narrow.save(tmp_path / "narrow", Samples.load(SHIPPED_MODEL))
    monkeypatch.setattr(explore, "SEEDS", ((16, 1),))
    assert explore.main(["--model", str(tmp_path / "narrow"), str(SHIPPED_MODEL), "--lut", "9000",
                         "--out", str(tmp_path / "figure.svg")]) == 0
    assert "4 bit" in capsys.readouterr().out
