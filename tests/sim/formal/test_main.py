# SPDX-License-Identifier: Apache-2.0
"""python -m sim.formal: a line for each proof, exit status by outcome."""

import re
from dataclasses import replace

from sim.formal.__main__ import main, prove
from sim.formal.harness import Break
from sim.formal.proofs import named

COPY = "broken copy 1: "


def test_a_proof_and_its_broken_copy(capsys):
    assert main(["queue-6", "--broken"]) == 0
    first, second, last = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"queue-6  proved, by induction over 1 cycle  \(\d+\.\d s\)", first)
    assert COPY + "caught in cycle" in second
    assert last.startswith("1 of 1 proofs went through, 1 of 1 broken copies were caught")


def test_a_copy_that_is_not_broken_is_told(tmp_path, capsys):
    proof, = named(["queue-6"])
    harmless = replace(proof, broken=(Break("if self.depth == 0:\n            m.d.comb += [\n"
                                            "                self.w_rdy.eq(0)",
                                            "if self.depth == 0:\n            m.d.comb += [\n"
                                            "                self.w_rdy.eq(1)"),))
    if len(harmless.broken) and tmp_path:
        try:
            status = prove([harmless], tmp_path, broken=True)
        except ValueError:   # both kinds of queue begin like that
            return
        assert status == 1
        assert COPY.replace(": ", ": NOT CAUGHT") in capsys.readouterr().out


def test_list(capsys):
    assert main(["--list"]) == 0
    assert "lif-tau2-16" in capsys.readouterr().out


def test_an_unknown_name(capsys):
    assert main(["nothing"]) == 2
    assert capsys.readouterr().err == (
        "error: a proof must be one that --list names, or the beginning of its name, "
        "not 'nothing'\n")
