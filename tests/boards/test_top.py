# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""The system from line to line around a stand-in; the top on a board."""

import pytest
from amaranth.lib.wiring import Out
from amaranth.sim import Simulator

import boards
from boards.frames import READ, Command, Flag, Frame, Parser, Status
from boards.top import BoardTop, System, build_plan
from hw.faults import FAULTS
from tests.boards.stand_in import StandIn, answer, identity


def uart_levels(data, divisor, stop=1):
    """The line by cycle."""
    return [bit for byte in data for bit in (0, *(byte >> i & 1 for i in range(8)), stop)
            for _ in range(divisor)]


def decode(seen, divisor):
    """The bytes on the line, and whether each had its stop bit."""
    got, cycle = [], 0
    while cycle < len(seen):
        if seen[cycle]:
            cycle += 1
            continue
        bits = [seen[min(cycle + int((i + 0.5) * divisor), len(seen) - 1)] for i in range(10)]
        got.append((sum(bit << i for i, bit in enumerate(bits[1:9])), bits[9]))
        cycle += int(9.5 * divisor)
    return got


def run_line(system, divisor, *pieces):
    """Frames that the system sends, and `error` at the end; pieces as of `tests.boards.test_link`,
    those that are bytes being levels of the line by cycle.
    """
    sim = Simulator(system)
    sim.add_clock(1e-6)
    seen, errors = [], []

    async def drive(ctx):
        for piece in pieces:
            levels = ([1] * piece if isinstance(piece, int) else
                      uart_levels(piece.encode(), divisor) if isinstance(piece, Frame) else piece)
            for level in levels:
                ctx.set(system.rx, level)
                _, _, tx = await ctx.tick().sample(system.tx)
                seen.append(tx)
        errors.append(ctx.get(system.error))
    sim.add_testbench(drive)
    sim.run()
    data = decode(seen, divisor)
    assert all(stop for _, stop in data)
    return list(Parser().feed(bytes(byte for byte, _ in data))), errors[0]


@pytest.mark.parametrize("divisor, width", [(4, 8), (11, 12)])
def test_system(divisor, width):
    told = identity(width, 3)
    samples = [1, 2 ** width - 1, 2 ** (width - 1)]
    data = b"".join(value.to_bytes(told.sample_bytes, "little") for value in samples)
    frames, error = run_line(
        System(StandIn(width, 3), told, divisor, 1000), divisor, Frame(3, Command.IDENTIFY),
        800 * divisor, Frame(4, Command.SAMPLES, data), 200 * divisor,
        Frame(5, Command.READ, READ.pack(0, 6)), 700 * divisor)
    assert [frame.payload for frame in frames] == [told.pack(), b"", answer(samples)]
    assert not error


def test_a_dead_memory_is_told_in_the_status():
    core = StandIn(8, 3, more={"loaded": Out(1), "bad_image": Out(1), "faults": Out(FAULTS),
                               "dead_memory": Out(1, init=1)})
    frames, _ = run_line(System(core, identity(8, 3), 4, 1000), 4, Frame(3, Command.IDENTIFY),
                         800 * 4, Frame(4, Command.STATUS), 300 * 4)
    assert Status.unpack(frames[1].payload).flags == Flag.DEAD_MEMORY


def test_a_missing_stop_bit_is_an_error():
    system = System(StandIn(8, 3), identity(8, 3), 4, 1000)
    assert run_line(system, 4, uart_levels([0x55], 4, stop=0) + [1] * 8) == ([], 1)


@pytest.mark.parametrize("name", ["arty_a7", "arty_a7_100"])
def test_board_top_builds(name):
    board = boards.get(name)
    files = build_plan(board, StandIn(8, 8), identity(8, 8)).files
    assert set(files) == {"top.v", "top.debug.v", "top.xdc", "top.tcl", "build_top.sh",
                          "build_top.bat", "build_top.json"}
    assert f"-part {board.part}\n" in files["top.tcl"]
    for pin in ("A9", "D10", "E3", "C2", "H5", "J5", "T9"):
        assert f"LOC {pin} " in files["top.xdc"]
    assert "-period 10.0" in files["top.xdc"]


def test_board_top_does_not_name_this_machine():
    verilog = build_plan(boards.get("arty_a7"), StandIn(8, 8), identity(8, 8)).files["top.v"]
    assert "src = " not in verilog


def test_board_top_refuses_a_rate():
    with pytest.raises(ValueError, match=r"^baud must be at most 12500000 and within 2 % of "
                                         r"50000000 Hz divided by an integer, not 30000000$"):
        BoardTop(StandIn(8, 8), identity(8, 8), boards.get("arty_a7"), baud=30_000_000)
