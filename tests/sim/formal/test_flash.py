# SPDX-License-Identifier: Apache-2.0
"""A broken flash controller is found; the proofs themselves are for `make formal`."""

from sim.formal import flash
from sim.formal.engine import run


def test_pins_that_are_not_driven_are_found(tmp_path):
    proof, = (each for each in flash.PROOFS if each.name == "flash-reads")
    assert run(proof, tmp_path, proof.broken[1]).failed == ("no_hold",)
