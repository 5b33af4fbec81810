# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.parametrize(("lanes", "banks", "ports"), [
    pytest.param(8, 2, 2, marks=pytest.mark.slow), (8, 1, 1), (32, 4, 2)])
@pytest.mark.parametrize("pause", [0.0, 0.5], ids=["continuous", "idle"])
def test_dispatch(lanes, banks, ports, pause):
    run_bench("dispatch", lanes=lanes, banks=banks, ports=ports, pause=pause)
