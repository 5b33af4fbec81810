# SPDX-License-Identifier: Apache-2.0
"""The picture of the curves."""

from sim.scaling_plot import draw

POINTS = [{"adders": 16, "cycles": 1000, "lut": 500, "use": 0.9, "weights": 10},
          {"adders": 32, "cycles": 600, "use": 0.8, "weights": 10}]


def test_the_same_curves_are_the_same_picture(tmp_path):
    curves = {"first": POINTS, "networks": POINTS[:1]}
    for name in ("one.svg", "two.svg"):
        draw(curves, tmp_path / name)
    text = (tmp_path / "one.svg").read_text()
    assert text == (tmp_path / "two.svg").read_text()
    assert ">first<" in text and ">lane use<" in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.svg", "two.svg"]


def test_nothing_to_draw(tmp_path):
    draw({}, tmp_path / "none.svg")
    assert "<svg" in (tmp_path / "none.svg").read_text()
