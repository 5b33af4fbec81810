# SPDX-License-Identifier: Apache-2.0
"""Broken units between accelerator and memory are found; the proofs are for `make formal`."""

import pytest

from sim.formal import memory
from sim.formal.engine import run

# Fetch is broken so that it shows only after a whole tile.
CASES = [pytest.param(proof, marks=[pytest.mark.slow] * (proof.name == "fetch"), id=proof.name)
         for proof in memory.PROOFS]


@pytest.mark.parametrize("proof", CASES)
def test_broken_copies_fail(proof, tmp_path):
    assert run(proof, tmp_path, proof.broken[0]).failed
