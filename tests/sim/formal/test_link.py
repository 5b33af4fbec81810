# SPDX-License-Identifier: Apache-2.0
"""A broken link is found; the proofs themselves are for `make formal`."""

from sim.formal import link
from sim.formal.engine import run


def test_a_repeated_request_that_is_refused_is_found(tmp_path):
    proof = link.PROOFS[0]
    assert run(proof, tmp_path, proof.broken[0]).failed
