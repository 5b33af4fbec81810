# SPDX-License-Identifier: Apache-2.0
"""Unpacking of the Xilinx tools, with apt-get and dpkg-deb replaced by scripts."""

import os
import sys

import pytest

from hw.toolchains import provision, xilinx_tools

APT = """
import pathlib, sys
arguments = sys.argv[1:]
pathlib.Path({log!r}).open("a").write(" ".join(arguments) + "\\n")
if "indextargets" in arguments:
    print({targets!r}, end="")
if "install" in arguments:
    cache = next(a for a in arguments if a.startswith("Dir::Cache=")).partition("=")[2]
    for name in ("a.deb", "b.deb"):
        (pathlib.Path(cache) / "archives" / name).touch()
sys.exit({status} if "update" in arguments else 0)
"""
DPKG = """
import pathlib, sys
root = pathlib.Path(sys.argv[3])
(root / "usr/share/prjxray/database").mkdir(parents=True, exist_ok=True)
(root / "usr/lib/x86_64-linux-gnu").mkdir(parents=True, exist_ok=True)
(root / "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2").touch()
"""
TARGETS = "http://m/security/|Debian|Debian-Security\nhttp://m/debian/|Debian|Debian\n"


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A machine with a cache folder and scripts for apt-get and dpkg-deb; sets up the scripts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(xilinx_tools, "TOOLS", ("no-such-tool",))
    (tmp_path / "keys").touch()

    def script(name, text):
        (tmp_path / name).write_text(f"#!{sys.executable}\n{text}")
        (tmp_path / name).chmod(0o755)

    def call(*arguments, targets=TARGETS, status=0):
        script("apt-get", APT.format(log=str(tmp_path / "log"), targets=targets, status=status))
        script("dpkg-deb", DPKG)
        return provision.main(["--keyring", str(tmp_path / "keys"), *arguments])
    return call


def test_unpacks_once(system, tmp_path, capsys):
    assert provision.find_tools() is None
    assert system() == 0
    assert capsys.readouterr().out.startswith("unpacked 2 packages into ")
    log = (tmp_path / "log").read_text()
    assert "--download-only install nextpnr-himbaechel-xilinx" in log
    assert system() == 0
    assert capsys.readouterr().out.startswith("the tools for Xilinx are there, in ")
    assert (tmp_path / "log").read_text() == log
    assert [path.name for path in (tmp_path / "cache" / "spikeloom").iterdir()] == ["xilinx"]


def test_the_mirror_is_that_of_the_system(system, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(provision, "provision", lambda mirror, keyring, target: written.append(
        mirror) or 1)
    assert system() == 0 and written == ["http://m/debian/"]
    assert system("--mirror", "http://other/") == 0 and written[1] == "http://other/"
    # before apt-get update
    assert system(targets="http://n/debian/|$(ORIGIN)|$(LABEL)\n") == 0
    assert written[2] == "http://n/debian/"


def test_no_mirror_of_debian(system, capsys):
    assert system(targets="http://u/ubuntu/|Ubuntu|Ubuntu\n") == 2
    assert capsys.readouterr().err == (
        "error: apt must be configured with a mirror of Debian, or one be given: make tools-xilinx "
        "MIRROR=URL\n")


def test_a_failed_download_leaves_nothing(system, tmp_path, capsys):
    assert system(status=1) == 1
    assert "apt-get failed" in capsys.readouterr().err
    assert list((tmp_path / "cache" / "spikeloom").iterdir()) == []


def test_no_keys(system, tmp_path, capsys):
    (tmp_path / "keys").unlink()
    assert system() == 2
    assert capsys.readouterr().err.startswith("error: keyring must be a file with Debian's keys")
