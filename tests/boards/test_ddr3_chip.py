# SPDX-License-Identifier: Apache-2.0
"""Modes and times of the DDR3 chip, and what its model says of masters that break its rules."""

import pytest

from boards.ddr3_chip import ALL_BANKS, MODES, Ddr3Pins
from tests.boards.chips import Ddr3Chip

# At 125 MHz, the most that a chip without DLL takes.
PERIOD = 8.0
CODES = {"activate": 0b100, "read": 0b010, "write": 0b011, "precharge": 0b101, "refresh": 0b110,
         "mode": 0b111, "calibrate": 0b001}
START = {75: ("mode", 2, MODES[2]), 79: ("mode", 3, MODES[3]), 83: ("mode", 1, MODES[1]),
         87: ("mode", 0, MODES[0]), 99: ("calibrate", 0, ALL_BANKS)}
READY = 620


def run(chip, commands, cycles=80, begin=READY, start=START):
    """Commands by cycle after `begin`, with the data of writes at their time."""
    script = start | {begin + cycle: command for cycle, command in commands}
    writes = [cycle for cycle, (name, *_) in script.items() if name == "write"]
    for cycle in range(begin + cycles):
        name, bank, a = script.get(cycle, ("", 0, 0))
        code = CODES.get(name, 0)
        oe = any(5 <= cycle - each <= 10 for each in writes)
        dqs = any(6 <= cycle - each <= 9 for each in writes)
        flags = (int(cycle < 25) | int(cycle > 50) << 1 | (code >> 2) << 2 | (code >> 1 & 1) << 3
                 | (code & 1) << 4 | oe << 5 | dqs << 6)
        chip.cycle(cycle * PERIOD, PERIOD, flags, bank, a, 0, 0x1111 * (cycle % 16))
    return chip.finish()


def new(**changes):
    return Ddr3Chip(200, 200, **changes)


OPEN = (0, ("activate", 1, 5))


@pytest.mark.parametrize(("commands", "fault"), [
    ([OPEN, (2, ("write", 1, 8)), (17, ("read", 1, 8)), (21, ("precharge", 1, 0)),
      (23, ("activate", 1, 6))], None),
    ([OPEN, (1, ("read", 1, 0))], "tRCD: 8 ns, at least 13.75"),
    ([OPEN, (4, ("precharge", 1, 0))], "tRAS: 32 ns, at least 35"),
    ([OPEN, (5, ("precharge", 1, 0)), (6, ("activate", 1, 5))], "tRP: 8 ns, at least 13.75"),
    ([OPEN, (5, ("precharge", 1, 0)), (6, ("refresh", 0, 0))], "tRP: 8 ns, at least 13.75"),
    ([(0, ("refresh", 0, 0)), (19, ("activate", 0, 0))], "tRFC: 152 ns, at least 160"),
    ([OPEN, (2, ("read", 1, 0)), (5, ("read", 1, 8))], "tCCD: 3 clocks, at least 4"),
    ([OPEN, (2, ("read", 1, 0)), (5, ("precharge", 1, 0))], "tRTP: 3 clocks, at least 4"),
    ([OPEN, (2, ("write", 1, 0)), (15, ("read", 1, 0))], "tWTR: 3 clocks, at least 4"),
    ([OPEN, (2, ("write", 1, 0)), (13, ("precharge", 1, 0))], "tWR: 12 ns, at least 15"),
    ([OPEN, (2, ("write", 1, 0)), (10, ("precharge", 1, 0))], "precharge before a write's data"),
    ([OPEN, (2, ("read", 1, 0)), (6, ("write", 1, 0))], "both sides drive the data pins"),
    ([OPEN, (9, ("activate", 1, 5))], "activate with an open row"),
    ([(9, ("read", 1, 0))], "read without an open row"),
    ([OPEN, (9, ("read", 1, ALL_BANKS))], "read with auto precharge"),
    ([OPEN, (9, ("read", 1, 4))], "read from the middle of a burst"),
    ([OPEN, (9, ("refresh", 0, 0))], "refresh with an open row"),
    ([(0, ("mode", 1, 0))], "mode 1 is not that of a chip without DLL"),
    ([(0, ("mode", 0, 3 << 4))], "mode 0 is not that of a chip without DLL"),
])
def test_the_model_notices_commands(commands, fault):
    faults = run(new(), commands)
    if fault is None:
        assert faults == []
    else:
        assert any(fault in text for text in faults), faults


@pytest.mark.parametrize(("start", "begin", "fault"), [
    (START, 600, "tZQinit: 501 clocks, at least 512"),
    (START | {99: ("calibrate", 0, 0)}, READY, "the first calibration is the long one"),
    ({cycle + (cycle == 79): each for cycle, each in START.items()}, READY, "tMRD: 3 clocks"),
    ({cycle - (cycle == 99): each for cycle, each in START.items()}, READY, "tMOD: 11 clocks"),
    ({cycle: each for cycle, each in START.items() if cycle != 83}, READY, "in the order 2, 3, 1"),
    ({cycle - 5: each for cycle, each in START.items()}, READY, "tXPR: 154 ns, at least 170"),
    ({}, READY, "activate before the calibration")])
def test_the_model_notices_a_wrong_start(start, begin, fault):
    faults = run(new(), [OPEN], begin=begin, start=start)
    assert any(fault in text for text in faults), faults


@pytest.mark.parametrize(("late", "fault"), [
    (0, None), (2, "tDS: 0 ns, at least 0.01"), (3, "tDQSS: 3 ns, at most 2.16")])
def test_the_model_notices_the_strobe(late, fault):
    faults = run(new(late=late), [OPEN, (2, ("write", 1, 8))])
    assert faults == [] if fault is None else any(fault in text for text in faults), faults


def test_a_word_is_valid_for_less_than_its_time():
    """Between the words of a burst, and where nobody wrote, there is noise."""
    chip = new(access=1, flight=0)
    chip.load(2 * (5 << 13 | 1 << 10), bytes(range(16)))
    run(chip, [OPEN, (2, ("read", 1, 0))], cycles=3)
    came = [chip.cycle(n * PERIOD, PERIOD, 2) for n in range(READY + 3, READY + 18)]
    samples = [sum((word >> 8 * bit + slot & 1) << bit for bit in range(16))
               for word in came for slot in range(8)]
    # A bit of 4 ns is right for 0.38 clocks less the skew, 2.94 ns: two or three samples of four.
    runs = [samples.count(int.from_bytes(bytes(range(16))[2 * n:2 * n + 2], "little"))
            for n in range(8)]
    assert all(2 <= each <= 3 for each in runs), runs
    assert len(set(samples)) > 60


def test_pins_have_a_command_and_data_for_two_edges():
    members = Ddr3Pins().members
    assert members["dq_o"].shape == 32 and members["dq_i"].shape == 16 * 8
