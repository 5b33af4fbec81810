# SPDX-License-Identifier: Apache-2.0
"""The command that prints predicted cycles, and compares them with the RTL's."""

import numpy as np

from hw.cycles import LayerCycles, Prediction
from hw.model import Samples
from sim.benches.models import SMALL, random_inputs, random_model
from sim.predict import error, main, table

PREDICTION = Prediction((LayerCycles("one", 100, 60, 10, 25, 5, 120, 4),
                         LayerCycles("two", 50, 50, 0, 0, 0, 200, 4)), 180, 190)


def test_table():
    lines = table(PREDICTION)
    assert len(lines) == 4 and len({len(line) for line in lines}) == 1
    assert lines[1].split() == ["one", "100", "60", "10", "25", "5", "30.0%"]
    assert lines[3].split() == ["inference", "180", "110", "10", "25", "35", "44.4%"]
    checked = table(PREDICTION, [100, 40])
    assert checked[2].split()[-2:] == ["40", "+25.00%"]
    assert checked[3].split()[-2:] == ["140", "+7.14%"]
    assert error(PREDICTION.layers[1], 40) == 0.25


def test_command(tmp_path, capsys):
    model = random_model(SMALL)
    model.save(tmp_path / "model", Samples(random_inputs(model, 2), np.array([1, 0])))
    arguments = [str(tmp_path / "model"), "--lanes", "8", "--banks", "2"]
    assert main(arguments) == 0
    assert "block.0.attn.ssa" in capsys.readouterr().out
    assert main([*arguments, "--samples", "2", "--check", "--tolerance", "0"]) == 0
    assert "largest error of a layer: 0.00%" in capsys.readouterr().out
    # Pauses are not predicted.
    assert main([*arguments, "--check", "--tolerance", "0", "--samples", "3"]) == 2
    assert capsys.readouterr().err.startswith("error: --samples must be at most 2")
