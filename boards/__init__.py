# SPDX-License-Identifier: Apache-2.0
"""Boards: what is on them, the byte link to the host, and the host's side of it."""

from boards.arty_a7 import arty_a7, arty_a7_100
from boards.arty_z7 import arty_z7_20
from boards.base import Board, ExternalMemory, Resources
from boards.icebreaker import icebreaker
from boards.nexys4ddr import nexys4ddr
from boards.tang_nano_20k import tang_nano_20k
from boards.ulx3s import ulx3s_85f

__all__ = ["NAMES", "Board", "ExternalMemory", "Resources", "get"]

_BOARDS = {board.name: board for board in (
    arty_a7, arty_a7_100, nexys4ddr, ulx3s_85f, tang_nano_20k, icebreaker, arty_z7_20)}
#: What `--board` takes.
NAMES = tuple(_BOARDS)


def get(name: str) -> Board:
    """The board of that name; ValueError if there is none."""
    if name not in _BOARDS:
        raise ValueError(f"board must be one of {', '.join(NAMES)}, not {name!r}")
    return _BOARDS[name]
