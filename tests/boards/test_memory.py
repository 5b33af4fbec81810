# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""Weights from memory chips: the end of an image is seen, and whole inferences equal the model."""

import re

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

import boards
from boards.base import ExternalMemory
from boards.ddr3 import Ddr3
from boards.flash import Flash
from boards.memory import ImageWatch, check_room, external_core
from boards.sdram import Sdram
from hw.axi import block_bytes
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.memory_map import traffic
from hw.network import NetworkConfig
from hw.report import MULTIPLIERS
from hw.tiles import MAGIC
from tests.boards.whole import infer
from tests.hw import reference

TINY = NetworkConfig(8, 1, 2, 1, 1, 3, 3, 3, pool_stages=(True, False, False, True), mlp_ratio=1.0)


@pytest.mark.parametrize("controller", [Flash, Sdram, Ddr3])
def test_no_controller_multiplies(controller):
    """Amaranth writes `*`, `//`, `%` and `word_select` with constants as cells, too."""
    cells = set(re.findall(r"cell (\$\w+) ", rtlil.convert(controller(64, 50_000_000))))
    assert "$add" in cells and not cells & set(MULTIPLIERS)


@pytest.mark.parametrize("bits", [64, 128])
def test_image_watch(bits):
    end = block_bytes(bits) + 3 * bits // 8 - 8
    head = MAGIC | 3 << 32
    # (address, data, loaded afterwards)
    writes = [(end, 1, 0), (0, head, 0), (8, 2, 0), (end - 8, 3, 0), (end, 4, 1), (8, 5, 1),
              (0, head, 0), (end, 6, 1), (0, head ^ 1, 0), (end, 7, 0)]
    sim = Simulator(dut := ImageWatch(bits))
    sim.add_clock(1e-6)
    seen = []

    async def drive(ctx):
        for address, data, _ in writes:
            ctx.set(dut.address, address)
            ctx.set(dut.data, data)
            ctx.set(dut.en, 1)
            await ctx.tick()
            ctx.set(dut.en, 0)
            await ctx.tick()
            seen.append(ctx.get(dut.loaded))
    sim.add_testbench(drive)
    sim.run()
    assert seen == [loaded for _, _, loaded in writes]


PLACES = {"flash": "arty_a7", "sdram": "ulx3s_85f", "ddr3": "arty_a7"}


def check(kind, count, spills=None, **options):
    """Every word but the cycles of `count` inferences, and the bytes of weights that were read."""
    board = boards.get(PLACES[kind])
    memory = board.memory(kind)
    model, image = reference.random_model(TINY)
    images = [np.roll(image, n, -1) for n in range(count)]
    program = compile_model(model, HardwareConfig.for_model(model, lanes=8, banks=2, port_bits=64,
                                                            **spills or {}))
    answers, beats, chip = infer(board, memory, program, images, **options)
    assert (chip.faults if memory.kind == "flash" else chip.finish()) == []
    assert len(answers) == count
    for each, answer in zip(images, answers):
        layers = reference.run(model, each)
        assert answer[:TINY.num_classes] == layers[-1].logits.tolist()
        counters = np.array(answer[TINY.num_classes:], dtype=object).reshape(-1, 3)
        assert counters[:, 0].tolist() == [value.acs for value in layers]
        assert counters[:, 2].tolist() == [value.saturations for value in layers]
    # The next inference's weights are read ahead, at most up to the first tiles.
    read = traffic(program)[0].read
    assert count * read <= sum(size for _, size in beats) <= (count + 0.9) * read
    return program, chip


# Of the ULX3S, tests/sim/test_board_top.py has the whole top.
@pytest.mark.parametrize("kind", ["flash", *(pytest.param(kind, marks=pytest.mark.slow)
                                             for kind in ("sdram", "ddr3"))])
def test_every_logit(kind):
    check(kind, 1, power_up=2_000)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flash", "sdram"])
def test_every_logit_of_two_inferences_from_power_up(kind):
    check(kind, 2)


# Bytes of a burst in each chip, of which a write has 8 in the DDR3.
@pytest.mark.slow
@pytest.mark.parametrize(("kind", "read_bytes", "write_bytes"), [("sdram", 2, 2), ("ddr3", 16, 8)])
def test_residual_stream_in_the_chip(kind, read_bytes, write_bytes):
    """What the program's traffic says is read and written, besides the image; with spike maps, too:
    tests/sim/test_board_top.py.
    """
    program, chip = check(kind, 1, {"spill_residual": True}, power_up=2_000)
    weights, residual = traffic(program)
    assert residual.read and residual.written
    trained = 16 if kind == "ddr3" else 0
    assert write_bytes * chip.commands.count("write") == (
        len(program.stream) + residual.written + trained)
    assert read_bytes * chip.commands.count("read") >= weights.read + residual.read


def test_what_flash_and_the_chip_cannot_hold_is_refused():
    model, _ = reference.random_model(TINY)
    hardware = HardwareConfig.for_model(model, lanes=8, banks=2, port_bits=64, spill_residual=True)
    program = compile_model(model, hardware)
    board = boards.get("arty_a7")
    with pytest.raises(ValueError, match=r"^a residual stream and spike maps must be on chip or in "
                                         r"memory that is written, not in flash$"):
        external_core(board, board.memories[0], hardware, program.memory)
    size = len(program.stream) // 4096 * 8192 + 8192
    check_room(ExternalMemory("sdram", size, ("sdram", 0)), program)
    with pytest.raises(ValueError, match=rf"^weights in sdram must have at most {size // 4:,} "
                                         rf"bytes, not {len(program.stream):,}$"):
        check_room(ExternalMemory("sdram", size // 2, ("sdram", 0)), program)
