# SPDX-License-Identifier: Apache-2.0
"""Where packages go; that they are unpacked whole or not at all is in test_cells."""

import pytest

from hw.toolchains import packages
from hw.toolchains.packages import cache_folder, provide


def test_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("icarus") == tmp_path / "spikeloom" / "icarus"


def test_a_machine_without_apt(monkeypatch, tmp_path):
    monkeypatch.setattr(packages.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="apt-get must be on the PATH: a simulator comes from "):
        provide("a simulator", ["it"], tmp_path / "target")
    assert not list(tmp_path.iterdir())
