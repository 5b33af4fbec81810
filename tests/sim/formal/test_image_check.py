# SPDX-License-Identifier: Apache-2.0
"""A broken check of images is found; the proofs themselves are for `make formal`."""

from sim.formal import image_check
from sim.formal.engine import run


def test_an_image_that_is_not_read_to_its_end_is_found(tmp_path):
    proof = image_check.PROOFS[0]
    assert run(proof, tmp_path, proof.broken[1]).failed
