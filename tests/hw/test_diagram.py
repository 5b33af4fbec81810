# SPDX-License-Identifier: Apache-2.0
"""Pictures of the hardware: what they show is what is elaborated and placed."""

import xml.etree.ElementTree as ET

import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.diagram import columns, edges, floorplan, inline, kind, main, of_program, owners, save
from hw.hierarchy import Link, Unit, hierarchy
from quantize.random_model import random_model
from tests.hw.test_build import TINY

MODEL = random_model(TINY)
PLACED = {"core.finish.lif.a": [[1, 2, 3], [4, 4, 1]], "": [[1, 2, 2], [0, 0, 1]],
          "core.lanes.lane0": [[5, 5, 1]], "core.lanes.lane1": [[6, 5, 1]]}


def words(svg):
    """All text of a picture."""
    return [each.text for each in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture(scope="module")
def program():
    return compile_model(MODEL, HardwareConfig.for_model(MODEL, 8, 2))


def test_all_units_are_drawn(program):
    said = words(inline(of_program(program)))
    for name in ("gather", "Gather", "dispatch", "lane*", "Lane × 8", "residual", "LIF", "in",
                 "out"):
        assert name in said, name
    assert any(line.startswith("instruction (") and "from sequencer to attention, dispatch"
               in line for line in said)


def test_equal_placements_equal_files(tmp_path):
    for name in ("a.svg", "b.svg"):
        save(floorplan(PLACED, "net"), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert {path.name for path in tmp_path.iterdir()} == {"a.svg", "b.svg"}


def test_widths_are_those_of_the_ports(program):
    from hw.accelerator import Accelerator

    design = hierarchy(Accelerator(program.hardware, program.memory), "accelerator")
    gather = next(unit for unit in design.children if unit.name == "gather")
    payload = next(port for port in gather.ports if port.name == "o__payload")
    (edge,) = (each for each in edges(design)[0] if (each.begin, each.end) == ("gather",
                                                                            "dispatch"))
    assert edge.width == payload.width and edge.ports == ("i__payload",)


def test_edges_are_merged_and_broadcasts_told():
    names = ["a", "b0", "b1", "c", "d", "e", "f"]
    units = [Unit(name, "Part", (), (), ()) for name in names]
    links = [Link(("", "i"), ("a", "i"), 4), Link(("a", "x"), ("b0", "x"), 8),
             Link(("a", "x"), ("b1", "x"), 8), Link(("a", "y"), ("b1", "y"), 3),
             *(Link(("a", "all"), (name, "all"), 32) for name in names[1:])]
    drawn, lines = edges(Unit("top", "Top", (), units, links))
    assert [(each.begin, each.end, each.width) for each in drawn] == [
        ("in", "a", 4), ("a", "b*", 11)]
    assert lines == ["all (32 bits) from a to b*, c, d, e, f"]
    places = columns(map(kind, names), drawn)
    assert places["in"][0] < places["a"][0] < places["b*"][0]
    assert len({*places.values()}) == len(places)


def test_floorplan():
    assert owners(PLACED) == {"core.finish.lif": [(1, 2), (4, 4)],
                              "core.lanes.lane*": [(5, 5), (6, 5)], "top": [(0, 0)]}
    said = words(inline(floorplan(PLACED, "net on a part")))
    assert {"net on a part", "core.finish.lif (2)", "core.lanes.lane* (2)", "top (1)"} <= {*said}


def test_command(tmp_path, monkeypatch, capsys):
    MODEL.save(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert main(["model", "--lanes", "8", "--out", "new/d.png"]) == 0
    assert capsys.readouterr().out == "wrote new/d.png\n"
    assert (tmp_path / "new" / "d.png").read_bytes().startswith(b"\x89PNG")
    assert main(["model", "--out", "d.txt"]) == 2
    assert capsys.readouterr().err == ("error: --out must end in .svg, .png, .pdf, "
                                       "not 'd.txt'\n")
