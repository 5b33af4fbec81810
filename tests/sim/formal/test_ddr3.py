# SPDX-License-Identifier: Apache-2.0
"""Broken commands of the DDR3 controller are found; the proofs are for `make formal`."""

from sim.formal import ddr3
from sim.formal.engine import run


def test_a_precharge_that_is_too_short_is_found(tmp_path):
    proof = ddr3.PROOFS[1]
    assert "precharge_to_refresh" in run(proof, tmp_path, proof.broken[1]).failed
