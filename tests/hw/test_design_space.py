# SPDX-License-Identifier: Apache-2.0
"""The search over hardware, with areas and cycles that are made up."""

from dataclasses import replace

import pytest

from hw.area import Area
from hw.config import HardwareConfig
from hw.design_space import ROWS, Choice, Point, Search, front
from hw.model import SHIPPED_MODEL, FixedPointModel

MODEL = FixedPointModel.load(SHIPPED_MODEL)


def point(lut, cycles):
    return Point(Choice(), None, Area(lut, 0, 0), cycles)


def test_front_keeps_what_nothing_beats():
    points = [point(1, 9), point(2, 9), point(2, 5), point(3, 6), point(4, 1)]
    assert [(each.area.lut, each.cycles) for each in front(points)] == [(1, 9), (2, 5), (4, 1)]
    assert front([]) == []


def test_a_choice_knows_what_was_chosen_for_it():
    choice = Choice(32, 2)
    hardware = choice.hardware(MODEL)
    resolved = choice.resolved(hardware)
    assert resolved.spike_word == hardware.geometry.spike_word
    assert resolved.hardware(MODEL) == hardware
    assert resolved.resolved(hardware) == resolved


@pytest.mark.parametrize("ring", [0, 1, 2])
def test_weight_rows_fill_block_ram(ring):
    hardware = Choice(16, 1, port_bits=64, ring=ring).hardware(MODEL)
    least = HardwareConfig.for_model(MODEL, 16, 1, port_bits=64).weight_rows
    assert hardware.weight_rows % ROWS == 0
    assert hardware.weight_rows >= (least // 2, least, 2 * least)[ring]


def test_neighbours_differ_in_a_step():
    choice = Choice(32, 2, spike_word=16, neurons=8, attention_engines=1, pairs=True, beside=False)
    neighbours = list(choice.neighbours())
    assert replace(choice, neurons=16) in neighbours
    assert replace(choice, lanes=48) in neighbours
    assert replace(choice, pairs=False) in neighbours
    assert Choice(24, 2) in neighbours   # all else chosen anew
    assert choice not in neighbours
    assert not any(each.ring != 1 for each in neighbours)   # of streamed weights


def search(fits=lambda area: True, bound=lambda hardware: 0, evaluated=None):
    """LUTs are lanes x slots; cycles fall with them, but not with more than 32 lanes."""
    def area(hardware):
        slots = hardware.geometry.lanes * hardware.geometry.slots
        return Area(slots * 100, 0, 1)

    def evaluate(choice, hardware, used):
        if evaluated is not None:
            evaluated.append(choice)
        g = hardware.geometry
        return Point(choice, hardware, used, 1e6 / (min(g.lanes, 32) * g.slots))
    return Search(lambda choice: choice.hardware(MODEL), area, fits, bound, evaluate)


def test_the_front_is_reached_from_one_seed():
    found = search().run([Choice(16, 2)], lambda *_: None)
    lanes = {each.hardware.geometry.lanes for each in found}
    assert min(lanes) == 8
    assert found[-1].hardware.geometry.lanes == 32
    assert found[-1].hardware.geometry.banks >= 8
    assert [each.cycles for each in found] == sorted((each.cycles for each in found), reverse=True)


def test_nothing_that_does_not_fit_is_evaluated():
    evaluated = []
    search(fits=lambda area: area.lut <= 6_400, evaluated=evaluated).run(
        [Choice(16, 2), Choice(64, 4)], lambda *_: None)
    assert evaluated and all(each.lanes * each.banks <= 32 for each in evaluated)


def test_what_a_bound_beats_is_left_out():
    all_of_them, some = [], []
    search(evaluated=all_of_them).run([Choice(16, 2)], lambda *_: None)
    found = search(evaluated=some, bound=lambda hardware: 1e6 / (
        min(hardware.geometry.lanes, 32) * hardware.geometry.slots)).run(
            [Choice(16, 2)], lambda *_: None)
    assert len(some) < len(all_of_them)
    assert found[-1].hardware.geometry.lanes == 32


def test_what_cannot_be_built_is_skipped_and_told():
    one = search()
    assert one.run([Choice(3, 1)], lambda *_: None) == []
    assert "must" in one.refused and one.smallest is None
