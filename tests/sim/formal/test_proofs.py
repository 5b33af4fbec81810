# SPDX-License-Identifier: Apache-2.0
"""The list of proofs."""

import importlib

import pytest

from sim.formal.proofs import ALL, named


def test_names_are_unique():
    names = [proof.name for proof in ALL]
    assert len(set(names)) == len(names)


def test_every_proof_has_a_broken_copy_that_can_be_made():
    for proof in ALL:
        assert proof.broken, proof.name
        for change in proof.broken:
            change.apply(importlib.import_module(proof.unit))


def test_names_by_their_beginning():
    assert [proof.name for proof in named(["split"])] == ["split-1", "split-2", "split-3"]
    with pytest.raises(ValueError, match="not 'x'"):
        named(["x"])
