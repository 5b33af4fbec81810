# SPDX-License-Identifier: Apache-2.0
"""The registry of boards."""

import pytest

import boards


def test_names():
    assert boards.NAMES == ("arty_a7", "arty_a7_100", "nexys4ddr", "ulx3s_85f",
                            "tang_nano_20k", "icebreaker", "arty_z7_20")


@pytest.mark.parametrize("name", boards.NAMES)
def test_a_board_has_its_name(name):
    assert boards.get(name).name == name


@pytest.mark.parametrize("name", ["foo", "", "ARTY_A7", None])
def test_unknown_board(name):
    with pytest.raises(ValueError,
                       match=rf"^board must be one of {', '.join(boards.NAMES)}, not {name!r}$"):
        boards.get(name)
