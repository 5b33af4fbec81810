# SPDX-License-Identifier: Apache-2.0
"""Unpacking of the standard cells, with apt-get and dpkg-deb replaced by scripts."""

import sys

import pytest

from hw.toolchains import cells

APT = """
import pathlib, sys
pathlib.Path({log!r}).open("a").write(" ".join(sys.argv[1:]) + "\\n")
pathlib.Path("a.deb").touch()
sys.exit({status})
"""
DPKG = """
import pathlib, sys
for name in ("osu018", "osu035"):
    folder = pathlib.Path(sys.argv[3]) / "usr/share/qflow/tech" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / (name + "_stdcells.lib")).touch()
"""


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A machine with a cache folder and scripts for apt-get and dpkg-deb; runs the command."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(cells, "LIBRARIES", ("osu018", "osu035"))
    found = cells.Path
    monkeypatch.setattr(cells, "Path", lambda *parts: found(
        tmp_path / "empty" if parts == ("/",) else found(*parts)))

    def call(status=0, tools=("apt-get", "dpkg-deb")):
        texts = {"apt-get": APT.format(log=str(tmp_path / "log"), status=status), "dpkg-deb": DPKG}
        for name in tools:
            (tmp_path / name).write_text(f"#!{sys.executable}\n{texts[name]}")
            (tmp_path / name).chmod(0o755)
        return cells.main([])
    return call


def test_unpacks_once(system, tmp_path, capsys):
    assert cells.find_library() is None
    assert system() == 0
    assert capsys.readouterr().out.startswith("unpacked osu018, osu035 into ")
    assert cells.find_library("osu035").name == "osu035_stdcells.lib"
    assert system() == 0
    assert capsys.readouterr().out.startswith("the libraries are there")
    log = (tmp_path / "log").read_text().splitlines()
    assert len(log) == 1 and log[0].endswith("download qflow-tech-osu018 qflow-tech-osu035")
    assert [each.name for each in (tmp_path / "cache" / "spikeloom").iterdir()] == ["asic"]


def test_a_failure_leaves_nothing(system, tmp_path, capsys):
    assert system(status=3) == 1
    assert "apt-get failed" in capsys.readouterr().err
    assert not list((tmp_path / "cache" / "spikeloom").iterdir())


def test_says_what_is_missing(system, capsys):
    assert system(tools=("apt-get",)) == 2
    assert capsys.readouterr().err.startswith("error: dpkg-deb must be on the PATH")
