# SPDX-License-Identifier: Apache-2.0
"""A broken Attention is found; the proofs are for `make formal`."""

import pytest

from sim.formal import attending
from sim.formal.engine import run


@pytest.mark.slow
@pytest.mark.parametrize("proof", attending.PROOFS, ids=lambda proof: proof.name)
def test_broken_copies_fail(proof, tmp_path):
    assert run(proof, tmp_path, proof.broken[0]).failed
