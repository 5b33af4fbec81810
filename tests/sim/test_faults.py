# SPDX-License-Identifier: Apache-2.0
"""The campaign of flipped bits: what is drawn, how outcomes are judged, and a small campaign."""

import json
import random
from collections import Counter
from dataclasses import replace

import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.network import NetworkConfig
from quantize.golden import GoldenModel
from quantize.random_model import random_model, random_samples
from sim import faults
from sim.fault_bench import End, Outcome, Variable
from sim.faults import KINDS, Effect, Trial, campaign, draw, effect_of, kind_of, table, write

CORE = "TOP.spikeloom.peripheral.core."
VARIABLES = [
    Variable(0, 8, 100, CORE + "lanes.banks.bank0"),
    Variable(1, 1, 100, CORE + "lanes.parity.bank1"),
    Variable(2, 128, 4, CORE + "finish.residual.stream"),
    Variable(3, 30, 9, CORE + "finish.current.params"),
    Variable(4, 32, 9, CORE + "sequencer.program"), Variable(5, 8, 9, CORE + "memory.half1bank3"),
    Variable(6, 8, 9, CORE + "readout.logits"), Variable(7, 15, 1, CORE + "lanes.lane0.acc"),
    Variable(8, 1, 1, CORE + "sequencer.fsm_state")]


def test_kinds():
    assert [kind_of(each) for each in VARIABLES] == [
        "weights", "weights", "residual stream", "parameters", "program", "spike memory",
        "other memories", "registers", "registers"]


@pytest.mark.parametrize("end, words, effect", [
    (End.ANSWER, (3, 4, 99), Effect.MASKED), (End.ANSWER, (3, 5, 99), Effect.SILENT),
    (End.FAULT, (), Effect.DETECTED), (End.NEVER, (), Effect.HANG),
    (End.NEVER, (3, 4), Effect.HANG), (End.ANSWER, (3,), Effect.HANG)])
def test_effects(end, words, effect):
    """A last word that comes too early is no answer; counters do not count."""
    assert effect_of(Outcome(end, 0, 100, words), [3, 4]) is effect


def test_every_bit_of_a_kind_has_the_same_chance():
    drawn = draw(VARIABLES, 7000, 50, random.Random(1))
    assert Counter(kind_of(each) for each, *_ in drawn) == dict.fromkeys(KINDS, 1000)
    assert all(word < each.words and bit < each.bits and cycle < 50
               for each, word, bit, cycle in drawn)
    counts = Counter(each.number for each, *_ in drawn)
    assert 60 < counts[1] < 180      # a ninth of the weights' bits
    assert 30 < counts[8] < 110      # a sixteenth of the registers' bits
    assert drawn == draw(VARIABLES, 7000, 50, random.Random(1))
    assert drawn != draw(VARIABLES, 7000, 50, random.Random(2))


def test_kinds_that_are_not_there_get_no_flips():
    assert {kind_of(each) for each, *_ in draw(VARIABLES[6:], 10, 5, random.Random(0))} == {
        "other memories", "registers"}


TRIALS = [Trial("weights", "a", 0, 0, 1, effect, label) for effect, label in (
    (Effect.MASKED, False), (Effect.DETECTED, False), (Effect.SILENT, True),
    (Effect.SILENT, False))] + [Trial("registers", "b", 0, 0, 1, Effect.HANG, False)]


def test_table():
    lines = [line.split() for line in table(TRIALS, "here").splitlines()]
    assert lines[0] == ["here"]
    assert lines[2] == ["weights", "4", "25.0%", "25.0%", "50.0%", "0.0%", "25.0%"]
    assert lines[3] == ["registers", "1", "0.0%", "0.0%", "0.0%", "100.0%", "0.0%"]
    assert lines[4] == ["all", "5", "20.0%", "20.0%", "40.0%", "20.0%", "20.0%"]


def test_json(tmp_path):
    write(tmp_path / "new" / "flips.json", {"with parity": TRIALS})
    values = json.loads((tmp_path / "new" / "flips.json").read_text())["with parity"]
    assert [Trial(**each | {"effect": Effect(each["effect"])}) for each in values] == TRIALS
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["flips.json"]


def test_bad_input_is_one_sentence(tmp_path, capsys):
    assert faults.main([str(tmp_path / "nothing")]) == 2
    assert capsys.readouterr().err.startswith("error: model directory must hold manifest.json")


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True])
def test_a_campaign(streamed):
    """Parity finds every wrong weight and residual word, and no flip outlives a reset."""
    model = random_model(NetworkConfig(8, 1, 1, 1, 1, 4, 4, 3,
                                       pool_stages=(False, False, True, True)), seed=2)
    image = random_samples(model, 1, seed=1).inputs[0]
    logits = GoldenModel(model).run(image[None])[0][-1].logits.tolist()
    hardware = HardwareConfig.for_model(model, lanes=8, banks=2, port_bits=64 * streamed)
    effects = {}
    for parity in (False, True):
        program = compile_model(model, replace(hardware, parity=parity))
        trials = campaign(program, image, logits, 700, seed=3, short=True)
        effects[parity] = Counter((each.kind, each.effect) for each in trials)
    for kind in ("weights", "residual stream"):
        assert effects[False][kind, Effect.SILENT] > 0
        assert effects[False][kind, Effect.DETECTED] == 0
        assert effects[True][kind, Effect.SILENT] == 0
        assert effects[True][kind, Effect.DETECTED] > 0
    assert effects[False]["registers", Effect.SILENT] > 0
