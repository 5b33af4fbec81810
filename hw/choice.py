# SPDX-License-Identifier: Apache-2.0
"""What the explorer chose: kept by network and board, so that a build need not search again.

hw/choices.json ships the choices for the shipped digits network (`python -m hw.explore --keep`);
others are kept in a cache, by the state of the sources that they were made with.
"""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hw.config import HardwareConfig
from hw.design_space import Choice, Point
from hw.model import WEIGHTS, FixedPointModel, sha256

SHIPPED = Path(__file__).parent / "choices.json"
# The area model is fitted to devices of this family; boards of others get the default hardware.
FAMILY = "xc7"


def key(directory: Path, board: str) -> str:
    """Of a network, by its weights, and a board."""
    return f"{sha256(directory / WEIGHTS)} {board}"


def engine() -> str:
    """Hash of everything that a choice depends on besides network and board."""
    here = Path(__file__).parent
    files = sorted([*here.glob("*.py"), here / "area.json"])
    return hashlib.sha256(b"".join(map(Path.read_bytes, files))).hexdigest()


def recall(path: Path, name: str) -> dict[str, Any] | None:
    """What `keep` wrote under a name: choice, cycles, lut; None if there is nothing."""
    if not path.is_file():
        return None
    kept = json.loads(path.read_text())
    return kept.get(name)


def keep(path: Path, name: str, point: Point) -> None:
    """Add a choice, with what was predicted of it, to a file."""
    kept = json.loads(path.read_text()) if path.is_file() else {}
    kept[name] = {"choice": asdict(point.choice), "cycles": round(point.cycles),
                  "lut": round(point.area.lut)}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(kept, indent=1) + "\n")
    os.replace(temporary, path)


def board_hardware(model: FixedPointModel, directory: Path, board: Any,
                   cache: Path) -> tuple[HardwareConfig, str]:
    """The hardware for a network and a board of `boards`, weights on chip, and a line about it.

    That of the board's description, if it has any, else the explorer's choice, which is searched
    only if it is kept nowhere.  Raises ValueError, one sentence, if nothing fits.
    """
    from hw.explore import flags, search_board  # which keeps its choices here

    if board.hardware:
        hardware = HardwareConfig.for_model(model, **board.hardware)
        return hardware, f"hardware of {board.name}: {flags(hardware)}"
    if board.family.name != FAMILY:
        return (HardwareConfig.for_model(model),
                f"default hardware: no area model of {board.family.name} yet")
    own = cache / f"choices-{engine()[:16]}.json"
    name = key(directory, board.name)
    for kept in (recall(SHIPPED, name), recall(own, name)):
        # An older engine's choice may be none of this one's.
        if kept is not None and (hardware := _built(kept, model)) is not None:
            break
    else:
        keep(own, name, search_board(directory, board))
        kept = recall(own, name)
        hardware = Choice(**kept["choice"]).hardware(model)
    return hardware, (f"chosen by hw.explore: {flags(hardware)} "
                      f"({kept['cycles']:,} cycles and {kept['lut']:,} LUTs predicted)")


def _built(kept: dict[str, Any], model: FixedPointModel) -> HardwareConfig | None:
    """The hardware of what `keep` wrote, None if it cannot be built."""
    try:
        return Choice(**kept["choice"]).hardware(model)
    except (ValueError, TypeError):
        return None
