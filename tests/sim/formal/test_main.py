# SPDX-License-Identifier: Apache-2.0
"""python -m sim.formal: a line for each proof, exit status by outcome."""

import re
from dataclasses import replace
from types import SimpleNamespace

from sim.formal.__main__ import main, prove
from sim.formal.harness import Break
from sim.formal.proofs import named


def test_a_proof_and_its_broken_copy(capsys):
    assert main(["queue-6", "--broken"]) == 0
    first, second, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"queue-6  proved, by induction over 1 cycle  \(\d+\.\d s\)", first)
    assert "broken copy 1: caught in cycle" in second
    assert last.startswith("1 of 1 proofs went through, 1 of 1 broken copies were caught")


def test_a_copy_that_is_not_broken_is_told(tmp_path, capsys):
    proof, = named(["split-1"])
    harmless = Break("self.o.valid.eq(left != 0)", "self.o.valid.eq(left > 0)")
    assert prove([replace(proof, broken=(harmless,))], tmp_path, broken=True).status == 1
    assert "broken copy 1: NOT CAUGHT: 'self.o.valid.eq(left != 0)'" in capsys.readouterr().out


def test_a_proof_that_fails(tmp_path, capsys):
    proof, = named(["split-1"])
    text = proof.rtlil(proof.broken[0])
    broken = SimpleNamespace(name="split", broken=(), rtlil=lambda change: text, depth=4)
    assert prove([broken], tmp_path, broken=False).status == 1
    out = capsys.readouterr().out
    assert "split  FAILS in cycle 2: o_stable" in out and "\nclaim_o_stable " in out


def test_list(capsys):
    assert main(["--list"]) == 0
    plain = capsys.readouterr().out
    assert "lif-tau2-16" in plain and "broken" not in plain
    assert main(["--list", "--broken", "split-1"]) == 0
    assert "| (left == 1))" in capsys.readouterr().out.splitlines()[1]


def test_an_unknown_name(capsys):
    assert main(["nothing"]) == 2
    assert capsys.readouterr().err == (
        "error: a proof must be one that --list names, or the beginning of its name, "
        "not 'nothing'\n")
