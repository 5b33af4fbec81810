# SPDX-License-Identifier: Apache-2.0
"""Sequencer: instructions in order and over again, starts, reports and the cycle counter."""

import pytest

from hw.isa import WORD_BITS, Instruction, Op
from hw.sequencer import Sequencer, StoredProgram, changing_bits
from tests.hw.harness import Bench, small_hardware

HARDWARE = small_hardware()
LAYOUT = Instruction(HARDWARE)
# Numbers tell instructions apart; PLANES reports nothing, as a part of the classifier's layer.
PROGRAM = [
    {"op": Op.LOAD, "height": 3, "timesteps": 2},
    {"op": Op.CONV, "layer": 0, "height": 7, "report": 1, "logit_shift": 5},
    {"op": Op.ATTENTION, "layer": 1, "height": 9, "report": 1, "head_dim": 11},
    {"op": Op.PLANES, "layer": 2, "height": 2},
    {"op": Op.CONV, "layer": 2, "height": 1, "report": 1},
    {"op": Op.END, "outputs": 10, "counters": 3}]


def run_program(durations, passes=2, program=PROGRAM):
    """(start's cycle, start, instruction) and (done's cycle, report, clear, cycles) of each."""
    words = [word for fields in program for word in LAYOUT.encode(fields)]
    bench = Bench(dut := Sequencer(HARDWARE, words))

    async def units(ctx):
        for i in range(passes * len(program)):
            await ctx.tick().until(dut.start != 0)
            await ctx.tick().repeat(durations[i % len(durations)])
            ctx.set(dut.done, 1)
            await ctx.tick()
            ctx.set(dut.done, 0)
    bench.sim.add_testbench(units)
    starts = bench.record(dut.start != 0, dut.start, dut.instruction)
    ends = bench.record(dut.done, dut.report, dut.clear, dut.cycles, dut.instruction)
    strays = bench.record((dut.report | dut.clear) & ~dut.done)
    bench.run(extra=LAYOUT.words + 8)
    assert not strays
    return starts, ends


@pytest.mark.parametrize("durations", [(1,), (5,), (1, 9, 30, 2, 4)],
                         ids=["shortest", "5", "mixed"])
def test_program_runs_in_order_and_again(durations):
    starts, ends = run_program(durations)
    assert len(starts) == 2 * len(PROGRAM) + 1
    for i, (_, start, instruction) in enumerate(starts):
        fields = PROGRAM[i % len(PROGRAM)]
        assert start == 1 << fields["op"].value
        assert {name: instruction[name] for name in fields} == {
            name: getattr(value, "value", value) for name, value in fields.items()}
        assert not any(instruction[name] for name, _ in LAYOUT if name not in fields)
    # The instruction is the same from start to done.
    for (_, _, at_start), (*_, at_end) in zip(starts, ends):
        assert at_start == at_end


def test_report_and_clear():
    _, ends = run_program((3,))
    assert [(report, clear) for _, report, clear, _, _ in ends] == 2 * [
        (0, 1), (1, 1), (1, 1), (0, 0), (1, 1), (0, 0)]


def test_cycles_run_from_the_end_of_what_was_counted_before():
    """From Load's end, or the last report; Planes and the classifier are one count."""
    _, ends = run_program((4, 7, 2))
    for index, since in ((1, 0), (2, 1), (4, 2)):
        assert ends[index][3] == ends[index][0] - ends[since][0] - 1
    # The next pass starts anew although End did not clear.
    assert ends[7][3] == ends[7][0] - ends[6][0] - 1


def test_fetch_takes_two_cycles_more_than_words():
    """And one more before the first instruction of an inference."""
    starts, ends = run_program((3,))
    for i, ((start, *_), (end, *_)) in enumerate(zip(starts[1:], ends), start=1):
        assert start - end == LAYOUT.words + 2 + (i % len(PROGRAM) == 0)


