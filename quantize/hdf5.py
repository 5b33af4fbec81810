# SPDX-License-Identifier: Apache-2.0
"""HDF5 files of strangers as dictionaries, read in a process of its own.

The HDF5 library crashes on some damaged files, makes up what a file does not store, and finds one
object in many places by links.  So a child reads, which runs `dump` of this file, needs nothing but
numpy and h5py, and stops at what is far more than the file.
"""

import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

# Bytes that a file may stand for: some, and so many times its size, as weights that are compressed;
# how many the name of an object counts for; how deep objects may lie in each other.
ROOM, EXPANSION, ENTRY, DEPTH = 1 << 24, 16, 500, 20
SECONDS, BYTES_A_SECOND = 60, 1 << 20   # that reading may take
NAMES = "names"
CHILD = "import runpy, sys; sys.exit(runpy.run_path(sys.argv[1])['dump'](sys.argv[2]))"


def read(path: Path) -> dict[str, Any]:
    """The objects of a file: str, numpy scalars and arrays (texts as bytes), and dictionaries.

    Raises ValueError, the end of a sentence, for what is no such file or far larger than it.
    """
    seconds = SECONDS + path.stat().st_size / BYTES_A_SECOND
    with tempfile.TemporaryFile() as content:
        try:
            # -P: modules are those of this environment, not files where the user happens to be.
            done = subprocess.run([sys.executable, "-P", "-c", CHILD, __file__, path],
                                  stdout=content, stderr=subprocess.PIPE, text=True,
                                  timeout=seconds, check=False)
        except subprocess.TimeoutExpired:
            raise ValueError(f"it was not read within {seconds:.0f} s") from None
        if done.returncode < 0:
            raise ValueError("it makes the HDF5 library crash")
        if done.returncode:
            raise ValueError((done.stderr.strip() or "it cannot be read").splitlines()[-1])
        content.seek(0)
        with np.load(content, allow_pickle=False) as arrays:
            return _tree(json.loads(str(arrays[NAMES])), arrays)


def _tree(names: list[list[str]], arrays: Any) -> dict[str, Any]:
    """Nested again; names: the way to each object, of which groups have no array."""
    tree: dict[str, Any] = {}
    for number, (*way, name) in enumerate(names):
        group = tree
        for each in way:
            group = group[each]
        if (key := str(number)) not in arrays:
            group[name] = {}
            continue
        value = arrays[key]
        if value.ndim == 0:
            value = value[()]
        group[name] = (value.decode() if isinstance(value, bytes) else
                       value.astype(object) if value.dtype.kind == "S" else value)
    return tree


class _Walk:
    """The objects of a file, as far as `room` bytes reach."""

    def __init__(self, room: int) -> None:
        self._room = self._left = room

    def objects(self, group: Any, way: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...],
                                                                               Any]]:
        """Way and array of each, None for a group; groups before what is in them."""
        import h5py

        if len(way) > DEPTH:
            raise ValueError(f"it must have at most {DEPTH} groups in each other, not more")
        for name in group:
            self._spend(ENTRY)
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"it must not link elsewhere, as {name!r} does")
            item = group[name]
            if isinstance(item, h5py.Group):
                yield (*way, name), None
                yield from self.objects(item, (*way, name))
            else:
                yield (*way, name), self._array(name, item)

    def _array(self, name: str, item: Any) -> np.ndarray:
        if item.dtype.kind not in "biufSO":
            raise ValueError(f"it must hold numbers and texts, not {item.dtype} as {name!r} is")
        # A chunk is read whole, however little of it belongs to the array.
        size = max(item.size, math.prod(item.chunks or ()))
        self._spend(size * item.dtype.itemsize)
        if item.dtype.kind != "O":
            return np.asarray(item[()])
        texts = np.empty(item.shape, object)   # one by one: many may be the same one
        longest = 1
        for place in np.ndindex(item.shape):
            texts[place] = bytes(item[place])
            longest = max(longest, len(texts[place]))
            self._spend(len(texts[place]))
        self._spend(longest * item.size)   # as they are written
        return texts.astype(f"S{longest}")

    def _spend(self, count: int) -> None:
        self._left -= int(count)
        if self._left < 0:
            raise ValueError(f"it must stand for at most {self._room:,} bytes, not more")


def dump(path: str) -> int:
    """The child: arrays on standard output, or one line on standard error and exit status 2."""
    try:
        import h5py

        with h5py.File(path) as file:
            walk = _Walk(ROOM + EXPANSION * Path(path).stat().st_size)
            found = list(walk.objects(file))
        names = np.array(json.dumps([way for way, _ in found]))
        np.savez(sys.stdout.buffer, **{NAMES: names}, **{
            str(number): array for number, (_, array) in enumerate(found) if array is not None})
    except Exception as error:  # h5py lets through whatever a wrong file makes it raise
        print((str(error).strip() or type(error).__name__).splitlines()[0].rstrip("."),
              file=sys.stderr)
        return 2
    return 0
