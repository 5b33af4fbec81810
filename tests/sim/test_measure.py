# SPDX-License-Identifier: Apache-2.0
"""An inference layer by layer: differences show, and an interruption costs one layer."""

from dataclasses import replace

import numpy as np
import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from quantize.golden import GoldenModel
from sim import measure as module
from sim import run as sim_run
from sim.activity import Spent
from sim.benches.models import SMALL, random_inputs, random_model
from sim.compare import compare_layer
from sim.measure import measure
from sim.run import Simulator

MODEL = random_model(SMALL)
IMAGE = random_inputs(MODEL, 1)[0]
NAMES = [layer.name for layer in SMALL.layers()]


@pytest.fixture(scope="module")
def simulator():
    hardware = HardwareConfig.for_model(MODEL, lanes=8, banks=2, port_bits=64)
    return Simulator.build(compile_model(MODEL, hardware), cocotb=False, preload=True)


def test_equal(simulator, tmp_path):
    measured = measure(simulator, IMAGE, {}, tmp_path)
    assert measured.wrong == 0 and measured.shown == ()
    assert [record.name for record in measured.layers] == NAMES
    golden = list(GoldenModel(MODEL).results(IMAGE))
    assert measured.acs == sum(result.acs for result in golden)
    maps = sum(array.size for result in golden for array in (result.spikes, result.residual)
               if array is not None)
    # Beside the maps: two counters a layer, the logits, bytes read and written.
    assert measured.values == maps + 2 * len(NAMES) + SMALL.num_classes + 2
    assert measured.moved == measured.predicted and measured.cycles > sum(
        record.cycles for record in measured.layers)


def test_interruption(simulator, tmp_path, monkeypatch, capsys):
    whole = measure(simulator, IMAGE, {}, tmp_path / "whole")
    done = []

    def interrupted(run, result, most):
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(run.layer.name)
        return compare_layer(run, result, most)

    monkeypatch.setattr(module, "compare_layer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure(simulator, IMAGE, {}, tmp_path / "part")
    assert done == NAMES[:7]
    monkeypatch.undo()
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "part").iterdir()}
    rest = measure(simulator, IMAGE, {}, tmp_path / "part", resume=True, label="net")
    assert capsys.readouterr().out == f"net: resuming at layer {NAMES[7]}, number 8 of 13\n"
    assert all((tmp_path / "part" / name).stat().st_mtime_ns == time
               for name, time in times.items())
    assert (rest.wrong, rest.values, rest.acs, rest.first) == (0, whole.values, whole.acs, 7)
    assert rest.cycles is None and rest.predicted == whole.predicted
    assert [record.began for record in rest.layers] == [n == 7 for n in range(len(NAMES))]
    # All but the first layer of the second part take what they took.
    for number, (one, other) in enumerate(zip(whole.layers, rest.layers)):
        apart = {"cycles": 0, "spent": Spent(), "began": False}
        assert replace(one, **apart) == replace(other, **apart)
        assert number == 7 or (one.cycles, one.spent) == (other.cycles, other.spent)


def test_finished_runs_repeat_only_the_end(simulator, tmp_path, capsys):
    measure(simulator, IMAGE, {}, tmp_path)
    assert measure(simulator, IMAGE, {}, tmp_path, resume=True).wrong == 0
    assert "resuming at layer head" in capsys.readouterr().out


def test_other_input_or_surroundings_begin_anew(simulator, tmp_path, capsys):
    for image, around in ((IMAGE, {}), (IMAGE, {"stalls": 3}), (1 + IMAGE.clip(max=3), {})):
        assert measure(simulator, image, around, tmp_path, resume=True).first == 0
    assert "resuming" not in capsys.readouterr().out


def test_a_wrong_word_of_the_trace_is_named(simulator, tmp_path, monkeypatch):
    read = sim_run.read_words

    def read_words(path, width, first, last):
        words = read(path, width, first, last)
        if path.name == "spikes" and len(words.layer) and words.layer[0] == 6:
            words.data[5, 0] ^= 1
        return words

    monkeypatch.setattr(sim_run, "read_words", read_words)
    measured = measure(simulator, IMAGE, {}, tmp_path)
    assert measured.wrong == 1 and measured.layers[6].wrong == 1
    assert measured.shown[0].startswith(f"  {NAMES[6]}: spike at timestep ")


def test_other_bytes_than_predicted_are_named(simulator, tmp_path, monkeypatch):
    read = sim_run.read_traffic

    def read_traffic(path, port_bits):
        return [tuple(replace(port, read=port.read + 8) for port in ports)
                for ports in read(path, port_bits)]

    monkeypatch.setattr(sim_run, "read_traffic", read_traffic)
    measured = measure(simulator, IMAGE, {}, tmp_path)
    read_bytes = measured.predicted[0].read
    assert (measured.wrong, measured.shown) == (
        1, (f"  port weights: bytes read must be {read_bytes}, not {read_bytes + 8}",))


def test_inputs_of_the_wrong_shape(simulator, tmp_path):
    with pytest.raises(ValueError, match=r"^inputs must have shape"):
        measure(simulator, np.zeros((1, 2, 3), int), {}, tmp_path)
