# SPDX-License-Identifier: Apache-2.0
"""The cache of simulators: one build for one design, whole or absent."""

import os
import re
import subprocess
from dataclasses import replace

import pytest

from sim.build import Design, build
from sim.toolchain import ToolError, find_toolchain

HELLO = """
module hello #(parameter int NUMBER = 1);
  initial begin $display("number %0d", NUMBER); $finish; end
endmodule
"""
DESIGN = Design({"hello.sv": HELLO}, "hello", {"NUMBER": 7}, cocotb=False)


def test_build_and_cache(tmp_path):
    executable = build(DESIGN, tmp_path)
    output = subprocess.run([executable], capture_output=True, text=True, check=True).stdout
    assert "number 7" in output
    made = executable.stat().st_mtime_ns
    assert build(DESIGN, tmp_path) == executable and executable.stat().st_mtime_ns == made
    # A build that was killed before its entry was complete leaves no executable, and is repeated.
    executable.unlink()
    assert build(DESIGN, tmp_path) == executable and os.access(executable, os.X_OK)
    # The entry, its lock, the run-time library, and nothing of the work in between.
    names = sorted(path.name for path in tmp_path.iterdir())
    key = executable.parent.name
    assert [name for name in names if key not in name] == [
        f"library-{DESIGN.library_key(find_toolchain())}"]
    assert len(names) == 3


def test_everything_that_matters_is_in_the_key():
    toolchain = find_toolchain()
    designs = [DESIGN, replace(DESIGN, sources={"hello.sv": HELLO + "\n"}),
               replace(DESIGN, sources={"other.sv": HELLO}), replace(DESIGN, toplevel="other"),
               replace(DESIGN, parameters={"NUMBER": 8}), replace(DESIGN, cocotb=True),
               replace(DESIGN, waves=True), replace(DESIGN, public=("public_flat",)),
               replace(DESIGN, random=True)]
    keys = {design.key(toolchain) for design in designs}
    keys.add(DESIGN.key(replace(toolchain, versions=("verilator 6",))))
    assert len(keys) == len(designs) + 1


def test_an_error_is_one_sentence(tmp_path):
    wrong = replace(DESIGN, sources={"hello.sv": "module hello(; endmodule"})
    with pytest.raises(ToolError, match=r"^Verilator must compile the simulator, but failed with: "
                                        r"%Error: hello.sv:1:14: syntax error[^\n]*$"):
        build(wrong, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(ToolError, match=re.escape("the simulator needs a C++ compiler, and ")):
        build(DESIGN, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
