# SPDX-License-Identifier: Apache-2.0
"""StoredMap: every word of a map has a place of its own, and GRID and TOKEN share lines as said."""

import pytest

from sim.benches.maps import StoredMap

MAPS = {"grid": StoredMap(1, 3, 3, 6, 2), "one": StoredMap(0, 0, 1, 1)}


@pytest.mark.parametrize("stored", MAPS.values(), ids=MAPS.keys())
def test_places_are_distinct(stored):
    places = [stored.write(*index) for index in stored.indices()]
    assert len(set(places)) == len(places) > 0
    assert {place[0] for place in places} == {stored.half}
    assert all(0 <= bank < 4 and line >= stored.base for _, bank, line in places)
