# SPDX-License-Identifier: Apache-2.0
"""A board's data: what it takes, and what it refuses."""

from dataclasses import FrozenInstanceError, replace

import pytest

from boards.base import Board, ExternalMemory, Resources

RESOURCES = Resources(lut=8, ff=16, ram=0, carry=2, dsp=0)
BOARD = Board("toy", "xc7a1", RESOURCES, 12, platform=list)


def test_frozen():
    with pytest.raises(FrozenInstanceError):
        BOARD.name = "other"


@pytest.mark.parametrize("mhz, hz", [(12, 12_000_000), (33.333333, 33_333_333), (0.032768, 32_768)])
def test_clock_in_hertz(mhz, hz):
    assert replace(BOARD, clock_mhz=mhz).clock_hz == hz


@pytest.mark.parametrize("mhz", [0, -1, float("nan")])
def test_clock_must_tick(mhz):
    with pytest.raises(ValueError, match=rf"^clock_mhz must be positive, not {mhz!r}$"):
        replace(BOARD, clock_mhz=mhz)


def test_the_design_may_have_another_clock():
    board = replace(BOARD, core_mhz=48)
    assert (board.oscillator_hz, board.clock_hz) == (12_000_000, 48_000_000)
    with pytest.raises(ValueError, match=r"^sync_mhz must be positive, not -1$"):
        replace(BOARD, core_mhz=-1)


@pytest.mark.parametrize("name", ["", "a b", "7series", "a/b"])
def test_name_must_suit_a_folder_and_a_module(name):
    with pytest.raises(ValueError, match=rf"^board name must be a Python identifier, not {name!r}"):
        replace(BOARD, name=name)


@pytest.mark.parametrize("field", ["lut", "ff", "ram", "carry", "dsp"])
@pytest.mark.parametrize("value", [-1, 1.5, None])
def test_resources_are_counts(field, value):
    with pytest.raises(ValueError,
                       match=rf"^{field} must be a non-negative integer, not {value!r}$"):
        replace(RESOURCES, **{field: value})


FLASH = ExternalMemory("flash", 1 << 20, ("spi", 0), offset=4096, loader="load {image}")


def test_weight_memories():
    assert BOARD.weight_memories == ("block_ram",)
    board = replace(BOARD, memories=(FLASH,))
    assert board.weight_memories == ("block_ram", "flash")
    assert (board.memory("flash"), board.memory("block_ram")) == (FLASH, None)
    assert FLASH.room == (1 << 20) - 4096
    with pytest.raises(ValueError, match=r"^weight memory of toy must be one of block_ram, flash, "
                                         r"not 'sdram'$"):
        board.memory("sdram")


def test_a_memory_may_need_other_clocks():
    chip = ExternalMemory("ddr3", 1 << 20, clocking=dict)
    board = replace(BOARD, clocking=list)
    assert board.with_memory(chip).clocking is dict
    assert board.with_memory(FLASH) is board and board.with_memory(None) is board
    assert chip.writable and not FLASH.writable


@pytest.mark.parametrize(("change", "sentence"), [
    ({"kind": "tape"}, "kind must be one of flash, sdram, ddr3, dram, not 'tape'"),
    ({"offset": 100}, "offset must be a multiple of 4096 within the chip, not 100"),
    ({"offset": 1 << 20}, "offset must be a multiple of 4096 within the chip, not 1048576")])
def test_memories_refuse(change, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        replace(FLASH, **change)
