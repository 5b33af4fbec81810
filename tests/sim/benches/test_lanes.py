# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.parametrize(("lanes", "banks", "ports"), [
    (8, 2, 2), *(pytest.param(*each, marks=pytest.mark.slow) for each in ((8, 1, 1), (32, 4, 2)))])
def test_lanes(lanes, banks, ports):
    run_bench("lanes", lanes=lanes, banks=banks, ports=ports)
