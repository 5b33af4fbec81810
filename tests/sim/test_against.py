# SPDX-License-Identifier: Apache-2.0
"""A result beside an earlier one."""

import argparse
import json

import pytest

from sim.against import Limit, broken, change_rows, compare, limit, read_figures

BEFORE = {"one": {"cycles": 1000, "use": 0.5, "adders": 64, "mismatches": 0, "lut": 100},
          "gone": {"cycles": 1}}
NOW = {"one": {"cycles": 1030, "use": 0.6, "adders": 128, "mismatches": 2, "efficiency": 5.0},
       "new": {"cycles": 7}}


def test_changes():
    changes = compare(BEFORE, NOW)
    assert [(change.case, change.metric.key) for change in changes] == [
        ("one", "mismatches"), ("one", "adders"), ("one", "cycles"), ("one", "use")]
    mismatches, adders, cycles, use = changes
    assert mismatches.ratio is None and mismatches.worse == float("inf")
    assert adders.ratio == 2 and adders.worse == 0
    assert cycles.ratio == 1.03 and cycles.worse == pytest.approx(0.03)
    assert use.worse == pytest.approx(-0.2)
    assert change_rows(changes)[1:] == [
        ("one", "P, adders of the lanes", "64", "128", "2.000", ""),
        ("one", "C, cycles", "1,000", "1,030", "1.030", "worse"),
        ("one", "lane use, A / (P C)", "50.00%", "60.00%", "1.200", "better")]


@pytest.mark.parametrize(("limits", "count"), [
    ([], 0), ([Limit("cycles", 0.03)], 0), ([Limit("cycles", 0.02)], 1), ([Limit("use")], 0),
    ([Limit("lut")], 0), ([Limit("mismatches", 9.0)], 1)])
def test_limits(limits, count):
    assert len(broken(compare(BEFORE, NOW), limits)) == count


def test_a_broken_limit_is_one_sentence():
    assert broken(compare(BEFORE, NOW), [Limit("cycles", 0.01)]) == [
        "one: C, cycles must not become worse by more than 1.0% of 1,000, but is 1,030"]


def test_words_of_a_limit():
    assert limit("cycles") == Limit("cycles") and limit("use=2.5") == Limit("use", 0.025)
    for word, message in (("adders", "METRIC must be one of mismatches, "),
                          ("cycles=x", "PERCENT must be a number of at least 0, not 'x'"),
                          ("cycles=-1", "PERCENT must be a number of at least 0, not '-1'")):
        with pytest.raises(argparse.ArgumentTypeError, match=rf"^{message}"):
            limit(word)


def test_files(tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"results": [{"row": {"case": "a"}, "metrics": {"cycles": 3}}]}))
    assert read_figures(path) == {"a": {"cycles": 3}}
    for text in ("no", "[]", "{}"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"^--against must name a result of "):
            read_figures(path)
    with pytest.raises(ValueError, match=r"^--against must name a result of "):
        read_figures(tmp_path / "none.json")
