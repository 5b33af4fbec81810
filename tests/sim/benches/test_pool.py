# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.parametrize("pool", [True, False], ids=["pool", "plain"])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (5, 3), (1, 1), (2, 11)])
def test_pool(height, width, pool):
    run_bench("pool", height=height, width=width, pool=pool)
