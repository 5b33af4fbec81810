# SPDX-License-Identifier: Apache-2.0
"""Hardware options become a configuration, or one sentence."""

import argparse
import re
from types import SimpleNamespace

import numpy as np
import pytest

from hw import options
from hw.layout import DEFAULT_BANKS, DEFAULT_LANES
from hw.options import add_hardware_options, describe, hardware, positive, weight_count
from sim.benches.models import EVEN, SMALL, measured_model, random_model

MODEL = random_model(SMALL)


def parse(*words):
    parser = argparse.ArgumentParser()
    add_hardware_options(parser)
    return parser.parse_args(words)


def test_defaults():
    config = hardware([MODEL], parse())
    geometry = config.geometry
    assert (geometry.lanes, geometry.banks, config.port_bits) == (DEFAULT_LANES, DEFAULT_BANKS, 0)
    assert not config.parity and hardware([MODEL], parse("--parity")).parity


def test_many_weights_are_streamed(monkeypatch):
    assert weight_count(MODEL) == sum(t.weight.size for t in MODEL.tensors.values())
    monkeypatch.setattr(options, "MANY_WEIGHTS", weight_count(MODEL))
    assert hardware([MODEL], parse()).port_bits == 128
    assert hardware([MODEL], parse("--port-bits", "0")).port_bits == 0
    monkeypatch.setattr(options, "MANY_WEIGHTS", weight_count(MODEL) + 1)
    assert hardware([MODEL], parse()).port_bits == 0


def test_all_options():
    config = hardware([MODEL], parse(
        "--lanes", "16", "--banks", "2", "--neurons", "4", "--spike-word", "8", "--port-bits", "64",
        "--weight-rows", "300", "--spill-residual", "--spike-lines", "200", "150"))
    geometry = config.geometry
    assert (geometry.lanes, geometry.banks, geometry.neurons, geometry.spike_word) == (16, 2, 4, 8)
    assert (config.port_bits, config.weight_rows, config.spike_lines) == (64, 300, (200, 150))
    assert config.spills_residual


@pytest.mark.parametrize(("words", "pairs", "beside"), [
    ((), True, True), (("--no-pairs",), False, True), (("--no-beside",), True, False),
    (("--no-pairs", "--no-beside"), False, False)])
def test_two_positions_at_a_time_unless_told_otherwise(words, pairs, beside):
    model = measured_model(EVEN, 1.0, 1.0)
    config = hardware([model], parse("--lanes", "16", "--neurons", "4", *words))
    assert (config.pairs, config.beside) == (pairs, beside)


@pytest.mark.parametrize("words", [("--weight-rows", "9"), ("--spill-residual",),
                                   ("--spike-lines", "9", "9")])
def test_what_needs_streamed_weights(words):
    sentence = f"^{words[0]} needs weights that are streamed: --port-bits must be 64 or 128, not 0$"
    with pytest.raises(ValueError, match=sentence):
        hardware([MODEL], parse(*words))


@pytest.mark.parametrize(("words", "sentence"), [
    (("--lanes", "0"), "argument --lanes: must be a positive integer, not '0'"),
    (("--port-bits", "32"), "argument --port-bits: invalid choice: 32 (choose from 0, 64, 128)"),
])
def test_bad_words(words, sentence, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*words)
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err


def test_describe():
    streamed = hardware([MODEL], parse("--lanes", "8", "--port-bits", "64"))
    assert re.search(rf"^8 lanes x {DEFAULT_BANKS} banks.*; [\d,]+ weights of 8 bits streamed "
                     "through a port of "
                     r"64 bits \(--port-bits 0 holds them on chip\)$", describe(MODEL, streamed))
    held = hardware([MODEL], parse("--lanes", "8"))
    assert describe(MODEL, held).endswith("on chip (--port-bits 128 streams them)")


def test_weight_count_of_layers():
    tensors = {"a": SimpleNamespace(weight=np.zeros((2, 3))), "b": SimpleNamespace(
        weight=np.zeros(4))}
    assert weight_count(SimpleNamespace(tensors=tensors)) == 10


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", ""])
def test_positive(text):
    with pytest.raises(argparse.ArgumentTypeError,
                       match=f"^must be a positive integer, not '{text}'$"):
        positive(text)
    assert positive("12") == 12