@pytest.mark.parametrize("holds", [(0,), (1,), (7,), (0, 25, 3)], ids=str)
def test_an_instruction_stays_while_results_are_on_their_way(holds):
    """`done` may be over long before `hold` is: the layer ends, and is counted, when both were."""
    words = [word for fields in PROGRAM for word in LAYOUT.encode(fields)]
    bench = Bench(dut := Sequencer(HARDWARE, words))

    async def units(ctx):
        for i in range(2 * len(PROGRAM)):
            await ctx.tick().until(dut.start != 0)
            hold = holds[i % len(holds)]
            ctx.set(dut.hold, hold > 0)
            await ctx.tick().repeat(3)
            ctx.set(dut.done, 1)
            await ctx.tick()
            ctx.set(dut.done, 0)
            if hold:
                await ctx.tick().repeat(hold)
            ctx.set(dut.hold, 0)
    bench.sim.add_testbench(units)
    starts = bench.record(dut.start != 0, dut.start, dut.instruction)
    levels = bench.record(1, dut.done, dut.hold)
    ends = bench.record(dut.report | dut.clear, dut.report, dut.clear, dut.cycles,
                        dut.instruction)
    bench.run(extra=LAYOUT.words + 8)
    assert [start for _, start, _ in starts[:-1]] == 2 * [
        1 << fields["op"].value for fields in PROGRAM]
    over = [next(cycle for cycle, _, hold in levels[done:] if not hold)
            for done, is_done, _ in levels if is_done]
    assert all(end - done in (0, *(hold + 1 for hold in holds))
               for (done, *_), end in zip((level for level in levels if level[1]), over))
    # The next instruction is fetched after that.
    assert all(start - end >= LAYOUT.words + 2 for (start, *_), end in zip(starts[1:], over))
    # Load clears and layers report in this very cycle, once.
    counted = [i for i in range(len(over)) if PROGRAM[i % len(PROGRAM)]["op"] is Op.LOAD
               or "report" in PROGRAM[i % len(PROGRAM)]]
    assert [(cycle, report) for cycle, report, *_ in ends] == [
        (over[i], int("report" in PROGRAM[i % len(PROGRAM)])) for i in counted]
    assert [instruction for *_, instruction in ends] == [starts[i][2] for i in counted]
    # The time in which it is held counts.
    assert [cycles for _, report, _, cycles, _ in ends if report] == [
        end - before - 1 for (before, *_), (end, report, *_) in zip(ends, ends[1:]) if report]


def test_a_streamed_program_is_waited_for():
    """At each restart: first for `enable`, then for the program, which may be another one."""
    hardware = small_hardware(port_bits=64, program_words=2 * LAYOUT.words)
    layout = Instruction(hardware)
    bench = Bench(dut := Sequencer(hardware, []))

    async def units(ctx):
        for height in (5, 6, 7):
            await ctx.tick().repeat(30)
            ctx.set(dut.enable, 1)
            await ctx.tick().until(dut.restart)
            ctx.set(dut.enable, 0)
            ctx.set(dut.program_ready, 0)
            await ctx.tick().repeat(20)
            words = [word for fields in ({"op": Op.LOAD, "height": height}, {"op": Op.END})
                     for word in layout.encode(fields)]
            for address, word in enumerate(words):
                ctx.set(dut.load.en, 1)
                ctx.set(dut.load.address, address)
                ctx.set(dut.load.data, word)
                await ctx.tick()
            ctx.set(dut.load.en, 0)
            ctx.set(dut.program_ready, 1)
            for _ in range(2):
                await ctx.tick().until(dut.start != 0)
                ctx.set(dut.done, 1)
                await ctx.tick()
                ctx.set(dut.done, 0)
    bench.sim.add_testbench(units)
    starts = bench.record(dut.start != 0, dut.instruction.op, dut.instruction.height)
    restarts = bench.record(dut.restart, dut.enable)
    ready = bench.record(dut.program_ready)
    bench.run(extra=40)
    assert [(op, height) for _, op, height in starts] == [
        pair for height in (5, 6, 7) for pair in ((Op.LOAD.value, height), (Op.END.value, 0))]
    assert [enable for _, enable in restarts] == [1, 1, 1]
    for (restart, _), (start, *_) in zip(restarts, starts[::2]):
        first = next(cycle for cycle, in ready if cycle > restart)
        assert start - first == layout.words + 2


def test_bits_that_change():
    # Bit 0 is constant, 2 equals 1, 3 is its opposite.
    assert changing_bits([0b1001, 0b0111, 0b1001], 4) == [None, 1, 1, 3]
    assert changing_bits([5], 3) == [None] * 3


def test_what_never_changes_is_not_stored():
    """Neither the program memory nor the register has it, and the words are as many."""
    words = [word for fields in PROGRAM for word in LAYOUT.encode(fields)]
    stored = StoredProgram.of(HARDWARE, words)
    assert len(stored.words) == len(words) and stored.width == 1
    assert max(stored.words) < 1 << stored.width
    held = {place for changes, place in stored.places if changes}
    assert held == set(range(len(held))) and len(held) <= stored.width * LAYOUT.words
    streamed = small_hardware(port_bits=64, program_words=8 * LAYOUT.words)
    assert StoredProgram.of(streamed, []).width == WORD_BITS


def test_a_short_counter_stays_at_its_largest_value():
    hardware = small_hardware(tally_bits=8)
    words = [word for fields in PROGRAM for word in LAYOUT.encode(fields)]
    bench = Bench(dut := Sequencer(hardware, words))
    cycles = bench.record(1, dut.cycles)
    bench.run(extra=300)
    assert [value for _, value in cycles[:256]] == list(range(256))
    assert {value for _, value in cycles[256:]} == {255}
