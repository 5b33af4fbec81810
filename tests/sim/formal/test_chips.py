# SPDX-License-Identifier: Apache-2.0
"""A broken memory controller is found; the proofs themselves are for `make formal`."""

from sim.formal import chips
from sim.formal.engine import run


def test_a_row_that_is_closed_too_soon_is_found(tmp_path):
    proof = chips.PROOFS[0]
    assert run(proof, tmp_path, proof.broken[0]).failed
