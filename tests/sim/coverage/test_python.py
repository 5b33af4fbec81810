# SPDX-License-Identifier: Apache-2.0
"""The suite under coverage.py: a worker process counts, too."""

from types import SimpleNamespace

import pytest

from sim.coverage import python as module
from sim.coverage.python import Share, read_shares, run_tests
from sim.toolchain import ToolError


@pytest.mark.slow
def test_a_test_in_a_worker(tmp_path):
    pytest.importorskip("coverage")
    out = tmp_path / "out"
    assert run_tests(["-q", "-p", "no:cacheprovider", "tests/quantize/test_bits.py"], out,
                     workers=2)
    shares = {share.name: share for share in read_shares(out / "python.json")}
    bits = shares["quantize/bits.py"]
    assert bits.lines > 0.9 * bits.all_lines > 0 < bits.branches < bits.all_branches
    assert shares["boards/flash.py"].lines == 0 < shares["boards/flash.py"].all_lines
    assert "tests/quantize/test_bits.py" not in shares
    assert (out / "html" / "index.html").is_file()


@pytest.fixture
def commands(monkeypatch):
    """What is run instead of coverage.py, and the exit status of each of its commands."""
    ran, status = [], {}

    def run(command, **_):
        name = command[3]
        ran.append(command[3:])
        return SimpleNamespace(returncode=status.get(name, 0), stdout="No data to combine\n",
                               stderr="")

    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(module.subprocess, "run", run)
    return ran, status


def test_commands(commands, tmp_path):
    ran, status = commands
    (tmp_path / "data.old").write_text("of an earlier run")
    assert run_tests(["-k", "x"], tmp_path)
    assert [command[0] for command in ran] == ["run", "combine", "json", "html"]
    assert ran[0][1:] == [f"--data-file={tmp_path / 'data'}", "-m", "pytest", "-k", "x"]
    assert not (tmp_path / "data.old").exists()
    assert run_tests(["-k", "x"], tmp_path, workers=2)
    assert ran[4][3:] == ["pytest", "-n", "2", "--dist", "loadfile", "-k", "x"]
    status["run"] = 1
    assert not run_tests([], tmp_path)   # and yet there is a report
    status["combine"] = 1
    with pytest.raises(ToolError, match="coverage combine must find data of the tests, but failed "
                                        "with: No data to combine"):
        run_tests([], tmp_path)


def test_without_coverage(tmp_path, monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"needs coverage\.py, which is not installed"):
        run_tests([], tmp_path)


def test_sums():
    parts = [Share("a", 1, 2, 3, 4), Share("b", 5, 7, 0, 2)]
    total = Share.of("all", parts)
    assert total == Share("all", 6, 9, 3, 6) and total.missing == 6
