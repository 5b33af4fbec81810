# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""Arty A7: numbers of the data sheet against each other, and pins of the reference manual."""

import pytest
from amaranth import Elaboratable, Module
from amaranth.lib import io

from boards.arty_a7 import arty_a7, arty_a7_100

both = pytest.mark.parametrize("board", [arty_a7, arty_a7_100], ids=lambda board: board.name)


@both
def test_a_slice_is_four_luts_eight_flip_flops_one_carry(board):
    slices = board.resources.carry
    assert (board.resources.lut, board.resources.ff) == (4 * slices, 8 * slices)


def test_block_ram_and_dsp_of_the_data_sheet():
    """DS180: 1,800 and 4,860 Kbit of block RAM."""
    assert 36 * arty_a7.resources.ram == 1_800 and arty_a7.resources.dsp == 90
    assert 36 * arty_a7_100.resources.ram == 4_860 and arty_a7_100.resources.dsp == 240


@both
def test_platform_agrees(board):
    platform = board.platform()
    assert platform.default_clk_frequency == board.oscillator_hz
    plan = platform.build(Module(), name="empty", do_build=False)
    assert f"-part {board.part}\n" in plan.files["empty.tcl"]


def test_parts():
    assert (arty_a7.part, arty_a7_100.part) == ("xc7a35ticsg324-1L", "xc7a100tcsg324-1")


class Pins(Elaboratable):
    """All that a board offers, in use."""

    def __init__(self, board):
        self.board = board

    def elaborate(self, platform):
        m = Module()
        uart = platform.request(*self.board.uart, dir={"rx": "-", "tx": "-"})
        m.submodules += [io.Buffer("i", uart.rx), io.Buffer("o", uart.tx)]
        for led in self.board.leds:
            m.submodules += io.Buffer("o", platform.request(*led, dir="-"))
        return m


@both
def test_pins(board):
    files = board.platform().build(Pins(board), name="pins", do_build=False).files
    pins = {line.split()[4].strip('"]'): line.split()[2] for line in files["pins.xdc"].splitlines()
            if line.startswith("set_property LOC")}
    assert pins == {"uart_0__rx__io": "A9", "uart_0__tx__io": "D10",
                    "led_0__io": "H5", "led_1__io": "J5", "led_2__io": "T9", "led_3__io": "T10"}


@both
def test_memories(board):
    """16 MB, of which 4 are the bitstream's; 256 MB, with a clock for the SERDES of its pads."""
    flash, ddr3 = board.memories
    assert (flash.kind, flash.size, flash.offset) == ("flash", 16 << 20, 4 << 20)
    assert (ddr3.kind, ddr3.size, ddr3.offset) == ("ddr3", 256 << 20, 0)
    pll = board.with_memory(ddr3).clocking(board.oscillator_hz, board.clock_hz)
    assert "fast" in pll.signature.members


@both
def test_each_platform_is_new(board):
    assert board.platform() is not board.platform()
