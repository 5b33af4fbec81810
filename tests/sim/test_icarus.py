# SPDX-License-Identifier: Apache-2.0
"""Icarus Verilog: each testbench once, and a whole accelerator; skipped where it is not installed.

`make test-icarus` installs it, and fails without it.
"""

import os

import pytest

from hw.toolchains import packages
from sim import icarus
from sim.benches import lif
from sim.build import Design
from sim.icarus import Icarus, find_icarus
from sim.toolchain import ToolError
from sim.units import UnitError, run_bench, run_unit

BENCHES = {
    "attention": {"embed_dim": 32, "num_heads": 2, "tau": 2.0, "engines": 1},
    "dispatch": {"lanes": 8, "banks": 2, "ports": 2, "pause": 0.5},
    "gather": {"height": 4, "width": 4, "kernel": 3, "pause": 0.5},
    "lanes": {"lanes": 8, "banks": 2, "ports": 2},
    "lif": {"lanes": 8, "tau": 1.5, "pause": 0.4},
    "loader": {"static": True, "pause": 0.5},
    "pool": {"height": 5, "width": 3, "pool": True},
    "residual": {"lanes": 8, "pause": 0.4},
    "whole": {"lanes": 8, "banks": 2, "tau": 1.5, "pause": 0.3},
}


@pytest.fixture(scope="module")
def installed():
    found = find_icarus()
    if found is None:
        if os.environ.get("SPIKELOOM_ICARUS") == "required":
            pytest.fail(f"Icarus Verilog must be installed: {icarus.HOW}")
        pytest.skip(f"Icarus Verilog is not installed: {icarus.HOW}")
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHES)
def test_bench(installed, name):
    run_bench(name, icarus=installed, **BENCHES[name])


@pytest.mark.slow
def test_a_failing_bench_fails_here_too(installed):
    with pytest.raises(UnitError, match=r"sim\.benches\.lif\.spikes"):   # another tau
        run_unit(lif.unit({"lanes": 8, "tau": 2.0}), lif.__name__,
                 {"lanes": 8, "tau": 1.5, "pause": 0.0}, icarus=installed)


def test_what_it_says_of_a_syntax_error(installed, tmp_path):
    with pytest.raises(ToolError, match=r"^iverilog failed: .*syntax error"):
        installed.compile(Design({"a.v": "module a(;"}, "a", {}), tmp_path)


def test_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_icarus() is None
    parts = packages.cache_folder("icarus") / "usr/lib/x86_64-linux-gnu/ivl"
    parts.mkdir(parents=True)
    assert find_icarus() == Icarus(packages.cache_folder("icarus") / "usr/bin", parts)
    for name in ("iverilog", "vvp"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    assert find_icarus() == Icarus(tmp_path)


def test_command(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(icarus, "find_icarus", lambda: Icarus(tmp_path))
    assert icarus.main([]) == 0
    assert capsys.readouterr().out == f"Icarus Verilog is there: {tmp_path}\n"
    asked = []
    monkeypatch.setattr(icarus, "find_icarus", lambda: None)
    monkeypatch.setattr(packages, "provide", lambda *arguments: asked.append(arguments))
    assert icarus.main([]) == 1
    assert capsys.readouterr().err.startswith("error: the package iverilog must hold ")
    assert asked == [("Icarus Verilog", ["iverilog"], packages.cache_folder("icarus"))]
