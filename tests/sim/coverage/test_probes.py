# SPDX-License-Identifier: Apache-2.0
"""Verilog with probes: each conditional statement of the source has one, nothing else does."""

import re
from collections import Counter
from pathlib import Path

import hw.answer
from hw.answer import Answer
from hw.generate import component_verilog
from sim.coverage.probes import ROOT, probed_verilog, source


def conditional():
    """Statements of hw.answer that stand within a condition, by place."""
    lines = Path(hw.answer.__file__).read_text().splitlines()
    return {f"hw/answer.py:{number}" for number, line in enumerate(lines, 1)
            if re.match(r" {12,}m\.d\.sync \+= ", line)}


def test_each_conditional_statement_has_a_probe():
    probed = probed_verilog(Answer(2))
    assert set(probed.lines.values()) == conditional() and len(conditional()) == 3
    lines = probed.verilog.splitlines()
    for number, place in probed.lines.items():
        assert lines[number - 1].strip() == f"\\line:{place}  = 1'h1;"


def test_what_is_counted():
    probed = probed_verilog(Answer(2))
    assert set(probed.signals.values()) == {
        ("hw/answer.py", "Answer", name) for name in ("complete", "count", "data", "i__ready")}
    counted = re.findall(r"coverage_on\*/ .*?(\S+)(?: =.*)?; /\*", probed.verilog)
    assert set(counted) == {"complete", "count", "data", "i__ready"}
    assert probed.verilog.startswith("/*verilator coverage_off*/")


def test_nothing_else_is_changed():
    """Without the probes and comments it is what hw.generate writes."""
    text = re.sub(r"/\*verilator \w+\*/ ?", "", probed_verilog(Answer(2)).verilog)
    text = re.sub(r"  always @\*(?:(?!^  end).)*?\\line:.*?^  end *\n", "", text,
                  flags=re.M | re.S)
    text = re.sub(r".*\\line:.*\n", "", text)

    def shape(verilog):
        verilog = "\n".join(line.rstrip() for line in verilog.splitlines() if line.strip())
        return Counter(re.sub(r"\$\d+", "$", line) for line in verilog.splitlines()
                       if "dump_module" not in line)

    probed, plain = shape(text), shape(component_verilog(Answer(2), "accelerator"))
    assert not plain - probed
    # The probes' branches test expressions once more, in wires of their own.
    assert all(re.match(r"  (assign|wire( \[\d+:0\])?) \\\$ ", line) for line in probed - plain)


def test_places():
    assert source((str(ROOT / "hw" / "lif.py"), 7)) == "hw/lif.py:7"
    assert source((str(ROOT / "sim" / "run.py"), 7)) is None
