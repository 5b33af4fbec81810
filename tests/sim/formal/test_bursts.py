# SPDX-License-Identifier: Apache-2.0
"""A broken burst is found; the proofs themselves are for `make formal`."""

import pytest

from sim.formal import bursts
from sim.formal.engine import run


@pytest.mark.parametrize("proof", bursts.PROOFS, ids=lambda proof: proof.name)
def test_broken_copies_fail(proof, tmp_path):
    assert run(proof, tmp_path, proof.broken[0]).failed
