# SPDX-License-Identifier: Apache-2.0
"""Broken reads of the DDR3 controller are found; the proofs are for `make formal`."""

from sim.formal import ddr3_reads
from sim.formal.engine import run


def test_a_beat_of_the_wrong_half_is_found(tmp_path):
    proof = ddr3_reads.PROOFS[0]
    assert run(proof, tmp_path, proof.broken[2]).failed == ("beat_true",)
