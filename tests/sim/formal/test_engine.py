# SPDX-License-Identifier: Apache-2.0
"""Results of proofs of a counter: by induction, for some cycles, with a counterexample."""

import pytest
from amaranth import Signal

from sim.formal.engine import Result, read_trace, run, table
from sim.formal.harness import Harness, Proof


def counter(limit, start=0):
    def build(units):
        proof = Harness()
        count, more = Signal(4, name="count", init=start), proof.free(1, "more")
        with proof.m.If(more & (count != 5)):
            proof.m.d.sync += count.eq(count + 1)
        proof.claim("below", count <= limit)
        return proof
    return build


def proof(limit, depth=10, induction=0, start=0):
    return Proof("counter", "hw.lif", "", counter(limit, start), depth, induction)


def test_proved_by_induction(tmp_path):
    result = run(proof(5, induction=2), tmp_path)
    assert (result.failed, result.steps) == ((), 1)
    assert str(result) == "proved, by induction over 1 cycle"


def test_holds_for_some_cycles(tmp_path):
    assert str(run(proof(4, depth=5), tmp_path)) == "holds for 5 cycles"


def test_counterexample_is_shown_by_name_and_cycle(tmp_path):
    result = run(proof(2), tmp_path)
    assert (result.failed, result.depth) == (("below",), 3)
    lines = {line.split()[0]: line.split()[1:] for line in result.trace.splitlines()}
    assert lines["cycle"] == ["0", "1", "2", "3"] == lines["count"]
    assert lines["claim_below"] == ["1", "1", "1", "0"]
    assert str(result) == "FAILS in cycle 3: below"


def test_what_is_not_inductive_is_no_proof(tmp_path):
    result = run(proof(8, induction=2, start=0), tmp_path)
    assert result.failed == ("below (not inductive)",)


@pytest.mark.parametrize("result, text", [
    (Result(3, 1.0, steps=0), "proved, in any state"),
    (Result(3, 1.0, steps=2), "proved, by induction over 2 cycles")])
def test_words(result, text):
    assert str(result) == text


def test_trace_without_signals_of_submodules():
    vcd = """$scope module top $end
$var wire 2 n0 a $end
$scope module unit $end
$var wire 1 n1 b $end
$upscope $end
$upscope $end
$enddefinitions $end
#0
b01 n0
b1 n1
#5
b0 n1
#10
b10 n0
#20
"""
    assert read_trace(vcd) == {"a": [1, 2]}
    assert table({"a": [1, 2], "b": [0, 0], "c": [10, 10]}).splitlines() == [
        "cycle  0 1", "a      1 2", "c      a always"]
