# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.parametrize("pause", [0.0, 0.4], ids=["continuous", "idle"])
@pytest.mark.parametrize(("lanes", "tau"), [
    (8, 2.0), pytest.param(32, 2.0, marks=pytest.mark.slow), (8, 1.5)])
def test_lif(lanes, tau, pause):
    run_bench("lif", lanes=lanes, tau=tau, pause=pause)
