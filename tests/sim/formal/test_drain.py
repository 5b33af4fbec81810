# SPDX-License-Identifier: Apache-2.0
"""A broken Drain is found, whatever it can do; the proofs are for `make formal`."""

import pytest

from sim.formal import drain
from sim.formal.engine import run


@pytest.mark.slow
@pytest.mark.parametrize("proof", drain.PROOFS, ids=lambda proof: proof.name)
def test_broken_copies_fail(proof, tmp_path):
    assert run(proof, tmp_path, proof.broken[0]).failed


def test_broken_copy_of_the_plain_one_fails(tmp_path):
    assert run(drain.PROOFS[0], tmp_path, drain.PROOFS[0].broken[0]).failed
