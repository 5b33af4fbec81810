# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""Weights from memory chips: the end of an image is seen, and whole inferences equal the model."""

import numpy as np
import pytest
from amaranth.sim import Simulator

import boards
from boards.driver import WRITE_BYTES, encode
from boards.frames import READ, Command, Frame, Parser, Status
from boards.memory import ImageWatch, StreamedCore, external_core
from boards.sdram import Sdram, SdramTimings
from boards.top import System
from hw.accelerator import Accelerator
from hw.axi import block_bytes
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.identity import Identity
from hw.memory_map import traffic
from hw.network import NetworkConfig
from hw.tiles import MAGIC
from tests.boards.sdram_chip import SdramChip
from tests.boards.test_top import decode, uart_levels
from tests.boards.whole import infer
from tests.hw import reference
from tests.hw.harness import Bench

TINY = NetworkConfig(8, 1, 2, 1, 1, 3, 3, 3, pool_stages=(True, False, False, True), mlp_ratio=1.0)


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


def check(name, count, **options):
    """Every word but the cycles of `count` inferences, and the bytes that were read."""
    board = boards.get(name)
    memory, = board.memories
    model, image = reference.random_model(TINY)
    images = [np.roll(image, n, -1) for n in range(count)]
    program = compile_model(model, HardwareConfig.for_model(model, lanes=8, banks=2, port_bits=64))
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


@pytest.mark.parametrize("name", ["arty_a7", "ulx3s_85f"])
def test_every_logit(name):
    check(name, 1, power_up=2_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["arty_a7", "ulx3s_85f"])
def test_every_logit_of_two_inferences_from_power_up(name):
    check(name, 2)


@pytest.mark.slow
def test_a_host_fills_the_sdram():
    """From line to line: the host writes the image, resets, sends a sample and reads the answer."""
    divisor, power_up, board = 4, 2_000, boards.get("ulx3s_85f")
    model, image = reference.random_model(TINY)
    program = compile_model(model, HardwareConfig.for_model(model, lanes=8, banks=2, port_bits=64))
    hardware, told = program.hardware, Identity.of(program, writable=True)
    core = StreamedCore(Accelerator(hardware, program.memory), hardware,
                        Sdram(64, board.clock_hz, SdramTimings(power_up)), 0)
    system = System(core, told, divisor, 20_000)
    chip = SdramChip(power_up=power_up)
    bench = Bench(system, max_cycles=400_000)
    chip.serve(bench, core.pins, 1e9 / board.clock_hz)
    requests = [(Command.IDENTIFY, b""), (Command.STATUS, b"")] + [
        (Command.WRITE, place.to_bytes(4, "little") + program.stream[place:place + WRITE_BYTES])
        for place in range(0, len(program.stream), WRITE_BYTES)] + [
        (Command.RESET, b""), (Command.STATUS, b""),
        (Command.SAMPLES, encode(image, told.input_bits)), None,
        (Command.READ, READ.pack(0, told.words))]
    seen = []

    async def host(ctx):
        for sequence, request in enumerate(requests):
            # Then time for the reply, or for the inference.
            levels = [1] * 30_000 if request is None else uart_levels(
                Frame(sequence - (None in requests[:sequence]), *request).encode(), divisor) + [
                1] * divisor * 10 * (30 + 8 * (told.words + 8))
            for level in levels:
                ctx.set(system.rx, level)
                _, _, tx = await ctx.tick().sample(system.tx)
                seen.append(tx)
    bench.sim.add_testbench(host)
    bench.run()
    assert chip.finish() == []
    data = decode(seen, divisor)
    assert all(stop for _, stop in data)
    frames = list(Parser().feed(bytes(byte for byte, _ in data)))
    assert [frame.command & 0x7F for frame in frames] == [
        request[0] for request in requests if request is not None]
    assert [Status.unpack(frame.payload).flags for frame in frames
            if frame.command & 0x7F == Command.STATUS] == [0, 1]
    words = np.frombuffer(frames[-1].payload, "<i8")
    layers = reference.run(model, image)
    assert words[:TINY.num_classes].tolist() == layers[-1].logits.tolist()
    counters = words[TINY.num_classes:].reshape(-1, 3)
    assert counters[:, 0].tolist() == [layer.acs for layer in layers]


def test_a_network_that_writes_is_refused():
    model, _ = reference.random_model(TINY)
    hardware = HardwareConfig.for_model(model, lanes=8, banks=2, port_bits=64, spill_residual=True)
    board = boards.get("arty_a7")
    program = compile_model(model, hardware)
    with pytest.raises(ValueError, match=r"^weight memory of a board is only read: the residual "
                                         r"stream and all spike maps must be on chip, not in "
                                         r"external memory$"):
        external_core(board, board.memories[0], hardware, program.memory)
