# SPDX-License-Identifier: Apache-2.0
"""A broken dispatch is found; the proofs themselves are for `make formal`."""

from sim.formal import dispatch
from sim.formal.engine import run


def test_a_group_that_closes_too_soon_is_found(tmp_path):
    proof = dispatch.PROOFS[-1]
    assert run(proof, tmp_path, proof.broken[0]).failed
