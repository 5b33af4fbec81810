# SPDX-License-Identifier: Apache-2.0
"""Rows survive their JSON file, and become tables between the markers of a page."""

import re
from dataclasses import replace

import pytest

from sim.result_rows import BEGIN, END, Row, check_page, load, markdown, save, table, write_tables

ROW = Row(case="one", command="python -m sim.results one", network="net", synthetic=True,
          weights=1234, hardware="8 lanes", around="latency 40", values=5000, wrong=0, shown=(),
          cycles=1100, layer_cycles=1000, span=1050, spent={"idle": 1050}, dense=9000,
          acs=4000, executed=3000.0, adders=16, weight_bits=8, port_bits=128,
          moved={"weights": [8_000, 0], "maps": [30_000, 40_000]}, on_chip_bits=81920,
          bits_besides_weights=8192, external_bytes=5_000_000, build_seconds=61.4,
          simulate_seconds=2.34, peak_mb=100.0, resumed_at=None, layers=[{"name": "a"}])


def test_json(tmp_path):
    rows = [ROW, replace(ROW, shown=("a", "b"), cycles=None, resumed_at="head")]
    save(rows, tmp_path / "new" / "one.json")
    assert load([tmp_path / "new" / "one.json"]) == rows


def test_tables():
    text = markdown([ROW, replace(ROW, around="latency 9", cycles=1200),
                     replace(ROW, case="two", synthetic=False, cycles=None, resumed_at="b")])
    assert text[2] == ("| `python -m sim.results one` | net, synthetic | 1,234 | latency 40 | 0 | "
                       "5,000 | 1,100 | 4,000 | 75.0% | 25.0% | 61 | 2.3 |")
    assert "| net, trained |" in text[4] and "| 1,000 (resumed at b) |" in text[4]
    # The second table has one line for each network of a case.
    assert text[5] == "" and len(text) == 10
    assert text[8] == ("| `python -m sim.results one` | net, synthetic | 10 | 1 | 5.00 | 0.01 | "
                       "45% | on chip | 0.03 / 0.04 |")


def test_numbers_are_to_the_right():
    assert table(("a", "b"), [("x", "1"), ("y", "22")])[1] == "| --- | ---: |"
    assert table(("a",), []) == ["| a |", "| --- |"]


def test_page(tmp_path):
    page = tmp_path / "results.md"
    page.write_text(f"before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    write_tables(page, markdown([ROW]))
    text = page.read_text()
    assert text.startswith(f"before\n\n{BEGIN}\n\n| command |") and "old" not in text
    assert text.endswith(f"|\n\n{END}\n\nafter\n")
    write_tables(page, markdown([ROW]))
    assert page.read_text() == text


def test_page_without_markers(tmp_path):
    (tmp_path / "results.md").write_text("text")
    sentence = rf"^{re.escape(repr(str(tmp_path / 'results.md')))} must hold the lines "
    for path in (tmp_path / "results.md", tmp_path / "none.md"):
        with pytest.raises(ValueError, match=sentence if path.exists() else "must hold"):
            check_page(path)
