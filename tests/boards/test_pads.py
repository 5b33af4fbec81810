# SPDX-License-Identifier: Apache-2.0
"""The pins of memory chips, in the files for the tools, compared with the boards' schematics."""

import re

import pytest

import boards
from boards.memory import BoardCore, external_core
from boards.top import build_plan
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.identity import Identity
from tests.boards.test_memory import TINY
from tests.hw import reference

FLASH = {"cs__io": "L13", "clk__io": "L16", "dq__io\\[0]": "K17", "dq__io\\[1]": "K18",
         "dq__io\\[2]": "L14", "dq__io\\[3]": "M14"}
SDRAM = {"clk__io": "F19", "clk_en__io": "F20", "cs__io": "P20", "ras__io": "R20",
         "cas__io": "T19", "we__io": "T20", "ba__io[0]": "P19", "ba__io[1]": "N20",
         "dqm__io[0]": "U19", "a__io[0]": "M20", "a__io[12]": "G19", "dq__io[0]": "J16",
         "dq__io[15]": "J17"}


@pytest.fixture(scope="module")
def files():
    """Of boards with a chip for the weights, by name."""
    model, _ = reference.random_model(TINY)
    hardware = HardwareConfig.for_model(model, lanes=8, banks=2, port_bits=64)
    program = compile_model(model, hardware)
    found = {}
    for name in ("arty_a7", "nexys4ddr", "ulx3s_85f"):
        board = boards.get(name)
        memory = board.memories[0]
        core = BoardCore(external_core(board, memory, hardware, program.memory), memory)
        identity = Identity.of(program, board.clock_hz, writable=memory.kind == "sdram")
        found[name] = build_plan(board, core, identity).files
    return found


def test_flash_pins(files):
    pins = dict(re.findall(r"LOC (\w+) \[get_ports \"spi_flash_4x_0__(.*)\"\]",
                           files["arty_a7"]["top.xdc"])[::1])
    assert {port: pin for pin, port in pins.items()} == FLASH


def test_flash_that_configures(files):
    """All pins but the clock, which is no pin of a design: STARTUPE2 has it."""
    pins = dict(re.findall(r"LOC (\w+) \[get_ports \"configuration_flash_0__(.*)\"\]",
                           files["nexys4ddr"]["top.xdc"]))
    assert {port: pin for pin, port in pins.items()} == {
        port: pin for port, pin in FLASH.items() if port != "clk__io"}
    source = files["nexys4ddr"]["top.v"]
    source = source if isinstance(source, str) else source.decode()
    (startup,) = re.findall(r"STARTUPE2 #\(.*?\);", source, re.S)
    assert re.search(r"\.USRCCLKO\(\w", startup) and ".USRCCLKTS(1'h0)" in startup


def test_sdram_pins(files):
    pins = dict(re.findall(r'LOCATE COMP "sdram_0__(.*)" SITE "(\w+)"',
                           files["ulx3s_85f"]["top.lpf"]))
    assert pins.items() >= SDRAM.items()
    assert len(pins) == 1 + 1 + 1 + 3 + 2 + 2 + 13 + 16


def test_sdram_registers(files):
    """Of each output and its driver, and one that turns the clock on; data at the falling edge."""
    source = files["ulx3s_85f"]["top.il"]
    source = source if isinstance(source, str) else source.decode()
    assert len(re.findall(r"^ *cell \\OFS1P3DX ", source, re.M)) == 2 * 16 + 2 * 18 + 1
    assert len(re.findall(r"^ *cell \\ODDRX1F ", source, re.M)) == 1
    assert len(re.findall(r"^ *cell \\BB ", source, re.M)) == 16
    assert re.search(r"parameter \\CLK_POLARITY (1'0|0)", source)
