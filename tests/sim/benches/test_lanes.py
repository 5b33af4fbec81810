# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.parametrize(("lanes", "banks"), [(8, 2), (4, 1), (32, 4)])
def test_lanes(lanes, banks):
    run_bench("lanes", lanes=lanes, banks=banks)
