# SPDX-License-Identifier: Apache-2.0
"""Whole tops with memory chips, and the real host: a tiny network, and the digits (slow)."""

import functools
import re
import subprocess
import sys

import pytest

import boards
from boards.driver import FaultError, RemoteBoard, encode
from boards.frames import Command
from boards.host import Inputs
from boards.serial_port import SerialPort
from boards.top import BAUD
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.network import NetworkConfig
from quantize.golden import GoldenModel
from quantize.random_model import random_model, random_samples
from sim.board import SimulatedBoard, demonstrate, line_noise
from sim.board_top import build_top_simulator, inlined, simulator_arguments, wrapper

TINY = NetworkConfig(8, 1, 1, 1, 1, 4, 4, 3, pool_stages=(False, False, True, True))
MODEL = random_model(TINY, seed=2)
# Its tokenizer's maps do not fit the spike memory that it gets.
LARGER = random_model(NetworkConfig(16, 1, 2, 2, 1, 22, 11, 5, pool_stages=(True,) * 4), seed=3)
SPILLS = {"spill_residual": True, "spike_lines": (24, 30)}
PLACES = {"flash": "arty_a7", "sdram": "ulx3s_85f", "ddr3": "arty_a7"}


every_kind = pytest.mark.parametrize("kind", [
    "sdram", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("flash", "ddr3"))])


@functools.cache
def simulator(kind, spills=False):
    """The program of a kind of memory, its board, and the image of the weights."""
    board, model = boards.get(PLACES[kind]), LARGER if spills else MODEL
    program = compile_model(model, HardwareConfig.for_model(
        model, lanes=8, banks=2, port_bits=64, **SPILLS if spills else {}))
    assert program.hardware.spills_maps == program.hardware.spills_residual == spills
    return build_top_simulator(program, board, board.memory(kind)), board, program.stream


def demonstrated(folder, kind, count, rate=0.0, slower=1.0, image=True, spills=False, **delays):
    """Exit status of the comparison, and of the simulator; slower: factor of the oscillator."""
    built, board, stream = simulator(kind, spills)
    model = LARGER if spills else MODEL
    memory = board.memory(kind)
    path = folder / "weights.bin"
    path.write_bytes(stream if image else b"")
    times = simulator_arguments(board, memory, path, **delays)
    arguments = [str(round(int(each) * slower)) for each in times[:2]] + times[2:]
    inputs = random_samples(model, count, seed=1).inputs
    with SimulatedBoard(built, line_noise(rate, 1), arguments) as simulated:
        outcome = demonstrate(simulated, model, Inputs(
            list(inputs), [f"sample {n}" for n in range(count)], [None] * count),
            b"" if memory.loader else stream)
    return outcome.status, simulated.status


@every_kind
def test_inferences(tmp_path, capfd, kind):
    assert demonstrated(tmp_path, kind, 3) == (0, 0)
    out, err = capfd.readouterr()
    assert out.endswith("3 results, 0 mismatches\n") and "error" not in err


@pytest.mark.slow
@pytest.mark.parametrize(("access", "flight"), [(1, 0), (10, 6)])
def test_data_that_comes_early_or_late(tmp_path, capfd, access, flight):
    """As DDR3 without its DLL may; the training finds it."""
    assert demonstrated(tmp_path, "ddr3", 1, access=access, flight=flight) == (0, 0)
    assert capfd.readouterr().out.endswith("1 results, 0 mismatches\n")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sdram", "ddr3"])
def test_residual_stream_and_maps_in_the_chip(tmp_path, capfd, kind):
    assert demonstrated(tmp_path, kind, 3, spills=True) == (0, 0)
    assert capfd.readouterr().out.endswith("3 results, 0 mismatches\n")


@every_kind
def test_a_noisy_line(tmp_path, capfd, kind):
    assert demonstrated(tmp_path, kind, 2, 0.004) == (0, 0)
    out = capfd.readouterr().out
    assert "requests were repeated" in out and out.endswith("2 results, 0 mismatches\n")


