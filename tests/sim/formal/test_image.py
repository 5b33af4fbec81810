# SPDX-License-Identifier: Apache-2.0
"""A broken fetch is found; the proofs themselves are for `make formal`."""

from sim.formal import image
from sim.formal.engine import run


def test_a_header_that_is_not_there_yet_is_found(tmp_path):
    proof = image.PROOFS[0]
    assert run(proof, tmp_path, proof.broken[0]).failed
