# SPDX-License-Identifier: Apache-2.0
"""Nexys 4 DDR: part and pins of Digilent's reference manual."""

from boards.nexys4ddr import nexys4ddr
from boards.top import build_plan
from tests.boards.test_ulx3s import ECHO, Echo


def test_platform_agrees():
    assert nexys4ddr.platform().default_clk_frequency == nexys4ddr.oscillator_hz
    assert nexys4ddr.clock_hz == 50_000_000


def test_part_and_pins():
    files = build_plan(nexys4ddr, Echo(), ECHO).files
    assert "-part xc7a100tcsg324-1\n" in files["top.tcl"]
    pins = {line.split()[4].strip('"]'): line.split()[2] for line in files["top.xdc"].splitlines()
            if line.startswith("set_property LOC")}
    # The manual's CTS and RTS are there too, unused.
    assert pins.items() >= {"clk100_0__io": "E3", "rst_0__io": "C12", "uart_0__rx__io": "C4",
                    "uart_0__tx__io": "D4", "led_0__io": "H17", "led_1__io": "K15",
                    "led_2__io": "J13"}.items()
