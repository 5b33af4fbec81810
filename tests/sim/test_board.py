# SPDX-License-Identifier: Apache-2.0
"""A whole board from its line on, with the real host: a tiny network, and the digits (slow)."""

import subprocess
import sys

import numpy as np
import pytest

from boards.driver import Answer, RemoteBoard
from boards.serial_port import SerialPort
from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.network import NetworkConfig
from quantize.golden import GoldenModel
from quantize.random_model import random_model, random_samples
from sim import board
from sim.board import SimulatedBoard, build_simulator, differences, line_noise

TINY = NetworkConfig(8, 1, 1, 1, 1, 4, 4, 3, pool_stages=(False, False, True, True))
MODEL = random_model(TINY, seed=2)


@pytest.fixture(scope="module")
def simulator():
    return build_simulator(compile_model(MODEL, HardwareConfig.for_model(MODEL, lanes=8, banks=2)))


def infer(simulator, count, rate=0.0):
    """Answers, golden results and the driver."""
    inputs = random_samples(MODEL, count, seed=1).inputs
    with (SimulatedBoard(simulator, line_noise(rate, 1)) as simulated,
          SerialPort(simulated.path, 115200) as port):
        remote = RemoteBoard(port, MODEL, timeout=30, reply=1)
        answers = [remote.infer(each) for each in inputs]
    return answers, GoldenModel(MODEL).run(inputs), remote, simulated


def test_inferences(simulator):
    answers, golden, remote, _ = infer(simulator, 5)
    assert [differences(*pair) for pair in zip(answers, golden)] == [[]] * 5
    assert remote.retries == 0
    assert all((answer.counters[:, 1] > 0).all() for answer in answers)


def test_a_noisy_line(simulator):
    answers, golden, remote, simulated = infer(simulator, 5, 0.01)
    assert [differences(*pair) for pair in zip(answers, golden)] == [[]] * 5
    assert remote.retries > 0
    assert all(sum(noise.counts.values()) for noise in simulated.noises)


def test_differences_are_seen():
    golden = GoldenModel(MODEL).run(random_samples(MODEL, 1, seed=1).inputs)[0]
    logits = np.array(golden[-1].logits)
    counters = np.array([[result.acs, 1, result.saturations] for result in golden])
    assert differences(Answer(logits, counters), golden) == []
    logits[1] += 1
    counters[0, 0] += 1
    counters[-1, 2] += 1
    assert [sentence.partition(" must")[0] for sentence in differences(
        Answer(logits, counters), golden)] == [
            "logit of class 1", f"AC counter of {golden[0].name}",
            f"saturation counter of {golden[-1].name}"]
    assert differences(Answer(logits - np.eye(len(logits), dtype=int)[1], np.minimum(
        [[result.acs, 1, result.saturations] for result in golden], 3)), golden, 2) == []


@pytest.mark.slow
def test_short_counters_stay_at_their_largest_value():
    hardware = HardwareConfig.for_model(MODEL, lanes=8, banks=2, tally_bits=8)
    answers, golden, *_ = infer(build_simulator(compile_model(MODEL, hardware)), 2)
    assert [differences(*pair, 8) for pair in zip(answers, golden)] == [[]] * 2
    assert {int(each.counters.max()) for each in answers} == {255}
    assert max(result.acs for result in golden[0]) > 255


@pytest.mark.parametrize("words, sentence", [
    (["--board", "arty_z7_20"], "--board must have a serial line of its own, not 'arty_z7_20'"),
    (["--board", "nosuch"], "board must be one of "),
    (["--samples", "100000"], "samples must be 1 to "), (["--noise", "2"], "noise must be 0 to 1")])
def test_bad_input(capsys, words, sentence):
    assert board.main(words) == 2
    assert capsys.readouterr().err.startswith(f"error: {sentence}")


def test_mismatches_end_with_status_1(capsys, monkeypatch, simulator):
    """An answer that is not the golden model's."""
    inputs = random_samples(MODEL, 2, seed=1).inputs
    golden = GoldenModel(MODEL).run(inputs)
    answers = [Answer(np.array(results[-1].logits) + number, np.array(
        [[result.acs, 1, result.saturations] for result in results]))
        for number, results in enumerate(golden)]
    monkeypatch.setattr(board, "infer", lambda *_, **__: answers)
    with SimulatedBoard(simulator) as simulated:
        assert board.demonstrate(simulated, MODEL, board_inputs(inputs)).status == 1
    assert capsys.readouterr().out.endswith("2 results, 3 mismatches\n")


def board_inputs(inputs):
    from boards.host import Inputs

    return Inputs(list(inputs), ["a", "b"], [None, None])


def test_the_simulator_ends_with_its_line(simulator):
    with SimulatedBoard(simulator) as simulated:
        process = simulated._process
    assert process.returncode == 0


@pytest.mark.slow
def test_memories_that_are_read_at_the_falling_edge(capsys):
    assert board.main(["--board", "icebreaker", "--samples", "3"]) == 0
    assert "3 results, 0 mismatches" in capsys.readouterr().out


@pytest.mark.slow
def test_digits():
    run = subprocess.run([sys.executable, "-m", "sim.board", "--samples", "10"], text=True,
                         capture_output=True, check=False)
    assert run.returncode == 0 and run.stdout.endswith("10 results, 0 mismatches\n")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_digits_on_a_noisy_line(seed):
    run = subprocess.run([sys.executable, "-m", "sim.board", "--noise", "0.005", "--seed",
                          str(seed)], text=True, capture_output=True, check=False)
    assert run.returncode == 0 and run.stdout.endswith(" 0 mismatches\n")
