# SPDX-License-Identifier: Apache-2.0
"""A broken sequence of power-up of the DDR3 is found; the proofs are for `make formal`."""

from sim.formal import ddr3_power_up
from sim.formal.engine import run


def test_modes_in_the_wrong_order_are_found(tmp_path):
    proof = ddr3_power_up.PROOFS[0]
    assert run(proof, tmp_path, proof.broken[1]).failed == ("as_the_data_sheet_says",)
