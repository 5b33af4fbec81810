# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.parametrize("static", [True, False], ids=["image", "events"])
@pytest.mark.parametrize("pause", [0.0, 0.5], ids=["continuous", "idle"])
def test_loader(static, pause):
    run_bench("loader", static=static, pause=pause)
