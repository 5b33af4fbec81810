# SPDX-License-Identifier: Apache-2.0
"""What a long comparison has established so far, one file for each finished layer.

A file is written whole or not at all.  An interrupted run goes on at the first layer without one.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sim.activity import NOTHING, Spent
from sim.build import write_whole
from sim.compare import Comparison
from sim.trace import LayerRun

KEY = "key"
SHOWN = 4   # mismatches and faults that a record keeps in words


@dataclass(frozen=True)
class LayerRecord:
    """The comparison of one layer.

    acs, cycles, saturations: the RTL's counters
    useful, dense, density: additions that the golden model counts, those of an input of ones, and
            the share of ones in the input
    wrong:  how many values differ, and faults
    shown:  the first of them in words
    spent:  the cycles by what they were spent on
    events: that the lanes took; none of the attention's
    began:  the run began with this layer, so that its cycles include the fetch of the program
    """

    name: str
    values: int
    wrong: int
    shown: tuple[str, ...]
    acs: int
    cycles: int
    saturations: int
    useful: int = 0
    dense: int = 0
    density: float = 0.0
    spent: Spent = NOTHING
    events: int = 0
    began: bool = False

    @classmethod
    def of(cls, run: LayerRun, result: Any, comparison: Comparison, began: bool) -> "LayerRecord":
        """What the RTL did, what the golden `LayerResult` counts, and how they compare."""
        return cls(run.layer.name, comparison.values, comparison.total + len(comparison.faults),
                   tuple(comparison.lines(SHOWN)[1:]), run.acs, run.cycles, run.saturations,
                   result.acs, result.dense, result.input_density, run.spent, run.events, began)


class Journal:
    """The records of one inference in `directory`.

    key: of everything that shapes the results; records of another key are dropped
    """

    def __init__(self, directory: Path, key: str) -> None:
        self.directory, self._key = directory, key

    def resume(self, names: list[str]) -> list[LayerRecord]:
        """The records of the finished layers, as far as none is missing, of the layers `names`."""
        if not (self.directory / KEY).is_file() or \
                (self.directory / KEY).read_text() != self._key:
            self.clear()
            return []
        records: list[LayerRecord] = []
        for number, name in enumerate(names):
            path = self._path(number, name)
            if not path.is_file():
                break
            values = json.loads(path.read_text())
            records.append(LayerRecord(**values | {"shown": tuple(values["shown"]),
                                                   "spent": Spent(**values["spent"])}))
        return records

    def clear(self) -> None:
        """Begin anew."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        write_whole(self.directory / KEY, self._key)

    def add(self, number: int, record: LayerRecord) -> None:
        """Keep the record of layer `number`."""
        write_whole(self._path(number, record.name), json.dumps(asdict(record), indent=1) + "\n")

    def _path(self, number: int, name: str) -> Path:
        return self.directory / f"{number:03}-{name}.json"
