# SPDX-License-Identifier: Apache-2.0
"""The cocotb test of the whole accelerator passes or fails with the testbench's watchdog."""

import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from sim.build import Design, build
from sim.toolchain import cocotb_environment

TOP = """
module testbench #(parameter int STALLS = 0);
  logic done /*verilator public_flat_rd*/ = 0;
  logic stalled /*verilator public_flat_rd*/ = 0;
  initial begin
    #100 stalled = STALLS != 0;
    done = 1;
  end
endmodule
"""


@pytest.mark.parametrize("stalls", [0, 1])
def test_watchdog(tmp_path, stalls):
    results = tmp_path / "results.xml"
    environment = cocotb_environment("testbench", "sim.benches.accelerator", results)
    executable = build(Design({"testbench.sv": TOP}, "testbench", {"STALLS": stalls}))
    subprocess.run([executable], cwd=tmp_path, env=environment, capture_output=True, check=False)
    root = ElementTree.parse(results).getroot()
    assert len(list(root.iter("testcase"))) == 1
    assert len(list(root.iter("failure"))) == stalls
