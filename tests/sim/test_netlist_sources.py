# SPDX-License-Identifier: Apache-2.0
import re

import pytest

import boards
from hw.build import write_sources
from sim.netlist_sources import CORE, Netlist, _below, _ports
from tests.sim.test_netlist import tiny


def test_connections_know_every_port():
    ports = ("clk", "rst", "i__payload", "o__ready$24", "weights__ar__payload",
             "weights__r__valid$3", "weights_address", "enable", "bad_image", "faults")
    assert Netlist("", ports).connections() == (
        r".\clk (clk), .\rst (rst), .\i__payload (i_payload), .\o__ready$24 (o_ready), "
        r".\weights__ar__payload (weights_ar), .\weights__r__valid$3 (weights_r_valid), "
        r".\weights_address (32'd0), .\enable (1'b1), .\bad_image (), .\faults ()")


def test_an_unknown_port_is_refused():
    with pytest.raises(ValueError, match="must have the ports of the accelerator, not 'maps__x'"):
        Netlist("", ("clk", "maps__x")).connections()


def test_a_board_has_the_core_with_known_ports(tmp_path):
    """As `board_netlist` cuts it out after the synthesis, which is slow."""
    program, _ = tiny(0)
    source, _ = write_sources(tmp_path, program, boards.get("arty_a7"))
    text = source.read_text()
    ports, = re.findall(rf"^module \\{re.escape(CORE)} \((.*?)\);", text, re.M | re.S)
    names = [port.strip().removeprefix("\\") for port in ports.split(",")]
    connections = Netlist("", tuple(names)).connections()
    assert "reset (1'b0)" in connections and connections.count("(i_valid)") == 1


def test_ports_of_verilog():
    text = "module other(a);\nendmodule\nmodule accelerator(clk, \\i__valid , \no__ready);\n"
    assert _ports(text) == ("clk", "i__valid", "o__ready")
    with pytest.raises(ValueError, match="must hold the module accelerator"):
        _ports("module other(a);\nendmodule\n")


def test_modules_below_and_cells_used():
    def module(*kinds, **attributes):
        return {"cells": {str(n): {"type": kind} for n, kind in enumerate(kinds)},
                "attributes": attributes}
    modules = {"top": module("core", "PIN"), "core": module("part", "part", "FDRE", "$buf"),
               "part": module("LUT6"), "FDRE": module("$dff", lib_whitebox="1"),
               "LUT6": module(blackbox="00000000000000000000000000000001"), "PIN": module()}
    used = set()
    assert _below(modules, "core", used) == {"core", "part"}
    assert used == {"FDRE", "LUT6"}
