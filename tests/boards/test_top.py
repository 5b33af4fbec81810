# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""The byte link around a stand-in core, with gaps on all sides, and the top on a platform.

Testbenches only drive and collect; tests compare after the run.
"""

import numpy as np
import pytest
from amaranth import Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

import boards
from boards.top import BoardTop, Link, SerialLink, build_plan
from hw.readout import OUTPUT

WIDTHS = [1, 7, 8, 9, 16, 17]
GAPS = {"continuous": (0, 0), "idle": (6, 0), "backpressure": (0, 6), "both": (6, 6)}
every_gap = pytest.mark.parametrize("gaps", GAPS.values(), ids=GAPS.keys())


class StandIn(wiring.Component):
    """Takes `count` samples, then sends each back twice: as it is, and as -1 - sample, the last
    of all with `last`.  Ready in one cycle of `pace`.
    """

    def __init__(self, width, count, pace=1):
        self.width, self.count, self.pace = width, count, pace
        super().__init__({"i": In(stream.Signature(unsigned(width))),
                          "o": Out(stream.Signature(OUTPUT))})

    def elaborate(self, platform):
        m = Module()
        kept = Signal(self.width * self.count)
        index, item, tick = Signal(range(self.count + 1)), Signal(), Signal(range(self.pace + 1))
        m.d.sync += tick.eq(Mux(tick == self.pace - 1, 0, tick + 1))
        with m.FSM():
            with m.State("Take"):
                m.d.comb += self.i.ready.eq(tick == 0)
                with m.If(self.i.valid & self.i.ready):
                    m.d.sync += [kept.word_select(index, self.width).eq(self.i.payload),
                                 index.eq(index + 1)]
                    with m.If(index == self.count - 1):
                        m.d.sync += index.eq(0)
                        m.next = "Send"
            with m.State("Send"):
                sample = Signal(self.width)
                m.d.comb += [sample.eq(kept.word_select(index, self.width)), self.o.valid.eq(1),
                             self.o.payload.data.eq(Mux(item, -1 - sample, sample)),
                             self.o.payload.last.eq(item & (index == self.count - 1))]
                with m.If(self.o.ready):
                    m.d.sync += [item.eq(~item), index.eq(index + item)]
                    with m.If(self.o.payload.last):
                        m.d.sync += index.eq(0)
                        m.next = "Take"
        return m


def request(samples, width):
    """The bytes of samples; the bits above `width` are ones, which must not matter."""
    size = -(-width // 8)
    noise = (1 << 8 * size) - (1 << width)
    return [byte for value in samples for byte in (value | noise).to_bytes(size, "little")]


def answer(samples):
    return [byte for value in samples for word in (value, -1 - value)
            for byte in word.to_bytes(8, "little", signed=True)]


def random_samples(width, count, seed=0):
    edges = [0, (1 << width) - 1, 1 << width - 1, 1]
    return edges + np.random.default_rng(seed).integers(0, 1 << width, count - 4).tolist()


def run_link(link, core, sent, expected, gaps=(0, 0), cycles=20_000):
    """Bytes that come out for the bytes sent, `lost` at the end, and (busy, byte leaves) by cycle.

    gaps: largest random number of idle cycles before a byte goes in, and before one is taken.
    """
    dut = Module()
    dut.submodules.link, dut.submodules.core = link, core
    wiring.connect(dut, link.samples, core.i)
    wiring.connect(dut, core.o, link.words)
    rng = np.random.default_rng(1)
    idle, pauses = (rng.integers(0, gap + 1, 2000).tolist() for gap in gaps)
    got, trace, lost = [], [], []
    sim = Simulator(dut)
    sim.add_clock(1e-6)

    async def send(ctx):
        for number, byte in enumerate(sent):
            if idle[number]:
                await ctx.tick().repeat(idle[number])
            ctx.set(link.rx.payload, byte)
            ctx.set(link.rx.valid, 1)
            await ctx.tick()
            ctx.set(link.rx.valid, 0)
            ctx.set(link.rx.payload, ~byte & 0xFF)

    async def take(ctx):
        for number in range(expected):
            if pauses[number]:
                await ctx.tick().repeat(pauses[number])
            ctx.set(link.tx.ready, 1)
            byte, = await ctx.tick().sample(link.tx.payload).until(link.tx.valid)
            got.append(byte)
            ctx.set(link.tx.ready, 0)
        for _ in range(20):  # and nothing more
            ctx.set(link.tx.ready, 1)
            _, _, valid, byte = await ctx.tick().sample(link.tx.valid, link.tx.payload)
            got.extend([byte] * valid)
        lost.append(ctx.get(link.lost))

    async def watch(ctx):
        async for _, _, *values in ctx.tick().sample(
                link.busy, link.samples.valid & link.samples.ready,
                link.words.valid & link.words.ready & link.words.payload.last):
            trace.append(tuple(values))

    sim.add_testbench(send)
    sim.add_testbench(take)
    sim.add_testbench(watch, background=True)
    for _ in range(2 * cycles):
        if not sim.advance():
            return got, lost[0], trace
    raise TimeoutError(f"{len(got)} of {expected} bytes after {cycles} cycles")


@every_gap
@pytest.mark.parametrize("width", WIDTHS)
def test_link(width, gaps):
    samples = random_samples(width, 12)
    expected = answer(samples)
    got, lost, _ = run_link(Link(width), StandIn(width, len(samples)), request(samples, width),
                            len(expected), gaps)
    assert (got, lost) == (expected, 0)


@every_gap
def test_link_takes_inferences_one_after_the_other(gaps):
    """The second request waits in the queue while the first is answered."""
    samples = random_samples(8, 40)
    expected = answer(samples)
    got, lost, _ = run_link(Link(8), StandIn(8, 8), request(samples, 8), len(expected), gaps)
    assert (got, lost) == (expected, 0)


def test_link_queue_bridges_a_slow_core():
    samples = random_samples(8, 64)
    expected = answer(samples)
    got, lost, _ = run_link(Link(8), StandIn(8, 64, pace=50), request(samples, 8), len(expected))
    assert (got, lost) == (expected, 0)


def test_link_tells_of_lost_bytes():
    """More than the queue holds, at once: the first ones arrive, in order."""
    samples = random_samples(8, 40)
    expected = answer(samples[:16])
    got, lost, _ = run_link(Link(8, fifo_depth=16), StandIn(8, 16, pace=50), request(samples, 8),
                            len(expected))
    assert (got, lost) == (expected, 1)


def test_link_busy_from_first_sample_to_last_word():
    samples = random_samples(8, 24)
    _, _, trace = run_link(Link(8), StandIn(8, 8), request(samples, 8), 16 * 24, (3, 3))
    busy = 0
    for now, taken, last in trace:
        assert now == busy
        busy = 1 if taken else 0 if last else busy
    assert busy == 0 and sum(last for _, _, last in trace) == 3


@pytest.mark.parametrize("value", [0, -1, 2.0])
@pytest.mark.parametrize("name", ["input_width", "fifo_depth"])
def test_link_refuses_no_width(name, value):
    with pytest.raises(ValueError, match=rf"^{name} must be a positive integer, not {value!r}$"):
        Link(**{"input_width": 8, name: value})


def run_serial(divisor, width, count, levels, expected_bytes):
    """Levels of tx by cycle, while rx has the given levels by cycle; error, at the end."""
    dut = Module()
    dut.submodules.serial = serial = SerialLink(width, divisor)
    dut.submodules.core = core = StandIn(width, count)
    wiring.connect(dut, serial.samples, core.i)
    wiring.connect(dut, core.o, serial.words)
    seen, errors = [], []
    sim = Simulator(dut)
    sim.add_clock(1e-6)

    async def drive(ctx):
        for level in [*levels, *[1] * ((expected_bytes + 2) * 10 * divisor)]:
            ctx.set(serial.rx, level)
            _, _, tx = await ctx.tick().sample(serial.tx)
            seen.append(tx)
        errors.append(ctx.get(serial.error))
    sim.add_testbench(drive)
    sim.run()
    return seen, errors[0]


def uart_levels(data, divisor, stop=1):
    """The line by cycle."""
    return [bit for byte in data for bit in (0, *(byte >> i & 1 for i in range(8)), stop)
            for _ in range(divisor)]


@pytest.mark.parametrize("divisor, width", [(4, 8), (11, 12)])
def test_serial_link(divisor, width):
    """From the line through the core to the line, bit by bit; bytes leave without pauses."""
    samples = random_samples(width, 5)
    data = answer(samples)
    seen, error = run_serial(divisor, width, 5, uart_levels(request(samples, width), divisor),
                             len(data))
    start = seen.index(0)
    bits = [seen[start + int((i + 0.5) * divisor)] for i in range(8 * 10)]
    assert bits[::10] == [0] * 8 and bits[9::10] == [1] * 8
    # Between words the line may pause for a cycle, so each byte is found by its start edge.
    got, cycle = [], start
    while cycle < len(seen):
        if seen[cycle]:
            cycle += 1
        else:
            got.append(sum(seen[cycle + int((i + 1.5) * divisor)] << i for i in range(8)))
            cycle += int(9.5 * divisor)
    assert got == data
    assert not error


def test_serial_link_tells_of_a_missing_stop_bit():
    levels = uart_levels([0x55], 4, stop=0) + [1] * 8
    assert run_serial(4, 8, 5, levels, 0) == ([1] * (len(levels) + 80), 1)


@pytest.mark.parametrize("name", ["arty_a7", "arty_a7_100"])
def test_board_top_builds(name):
    board = boards.get(name)
    files = build_plan(board, StandIn(8, 8), 8).files
    assert set(files) == {"top.v", "top.debug.v", "top.xdc", "top.tcl", "build_top.sh",
                          "build_top.bat", "build_top.json"}
    assert f"-part {board.part}\n" in files["top.tcl"]
    for pin in ("A9", "D10", "E3", "C2", "H5", "J5", "T9"):
        assert f"LOC {pin} " in files["top.xdc"]
    assert "-period 10.0" in files["top.xdc"]


def test_board_top_does_not_name_this_machine():
    verilog = build_plan(boards.get("arty_a7"), StandIn(8, 8), 8).files["top.v"]
    assert "src = " not in verilog


def test_board_top_refuses_a_rate():
    with pytest.raises(ValueError, match=r"^baud must be at most 12500000 and within 2 % of "
                                         r"50000000 Hz divided by an integer, not 30000000$"):
        BoardTop(StandIn(8, 8), 8, boards.get("arty_a7"), baud=30_000_000)
