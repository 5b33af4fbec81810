# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.parametrize(("embed_dim", "num_heads", "tau", "engines"), [
    pytest.param(16, 2, 2.0, 1, marks=pytest.mark.slow),
    pytest.param(40, 10, 1.5, 4, marks=pytest.mark.slow),
    pytest.param(24, 2, 2.0, 2, marks=pytest.mark.slow), (32, 1, 1.5, 1)],
    ids=["head8", "head4-tau1.5-4engines", "head12-2engines", "head32-tau1.5"])
def test_attention(embed_dim, num_heads, tau, engines):
    run_bench("attention", embed_dim=embed_dim, num_heads=num_heads, tau=tau, engines=engines)
