# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from hw.asic.constraints import librelane, sdc


def test_sdc_has_clock_and_delays():
    lines = sdc(40).splitlines()
    assert "create_clock -name clk -period 25.0000 [get_ports clk]" in lines
    assert "set_input_delay 5.0000 -clock clk [all_inputs -no_clocks]" in lines
    assert "set_output_delay 5.0000 -clock clk [all_outputs]" in lines
    assert any(line.startswith("set_clock_uncertainty") for line in lines)


@pytest.mark.parametrize("clock", [0, -1, float("nan")])
def test_sdc_refuses_no_clock(clock):
    with pytest.raises(ValueError, match="clock_mhz must be positive, not"):
        sdc(clock)


def test_librelane_configuration():
    placed = {"a.macro": "sram_x", "b.macro": "sram_y", "c.macro": "sram_x"}
    config = json.loads(librelane(50, placed, "top.sdc", ["top.v"], "stubs.v"))
    assert config["DESIGN_NAME"] == "accelerator"
    assert (config["CLOCK_PORT"], config["CLOCK_PERIOD"]) == ("clk", 20.0)
    assert config["VERILOG_FILES"] == ["dir::top.v"]
    assert config["PNR_SDC_FILE"] == config["SIGNOFF_SDC_FILE"] == "dir::top.sdc"
    assert set(config["MACROS"]) == {"sram_x", "sram_y"}
    assert set(config["MACROS"]["sram_x"]["instances"]) == {"a.macro", "c.macro"}
    assert config["MACROS"]["sram_y"]["lef"] == ["dir::macros/sram_y.lef"]


def test_librelane_without_macros():
    config = json.loads(librelane(50, {}, "top.sdc", ["top.v"], "stubs.v"))
    assert config["MACROS"] == {} and config["EXTRA_VERILOG_MODELS"] == []
