# SPDX-License-Identifier: Apache-2.0
"""Faults of external memory, and resets of a whole peripheral: never a wrong answer."""

import random
from dataclasses import replace

import pytest

from hw.compiler import compile_model
from hw.config import HardwareConfig
from hw.network import NetworkConfig
from quantize.golden import GoldenModel
from quantize.random_model import random_model, random_samples
from sim.fault_bench import End, FaultBench, build_fault_bench, with_public_state

NETWORK = NetworkConfig(8, 1, 1, 1, 1, 4, 4, 3, pool_stages=(False, False, True, True))
MODEL = random_model(NETWORK, seed=2)
IMAGE = random_samples(MODEL, 1, seed=1).inputs[0]
TIMEOUT_BITS = 9
WEIGHTS, RESIDUAL = 0, 1   # ports
RESPONSE, SILENCE = 1 << 9, 1 << 10
LIMIT = 3000   # an inference takes less than half of it


@pytest.fixture(scope="module")
def program():
    hardware = HardwareConfig.for_model(MODEL, lanes=8, banks=2, port_bits=64, spill_residual=True)
    return compile_model(MODEL, replace(hardware, timeout_bits=TIMEOUT_BITS, parity=True))


@pytest.fixture(scope="module")
def simulator(program):
    return build_fault_bench(program, short=True)


@pytest.fixture
def bench(simulator, program):
    with FaultBench(simulator, program, IMAGE) as running:
        yield running


@pytest.fixture(scope="module")
def answer(simulator, program):
    """Words of the answer without cycles, and how long it takes."""
    with FaultBench(simulator, program, IMAGE) as running:
        outcome = running.infer(LIMIT)
    golden = GoldenModel(MODEL).run(IMAGE[None])[0]
    assert outcome.end is End.ANSWER and outcome.status == 2
    assert list(outcome.words[:3]) == golden[-1].logits.tolist()
    assert list(outcome.words[3::3]) == [result.acs for result in golden]
    return without_cycles(outcome), outcome.cycles


def without_cycles(outcome):
    """The first inference after a reset may find more of its weights there than the next one."""
    return [word for number, word in enumerate(outcome.words) if number < 3 or number % 3 != 1]


def test_two_inferences_without_a_fault(bench, answer):
    for _ in range(2):
        outcome = bench.infer(LIMIT)
        assert outcome.end is End.ANSWER and without_cycles(outcome) == answer[0]


@pytest.mark.parametrize("kind, port, number", [
    ("read", WEIGHTS, 1), ("read", WEIGHTS, 90), ("read", RESIDUAL, 1), ("read", RESIDUAL, 3),
    ("write", RESIDUAL, 1), ("write", RESIDUAL, 2)])
def test_an_error_response_stops_the_inference(bench, answer, kind, port, number):
    """And the answer is right after a reset, on every one of three tries."""
    for _ in range(3):
        bench.reset()
        bench.arm(kind, port, number)
        outcome = bench.infer(LIMIT)
        assert outcome.end is End.FAULT and outcome.words == ()
        assert outcome.status & ~1 == RESPONSE
        assert bench.reset() > 0
        outcome = bench.infer(LIMIT)
        assert outcome.end is End.ANSWER and without_cycles(outcome) == answer[0]


def test_a_memory_that_stops_to_answer(bench, answer):
    """At random cycles; a reset waits for the memory, which answers late, or is reset itself."""
    chance, stopped = random.Random(3), 0
    for turn in range(16):
        bench.reset()
        bench.arm("mute", chance.randrange(answer[1] * 3 // 4))
        outcome = bench.infer(LIMIT)
        if outcome.end is End.FAULT:   # else nothing was needed after that cycle
            stopped += 1
            assert outcome.status & ~1 == SILENCE and outcome.words == ()
        else:
            assert outcome.end is End.ANSWER and without_cycles(outcome) == answer[0]
        if turn % 2:
            bench.mute(False)
            assert bench.reset() > 0
        else:   # bursts may be under way for ever: the memory is in reset while ours is forced
            bench.reset(limit=300)
            assert bench.reset(forced=True) > 0
            bench.forget()
            bench.mute(False)
        outcome = bench.infer(LIMIT)
        assert outcome.end is End.ANSWER and without_cycles(outcome) == answer[0]
    assert stopped > 8


def test_a_reset_waits_for_the_bursts_under_way(bench, answer):
    bench.arm("mute", 300)
    assert bench.infer(LIMIT).end is End.FAULT
    assert bench.reset(limit=2000) == -1
    bench.mute(False)
    assert bench.reset() > 0
    assert without_cycles(bench.infer(LIMIT)) == answer[0]


def test_a_reset_at_any_cycle(bench, answer):
    chance = random.Random(5)
    for cycle in [*range(1, 12), *(chance.randrange(answer[1]) for _ in range(40))]:
        bench.begin(cycle)
        assert bench.reset() > 0, cycle
        outcome = bench.infer(LIMIT)
        assert outcome.end is End.ANSWER and without_cycles(outcome) == answer[0], cycle


def test_public_state():
    text = """module m(clk);
  reg [3:0] count = 4'h0;
  reg \\odd$1 ;
  reg [7:0] \\next ;
  reg [15:0] rows [3:0];
  always @(posedge clk)
    count <= \\$1 ;
  always @(posedge clk) begin
    if (en)
      rows[address] <= data;
  end
  always @(posedge clk)
    \\odd$1  <= \\$2 ;
  assign less = { a }  <= 2'h2;
  always @* begin
    \\next  = count;
  end
endmodule
"""
    marked = [line.strip() for line in with_public_state(text).splitlines() if "public" in line]
    assert marked == ["reg [3:0] count /*verilator public_flat_rw*/ = 4'h0;",
                      "reg \\odd$1  /*verilator public_flat_rw*/;",
                      "reg [15:0] rows [3:0] /*verilator public_flat_rw*/;"]


def test_wide_ports_are_refused(program):
    wide = replace(program, hardware=replace(program.hardware, port_bits=128))
    with pytest.raises(ValueError, match=r"^faults are simulated with memory ports of 64 bits"):
        build_fault_bench(wide)
