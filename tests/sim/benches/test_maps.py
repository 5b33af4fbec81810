# SPDX-License-Identifier: Apache-2.0
"""StoredMap: every word of a map has a place of its own, and lines are shared as said."""

import pytest

from sim.benches.maps import StoredMap

MAPS = {"grid": StoredMap(1, 3, 3, 6, 2), "one": StoredMap(0, 0, 1, 1),
        "token": StoredMap(0, 2, 2, 3, 2, 5, grid=False),
        "pair": StoredMap(0, 2, 2, 4, 2, 4, grid=False, pair=True),
        "pair-odd-words": StoredMap(1, 0, 3, 2, 1, 3, grid=False, pair=True)}


@pytest.mark.parametrize("stored", MAPS.values(), ids=MAPS.keys())
def test_places_are_distinct(stored):
    places = [stored.write(*index) for index in stored.indices()]
    assert len(set(places)) == len(places) > 0
    assert {place[0] for place in places} == {stored.half}
    assert all(0 <= bank < 4 and line >= stored.base for _, bank, line in places)


@pytest.mark.parametrize(("name", "positions"), [("grid", 4), ("token", 1), ("pair", 2)])
def test_positions_share_lines(name, positions):
    """A line has words of so many neighbours in a row, at one step."""
    stored, lines = MAPS[name], {}
    for y, x, step, word in stored.indices():
        lines.setdefault(stored.read(y, x, step, word)[2], set()).add((y, x // positions, step))
    assert all(len(shared) == 1 for shared in lines.values())
    assert stored.source()["column_stride"] == stored.steps * stored.step_lines
    used = -(-stored.width // positions) * stored.height * stored.steps
    assert len(lines) == used * stored.step_lines


@pytest.mark.parametrize("words", range(1, 10))
def test_lines_of_pairs(words):
    """Two words of the even position, then the same two of the odd one."""
    stored = StoredMap(0, 7, 1, 4, 1, words, grid=False, pair=True)
    assert stored.step_lines == -(-words // 2)
    for x in range(4):
        for word in range(words):
            assert stored.read(0, x, 0, word) == (
                0, 2 * (x % 2) + word % 2, 7 + x // 2 * stored.step_lines + word // 2)
    assert stored.source()["last_mask"] == (0b0101 if words % 2 else 0b1111)
