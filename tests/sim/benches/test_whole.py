# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.slow
@pytest.mark.parametrize(("tau", "pause"), [(2.0, 0.0), (1.5, 0.3)], ids=["plain", "paused"])
def test_whole(tau, pause):
    run_bench("whole", lanes=8, banks=2, tau=tau, pause=pause)
