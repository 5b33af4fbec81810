# SPDX-License-Identifier: Apache-2.0
import pytest

from sim.units import run_bench


@pytest.mark.parametrize(("embed_dim", "num_heads", "tau"), [
    (16, 2, 2.0), (16, 4, 1.5), (24, 2, 2.0), (32, 1, 1.5)],
    ids=["head8", "head4-tau1.5", "head12", "head32-tau1.5"])
def test_attention(embed_dim, num_heads, tau):
    run_bench("attention", embed_dim=embed_dim, num_heads=num_heads, tau=tau)
