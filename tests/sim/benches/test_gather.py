# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.parametrize("pause", [0.0, 0.5], ids=["continuous", "backpressure"])
@pytest.mark.parametrize(("height", "width", "kernel"), [
    (3, 6, 3), (1, 1, 3), (2, 1, 3), (3, 2, 1)])
def test_gather(height, width, kernel, pause):
    run_bench("gather", height=height, width=width, kernel=kernel, pause=pause)
