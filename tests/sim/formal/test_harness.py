# SPDX-License-Identifier: Apache-2.0
"""Broken copies, probes and what the environment of a proof is made of."""

import pytest

import hw.spill
from sim.formal.engine import run
from sim.formal.harness import Break, Harness, Probes, Proof, small


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


def test_probes_find_variables_of_a_class_that_is_extended():
    from hw.parity import CheckedLanes
    probes = Probes(CheckedLanes(small(parity=True), [[0]]))
    assert len(probes["busy"]) == len(probes["interval"])
    assert probes["banks"] is not probes["check"]


def test_flipped_bits_go_to_the_word_that_is_named(tmp_path):
    """One bit of one word; and a proof that it does not change finds that it does."""
    def build(units, claimed):
        proof = Harness()
        unit = units.TokenSum(small())
        probes = proof.add(unit)
        mask, at = proof.free(8, "mask"), proof.free(1, "at")
        probes.flip(proof.m, "sums", at, mask)
        words = [probes.word(proof.m, "sums", row, 8) for row in range(2)]
        proof.assume(at == 1)
        proof.claim("word", claimed(proof, words, mask))
        return proof

    def result(claimed):
        return run(Proof("flips", "hw.token_sum", "", lambda units: build(units, claimed), 4),
                   tmp_path)
    assert not result(lambda proof, words, mask: words[1] == proof.later(
        mask, "mask1") ^ proof.later(words[1], "word1")).failed
    assert not result(lambda proof, words, mask: words[0] == 0).failed
    assert result(lambda proof, words, mask: words[1] == 0).failed == ("word",)


def test_constants_are_cells_of_yosys():
    proof = Harness()
    proof.claim("any", proof.constant(3, "number") == proof.free(3, "other"))
    text = proof.rtlil()
    assert "cell $anyconst" in text and "claim_any" in text
