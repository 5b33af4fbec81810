# SPDX-License-Identifier: Apache-2.0
"""Broken units between accelerator and memory are found; the proofs are for `make formal`."""

import pytest

from sim.formal import memory
from sim.formal.engine import run


@pytest.mark.parametrize("proof", memory.PROOFS, ids=lambda proof: proof.name)
def test_broken_copies_fail(proof, tmp_path):
    assert run(proof, tmp_path, proof.broken[0]).failed