@every_kind
def test_what_the_chip_forbids_ends_the_run(tmp_path, capfd, kind):
    """A slower clock, and refreshes are too rare; four times the clock is too fast for the flash.
    """
    slower, sentence = {"sdram": (2, "refresh .* comes late"), "flash": (0.25, ".* must "),
                        "ddr3": (1.4, "refresh .* comes late")}[kind]
    assert demonstrated(tmp_path, kind, 1, slower=slower) == (1, 1)
    assert re.search(rf"^error: {kind}: {sentence}", capfd.readouterr().err, re.M)


def test_a_pll_beyond_its_limits_ends_the_run():
    built, board, _ = simulator("sdram")
    half, bit = simulator_arguments(board, board.memory("sdram"), None)
    with subprocess.Popen([built, str(int(half) // 2), bit], stdin=subprocess.PIPE, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert "must run at 400 to 800 MHz" in process.stdout.read()
        assert process.wait(10) != 0


@pytest.mark.slow
def test_a_flash_without_an_image_gives_no_answer(tmp_path, capfd):
    """Erased: that is told."""
    assert demonstrated(tmp_path, "flash", 1, image=False)[0] == 1
    assert "are damaged, or no image" in capfd.readouterr().err


@pytest.mark.parametrize(("kind", "pins"), [
    ("flash", [".clk100_0__io(osc)", ".rst_0__io(1'b1)", ".spi_flash_4x_0__dq__io(flash_dq)"]),
    ("ddr3", [".ddr3_0__clk__p(ddr3_ck)", ".ddr3_0__dqs__p(ddr3_dqs)",
              ".ddr3_0__rst__io(ddr3_reset_n)"]),
    ("sdram", [".clk25_0__io(osc)", ".sdram_0__clk_en__io(sdram_cke)", ".led_1__io(busy)"])])
def test_wrapper(kind, pins):
    text = wrapper(boards.get(PLACES[kind]), kind)
    assert all(pin in text for pin in pins)
    assert f"inout wire [{3 if kind == 'flash' else 15}:0] {kind}_dq" in text


def test_a_chip_whose_clock_is_no_pin():
    with pytest.raises(ValueError, match=r"^--weights flash cannot be simulated for nexys4ddr: the "
                                         r"chip's clk is no pin of the design$"):
        wrapper(boards.get("nexys4ddr"), "flash")


def test_headers_are_in_their_places():
    text = inlined("board_top.cpp")
    assert "class SdramChip" in text and "struct Line" in text
    assert not re.search(r'#include "(?!V|verilated)', text)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("noise", ["0", "0.002"])
def test_digits(kind, noise):
    spills = ["--spill-residual"] if kind != "flash" else []
    run = subprocess.run([sys.executable, "-m", "sim.board", "--board", PLACES[kind], "--weights",
                          kind, "--samples", "10", "--noise", noise, *spills], text=True,
                         capture_output=True, check=False)
    assert run.returncode == 0 and run.stdout.endswith("10 results, 0 mismatches\n")


def test_a_damaged_image_and_a_reset_in_the_middle(tmp_path):
    """The image is read back: a flipped bit is told and no answer given; the right one mends it.
    The reset takes the accelerator, its bursts and the controller together.
    """
    built, board, stream = simulator("sdram")
    words = simulator_arguments(board, board.memory("sdram"), tmp_path / "none")
    sample = random_samples(MODEL, 1, seed=1).inputs[0]
    logits = GoldenModel(MODEL).run(sample[None])[0][-1].logits.tolist()
    damaged = bytearray(stream)
    damaged[700] ^= 16
    with SimulatedBoard(built, None, words) as simulated, SerialPort(simulated.path, BAUD) as port:
        remote = RemoteBoard(port, MODEL, timeout=60, reply=1.0)
        remote.write(0, bytes(damaged))
        for request in (remote.verify, lambda: remote.infer(sample)):
            with pytest.raises(FaultError, match=r"^the weights in the board's memory are damaged"):
                request()
        remote.write(0, stream)
        remote.verify()
        remote.reset()
        for _ in range(3):
            assert remote.infer(sample).logits.tolist() == logits
            # The rest of the samples is missing, then the inference is under way.
            data = encode(sample, remote.identity.input_bits)
            remote._ask(Command.SAMPLES, data[:5])
            remote.reset()
            remote._ask(Command.SAMPLES, data)
            remote.reset()
    assert simulated.status == 0
