# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.parametrize("pause", [0.0, 0.4], ids=["continuous", "idle"])
@pytest.mark.parametrize("lanes", [8, 32])
def test_residual(lanes, pause):
    run_bench("residual", lanes=lanes, pause=pause)
