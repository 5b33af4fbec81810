# SPDX-License-Identifier: Apache-2.0
"""Output words, reports and traffic of the testbench, and how a layer is put together."""

import numpy as np
import pytest

from hw.memory_map import PortTraffic
from sim.trace import Report, layer_run, read_outputs, read_traffic
from sim.words import Words
from tests.sim import mock


def as_words(events, kind, width):
    """Trace words of one kind, as `read_words` would read them."""
    chosen = [event for event in events if event.kind == kind]
    columns = [np.array([getattr(event, name) for event in chosen], np.int64)
               for name in ("layer", "position", "timestep", "word")]
    bits = np.array([[event.data >> i & 1 for i in range(width)] for event in chosen], np.uint8)
    data = np.packbits(bits.reshape(len(chosen), width), axis=1, bitorder="little")
    return Words(*columns, data, width)


def played(events):
    """Layers of an inference that plays these events, as `Run.layers` would yield them."""
    program, layers, words = mock.program(), [], []
    for event in events:
        words.append(event)
        if event.kind == mock.REPORT:
            counters = [event.data >> 40 * n & (1 << 40) - 1 for n in range(3)]
            layers.append(layer_run(
                program, program.traces[event.layer], Report(0, event.layer, *counters, 0, 0),
                as_words(words, mock.SPIKE, mock.WORD),
                as_words(words, mock.RESIDUAL, mock.NEURONS * mock.WIDTH)))
            words = []
    return layers


def test_outputs(tmp_path):
    path = tmp_path / "outputs"
    path.write_text("00000000 0 ffffffffffffffff 0000000000000010\n"
                    "00000000 1 0000000000000005 0000000000000012\nend 1 500 20 2\n")
    outputs = read_outputs(path)
    assert outputs.data.tolist() == [-1, 5] and outputs.last.tolist() == [False, True]
    assert outputs.cycle.tolist() == [16, 18]
    assert (outputs.stalled, outputs.cycles, outputs.samples) == (True, 500, 20)


@pytest.mark.parametrize("text", ["", "00000000 0 ffffffffffffffff 0000000000000010\n"])
def test_outputs_without_an_end(tmp_path, text):
    (tmp_path / "outputs").write_text(text)
    with pytest.raises(ValueError, match=r"^outputs outputs must end with the line \"end\", "):
        read_outputs(tmp_path / "outputs")


def test_traffic(tmp_path):
    path = tmp_path / "traffic"
    path.write_text("weights 10 2 0 0\nmaps 5 1 7 1\nweights 21 2 0 0\nmaps 5 1 8 2\n")
    assert read_traffic(path, 128) == [
        (PortTraffic("weights", 160, 0), PortTraffic("maps", 80, 112)),
        (PortTraffic("weights", 176, 0), PortTraffic("maps", 0, 16))]


def test_mock_words_round_trip():
    program, results = mock.program(), mock.random_results()
    words = as_words(mock.events(results, program), mock.SPIKE, mock.WORD)
    assert len(words.layer) == sum(
        2 * t.layer.positions * len(t.channels) // mock.WORD for t in program.traces if t.layer.lif)
