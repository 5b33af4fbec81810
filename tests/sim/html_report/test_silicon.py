# SPDX-License-Identifier: Apache-2.0
"""Memories, resources, modules, critical path, front."""

from dataclasses import replace

from hw.memory_map import Region
from sim.html_report import silicon
from tests.sim.html_report.small import BUILD, EXPLORED, facts


def test_memory():
    tree = silicon.memory(facts()).data[0]
    assert tree.values[0] == sum(tree.values[1:]) == facts().memory.on_chip_bits
    assert silicon.external(facts()) is None
    regions = (Region("program and weights", "weights", 0, 5000),
               Region("spike maps", "maps", 8192, 100))
    bars = silicon.external(replace(facts(), memory=replace(facts().memory, regions=regions))).data
    assert [(bar.base[0], bar.x[0]) for bar in bars] == [(0, 5000), (8192, 100)]


def test_resources():
    bar = silicon.resources(BUILD).data[0]
    assert list(bar.y) == ["LUT", "FF", "RAMB36", "CARRY4", "DSP"]
    assert list(bar.x) == [90, 10, 3, 32, 0] and bar.text[2] == "1.5 of 50"


def test_modules():
    tree = silicon.modules(BUILD).data[0]
    assert list(tree.parents) == ["", "top", "top.core"] and list(tree.values) == [90, 60, 20]
    assert list(tree.labels) == ["top", "core", "lane*"]


def test_critical_path():
    assert silicon.critical_path(BUILD | {"timing": None}) is None
    logic, routing = silicon.critical_path(BUILD).data
    assert (logic.base[0], logic.x[0]) == (0, 6) and (routing.base[0], routing.x[0]) == (6, 10)
    assert logic.y[0] == "0 core" and routing.y[0] == "1 top"


def test_a_tile_is_of_the_unit_with_most_cells():
    assert silicon.floorplan({"board": "none"}) is None
    lif, top = silicon.floorplan(BUILD).data
    assert (lif.name, list(lif.x), list(lif.y)) == ("core.finish.lif", [1, 4], [2, 4])
    assert (top.name, list(top.x), list(top.y)) == ("top", [0], [0])


def test_front():
    evaluated, best, chosen = silicon.front(EXPLORED).data
    assert len(evaluated.x) == 3 and list(best.x) == [5000, 7000] and list(chosen.y) == [500]
