# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.parametrize(("lanes", "banks"), [(8, 2), (4, 1), (32, 4)])
@pytest.mark.parametrize("pause", [0.0, 0.5], ids=["continuous", "idle"])
def test_dispatch(lanes, banks, pause):
    run_bench("dispatch", lanes=lanes, banks=banks, pause=pause)
