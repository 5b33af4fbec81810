# SPDX-License-Identifier: Apache-2.0
"""The same checkpoint gives the same bytes: in another process, folder, and order of hashing."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from pathlib import Path

import boards
from hw.build import write_sources
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.model import FixedPointModel, Samples
from sim.cases import DIGITS
from sim.generation import quantized

quantized(DIGITS).save(Path("model"), Samples.load(DIGITS.directory))
model = FixedPointModel.load("model")
board = boards.get("ulx3s_85f")
memory = board.memory("sdram")
hardware = HardwareConfig.for_model(model, lanes=8, banks=1, port_bits=64)
Path("board").mkdir()
write_sources(Path("board"), compile_model(model, hardware), board, memory)
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Hash of each file, for two runs in places of their own."""
    found = []
    for seed, name in (("1", "a"), ("2", "another")):
        folder = tmp_path_factory.mktemp(name)
        for part in ("hw", "quantize"):
            (folder / part).symlink_to(ROOT / part)   # the commands' default paths are relative
        subprocess.run([sys.executable, "-c", SCRIPT], cwd=folder, check=True,
                       env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)})
        found.append({str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
                      for top in ("model", "board")
                      for path in (folder / top).rglob("*") if path.is_file()})
    return found


def test_every_byte(outputs):
    first, second = outputs
    assert first == second


def test_nothing_was_left_out(outputs):
    names = set(outputs[0])
    for wanted in ("model/weights.safetensors", "model/manifest.json", "board/accelerator.v",
                   "board/top.lpf", "board/images/weights.bin"):
        assert wanted in names, sorted(names)
