# SPDX-License-Identifier: Apache-2.0
"""Whole runs with a stand-in for the accelerator, which replays recorded words: all arrive."""

import numpy as np
import pytest

from sim.compare import compare
from sim.run import SimulationError, simulate
from tests.sim import mock

INPUTS = np.random.default_rng(1).integers(-32, 32, (3, 1, 5, 4))


@pytest.fixture(scope="module")
def recorded():
    program, results = mock.program(), mock.random_results()
    return program, results, mock.mock_verilog(mock.events(results, program), program)


@pytest.mark.parametrize("gaps", [None, 7], ids=["continuous", "gaps"])
@pytest.mark.parametrize("cocotb", [True, False], ids=["cocotb", "plain"])
def test_recorded_words_arrive(recorded, gaps, cocotb):
    program, results, verilog = recorded
    inferences = simulate(program, INPUTS, gaps=gaps, cocotb=cocotb, verilog=verilog)
    assert len(inferences) == len(INPUTS)
    for inference in inferences:
        comparison = compare(inference, results)
        assert comparison.equal, comparison.lines()
        maps = sum(r.spikes.size for r in results if r.spikes is not None)
        maps += sum(r.residual.size for r in results if r.residual is not None)
        assert comparison.values == maps + mock.NETWORK.num_classes + 2 * len(results)
        assert [run.cycles for run in inference.layers] == [mock.CYCLES] * len(results)


def test_pauses_take_cycles(recorded):
    program, _, verilog = recorded
    continuous = simulate(program, INPUTS, cocotb=False, verilog=verilog)
    paused = simulate(program, INPUTS, cocotb=False, verilog=verilog, gaps=3)
    assert all(p.cycles > c.cycles for p, c in zip(paused, continuous))


@pytest.mark.slow
def test_a_hang_is_named():
    program, results = mock.program(), mock.random_results()
    events = mock.events(results, program)
    # Inference 0 ends without its last three words, so that the stand-in waits for new samples.
    del events[-4:-1]
    verilog = mock.mock_verilog(events, program)
    sentence = (r"^the accelerator hangs: it made no progress until cycle \d+ in inference 0, "
                r"after layer head, with 20 samples in and 39 words out$")
    for cocotb in (True, False):
        with pytest.raises(SimulationError, match=sentence):
            simulate(program, INPUTS[:1], verilog=verilog, watchdog=2000, cocotb=cocotb)


@pytest.mark.slow
def test_waves_are_written(recorded, tmp_path):
    program, _, verilog = recorded
    simulate(program, INPUTS[:1], cocotb=False, verilog=verilog, waves=tmp_path / "waves.vcd")
    text = (tmp_path / "waves.vcd").read_text()
    assert "$enddefinitions" in text and "i_payload" in text
    assert [path.name for path in tmp_path.iterdir()] == ["waves.vcd"]


@pytest.mark.parametrize("gaps", [0, -1, 1 << 31])
def test_unsuitable_seed_is_refused(gaps):
    sentence = rf"^gaps must be a seed from 1 to 2147483647, not {gaps}$"
    with pytest.raises(ValueError, match=sentence):
        simulate(mock.program(), INPUTS, gaps=gaps)
