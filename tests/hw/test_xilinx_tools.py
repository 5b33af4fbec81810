# SPDX-License-Identifier: Apache-2.0
"""Where the Xilinx tools are found."""

import pytest

from hw.toolchains import xilinx_tools
from hw.toolchains.xilinx_tools import find_tools


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A machine with an empty cache and no such tools installed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(xilinx_tools, "TOOLS", ("no-such-tool",))
    return tmp_path / "spikeloom" / "xilinx"


def test_unpacked_ones_bring_their_libraries(cache):
    assert find_tools() is None
    libraries = cache / "usr/lib/x86_64-linux-gnu"
    for folder in (libraries, cache / "usr/share/prjxray/database"):
        folder.mkdir(parents=True)
    (libraries / "ld-linux-x86-64.so.2").touch()
    assert find_tools().command("bitread") == [
        str(libraries / "ld-linux-x86-64.so.2"), "--library-path", str(libraries),
        str(cache / "usr/bin/bitread")]


def test_installed_ones_go_first(cache, tmp_path, monkeypatch):
    (tmp_path / "bitread").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(xilinx_tools, "TOOLS", ("bitread",))
    for place in ("chips", "database"):
        monkeypatch.setattr(xilinx_tools.Tools, place, property(lambda _: tmp_path))
    assert find_tools().command("bitread") == ["bitread"]
