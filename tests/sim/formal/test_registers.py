# SPDX-License-Identifier: Apache-2.0
"""A broken peripheral is found; the proof itself is for `make formal`."""

from sim.formal import registers
from sim.formal.engine import run


def test_a_byte_that_is_not_meant_is_found(tmp_path):
    proof, = registers.PROOFS
    assert run(proof, tmp_path, proof.broken[1]).failed
