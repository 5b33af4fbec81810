# SPDX-License-Identifier: Apache-2.0
"""Scripts for Vivado: what they name, and that they are Tcl."""

import shutil
import subprocess

import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.network import NetworkConfig
from hw.packaging import SCRIPTS, buses, scripts
from hw.soc import peripheral
from quantize.random_model import random_model

MODEL = random_model(NetworkConfig(8, 1, 1, 1, 1, 4, 4, 3,
                                   pool_stages=(False, False, True, True)), seed=2)
MEMORY = {"on chip": ({}, []), "streamed": ({"port_bits": 64}, ["m_axi_weights"]),
          "spilled": ({"port_bits": 64, "spill_residual": True},
                      ["m_axi_weights", "m_axi_residual"])}
every_memory = pytest.mark.parametrize("options, masters", MEMORY.values(), ids=MEMORY)


def top(options):
    return peripheral(compile_model(MODEL, HardwareConfig.for_model(MODEL, 8, 2, **options)))


@every_memory
def test_buses(options, masters):
    assert buses(top(options)) == ["s_axi", "s_axis", "m_axis", *masters]


@every_memory
def test_what_the_scripts_name(options, masters):
    text = scripts(top(options), "xc7z020clg400-1", 62.5)
    assert tuple(text) == SCRIPTS
    package, system = text.values()
    assert "-part xc7z020clg400-1\n" in package and "-part xc7z020clg400-1\n" in system
    assert f"foreach bus {{{' '.join(['s_axi', 's_axis', 'm_axis', *masters])}}} {{" in package
    assert "PCW_FPGA0_PERIPHERAL_FREQMHZ 62.5 " in system
    assert "c_m_axis_mm2s_tdata_width 8 " in system
    for master in masters:
        assert f"core/{master}" in system
    assert "{{" not in package + system


@pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed")
@pytest.mark.parametrize("arguments", [[], ["digilentinc.com:arty-z7-20:part0:1.1"]])
def test_they_are_tcl(tmp_path, arguments):
    """Every command that is not Tcl's is Vivado's: one that prints itself stands in for it."""
    text = scripts(top({"port_bits": 64}), "xc7z020clg400-1", 50)
    for name, script in text.items():
        (tmp_path / name).write_text(
            "proc unknown {args} { puts $args; return [lindex $args 0] }\n" + script)
        ran = subprocess.run(["tclsh", name, *arguments], cwd=tmp_path, capture_output=True,
                             text=True, check=True)
        assert not ran.stderr
        commands = ran.stdout.splitlines()
        assert commands[0].startswith("create_project -force")
        assert any(line.startswith("set_property board_part") for line in commands) == (
            bool(arguments) and name == "system.tcl")
        if name == "package_ip.tcl":
            assert ("ipx::associate_bus_interfaces -busif m_axi_weights -clock aclk "
                    "ipx::current_core") in commands
        else:
            assert any("Master /core/m_axi_weights Slave /ps/S_AXI_HP0" in line
                       for line in commands)
