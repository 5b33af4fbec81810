# SPDX-License-Identifier: Apache-2.0
"""Broken copies, probes and what the environment of a proof is made of."""

import pytest

import hw.spill
from sim.formal.harness import Break, Harness, Probes


def test_a_broken_copy_leaves_the_module_alone():
    copy = Break("self.o.valid.eq(left != 0)", "self.o.valid.eq(1)").apply(hw.spill)
    assert copy.Split is not hw.spill.Split
    assert copy.__name__ == "hw.spill"


@pytest.mark.parametrize("old", ["self.nowhere", "left"])
def test_a_break_must_be_there_once(old):
    with pytest.raises(ValueError, match=rf"exactly once, not '{old}'"):
        Break(old, "").apply(hw.spill)


def test_probes_find_variables_of_submodules():
    from hw.axi import Reader
    probes = Probes(Reader(64))
    assert len(probes["queue.inner_level"]) == 8
    assert len(probes["bursts.left"]) == 28
    assert probes["queue.level"] is not probes["left"]


def test_constants_are_cells_of_yosys():
    proof = Harness()
    proof.claim("any", proof.constant(3, "number") == proof.free(3, "other"))
    text = proof.rtlil()
    assert "cell $anyconst" in text and "claim_any" in text
