# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.parametrize(("embed_dim", "num_heads", "tau", "engines"), [
    (16, 2, 2.0, 1), (40, 10, 1.5, 4), (24, 2, 2.0, 2), (32, 1, 1.5, 1)],
    ids=["head8", "head4-tau1.5-4engines", "head12-2engines", "head32-tau1.5"])
def test_attention(embed_dim, num_heads, tau, engines):
    run_bench("attention", embed_dim=embed_dim, num_heads=num_heads, tau=tau, engines=engines)
