# SPDX-License-Identifier: Apache-2.0
"""`python -m sim.bench`: what is measured is kept, compared, and an exit status."""

import json
from dataclasses import replace

import pytest

from sim import bench, scaling
from sim.bench import BEGIN, main
from sim.cases import BENCH
from sim.result_rows import END
from sim.run import SimulationError
from tests.sim.test_metrics import result


@pytest.fixture
def docs(tmp_path, monkeypatch):
    """A page, and measurements that are none: of each case and its options, in `asked`."""
    asked = []

    def measure(case, mapped):
        asked.append((case.name, case.options, mapped))
        return result(case.name, synthesis=mapped)
    monkeypatch.setattr(bench, "measure", measure)
    monkeypatch.setattr(bench, "commit", lambda: "abc1234")
    (tmp_path / "performance.md").write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    return tmp_path, asked


def run(docs, *words):
    return main([*words, "--docs", str(docs)])


def written(docs):
    path, = (docs / "bench").glob("*.json")
    return path, json.loads(path.read_text())


def test_all_cases(docs, capsys):
    docs, asked = docs
    assert run(docs) == 0
    assert [name for name, _, _ in asked] == [*BENCH]
    assert all(mapped for _, _, mapped in asked)
    path, values = written(docs)
    assert path.stem == f"{values['date']}-abc1234" and values["commit"] == "abc1234"
    assert [each["row"]["case"] for each in values["results"]] == [name for name, *_ in asked]
    page = (docs / "performance.md").read_text()
    assert f"[bench/{path.stem}.md](bench/{path.stem}.md)" in page and "| C, cycles |" in page
    assert page.startswith("before\n") and page.endswith(f"{END}\nafter\n")
    assert f"wrote {path}" in capsys.readouterr().out


def test_one_case_leaves_the_page_alone(docs):
    docs, asked = docs
    before = (docs / "performance.md").read_text()
    assert run(docs, "digits", "--no-synthesis") == 0
    assert asked == [("digits", (), False)]
    assert (docs / "performance.md").read_text() == before
    # Another case of the same day and commit is added.
    assert run(docs, "w1") == 0
    assert [each["row"]["case"] for each in written(docs)[1]["results"]] == ["digits", "w1"]
    assert run(docs, "w1", "digits", "--resume") == 0
    assert len(asked) == 2


def test_hardware_of_the_command_line(docs):
    docs, asked = docs
    assert run(docs, "w1", "--lanes", "64", "--spike-lines", "1", "2", "--spill-residual") == 0
    given = ("--lanes", "64", "--spill-residual", "--spike-lines", "1", "2")
    assert asked[0][1][-6:] == given and asked[0][1][:2] == ("--lanes", "128")
    assert written(docs)[0].stem.endswith("abc1234-lanes-64-spill-residual-spike-lines-1-2")


def test_against(docs, capsys, monkeypatch):
    docs, _ = docs
    assert run(docs, "digits", "--name", "old") == 0
    old = str(docs / "bench" / "old.json")
    monkeypatch.setattr(bench, "measure", lambda case, mapped: result(case.name, cycles=1020))
    capsys.readouterr()
    assert run(docs, "digits", "--name", "new", "--against", old) == 0
    assert "| digits | C, cycles | 13,500 | 13,760 | 1.019 | worse |" in capsys.readouterr().out
    assert run(docs, "digits", "--against", old, "--fail", "cycles=2", "--fail", "lut") == 0
    assert run(docs, "digits", "--against", old, "--fail", "cycles=1") == 1
    assert capsys.readouterr().err == (
        "error: digits: C, cycles must not become worse by more than 1.0% of 13,500, but is "
        "13,760\n")


def test_what_is_wrong_is_status_1(docs, capsys, monkeypatch):
    docs, _ = docs
    one = result("digits")
    one = replace(one, row=replace(one.row, wrong=3, adders=64))
    monkeypatch.setattr(bench, "measure", lambda case, mapped: one)
    assert run(docs, "digits") == 1
    assert capsys.readouterr().err == ("error: digits: the lanes must have 64 adders, not 32\n"
                                       "error: digits: 3 mismatches\n")

    def hangs(case, mapped):
        raise SimulationError("the accelerator hangs")
    monkeypatch.setattr(bench, "measure", hangs)
    assert run(docs, "digits") == 1
    assert capsys.readouterr().err == "error: the accelerator hangs\n"


def test_bad_input(docs, capsys):
    docs, asked = docs
    for words, message in (
            (["none"], f"NAME must be one of {', '.join(BENCH)}, scaling, not 'none'"),
            (["--fail", "cycles"], "--fail needs --against, an earlier result to compare with"),
            (["--against", "none.json"],
             "--against must name a result of python -m sim.bench, not 'none.json'")):
        assert run(docs, *words) == 2
        assert capsys.readouterr().err.startswith(f"error: {message}")
    (docs / "performance.md").write_text("no markers")
    assert run(docs, "digits") == 2 and not asked
    assert run(docs, "--fail", "adders") == 2


def test_scaling_is_a_command_of_its_own(monkeypatch):
    asked = []
    monkeypatch.setattr(scaling, "main", lambda words: asked.append(words) or 0)
    assert main(["scaling", "fashion", "--most", "64"]) == 0
    assert asked == [["fashion", "--most", "64"]]
