# SPDX-License-Identifier: Apache-2.0
"""The quick proofs of a module as test cases: each goes through, and fails for a broken copy."""

import pytest

from sim.formal.engine import run


def quick(module):
    """A test of every quick proof of a module of proofs."""
    proofs = [proof for proof in module.PROOFS if proof.quick]

    @pytest.mark.parametrize("proof", proofs, ids=lambda proof: proof.name)
    def test(proof, tmp_path):
        result = run(proof, tmp_path / "whole")
        assert not result.failed, result.trace
        assert (result.steps is None) == (not proof.induction)
        assert run(proof, tmp_path / "broken", proof.broken[0]).failed
    return test
