# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""The serial line, against a model that drives and reads it bit by bit, at any rate.

Testbenches only drive and collect; tests compare after the run.
"""

import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from boards.uart import Receiver, Transmitter, divisor_for
from sim.units import UnitError, run_unit

EDGES = [0x00, 0xFF, 0x01, 0x80, 0x55, 0xAA, 0x7F, 0xFE]
DIVISORS = [4, 5, 7, 16, 100]
every_divisor = pytest.mark.parametrize("divisor", DIVISORS)


def random_bytes(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, count).tolist()


def frame(byte, stop=1):
    """The ten bits on the line."""
    return [0, *(byte >> i & 1 for i in range(8)), stop]


def line_levels(bits, period):
    """Levels by clock cycle of bits that take `period` cycles each, which may be a fraction."""
    return [bits[int(cycle / period)] for cycle in range(int(np.ceil(len(bits) * period)))]


def read_line(levels, period):
    """Bytes on a line, by looking at the middle of each bit after a start edge."""
    got, cycle = [], 0
    while cycle < len(levels):
        if levels[cycle]:
            cycle += 1
            continue
        middles = [int(cycle + (i + 0.5) * period) for i in range(10)]
        bits = [levels[middle] for middle in middles]
        assert bits[0] == 0 and bits[9] == 1, f"bad frame {bits} at cycle {cycle}"
        got.append(sum(bit << i for i, bit in enumerate(bits[1:9])))
        cycle = middles[9]
    return got


def receive(divisor, levels, after=None):
    """Drive one level per cycle, then idle; [(cycle, byte)] and the cycles with an error."""
    dut = Receiver(divisor)
    got, errors = [], []
    levels = [*levels, *[1] * (12 * divisor if after is None else after)]
    sim = Simulator(dut)
    sim.add_clock(1e-6)

    async def drive(ctx):
        for cycle, level in enumerate(levels):
            ctx.set(dut.rx, level)
            _, _, valid, byte, error = await ctx.tick().sample(
                dut.o.valid, dut.o.payload, dut.error)
            if valid:
                got.append((cycle, byte))
            if error:
                errors.append(cycle)
    sim.add_testbench(drive)
    sim.run()
    return got, errors


def received(divisor, levels):
    got, errors = receive(divisor, levels)
    return [byte for _, byte in got], len(errors)


@every_divisor
def test_receiver_back_to_back(divisor):
    sent = EDGES + random_bytes(20)
    bits = [bit for byte in sent for bit in frame(byte)]
    assert received(divisor, line_levels(bits, divisor)) == (sent, 0)


@pytest.mark.parametrize("divisor", [16, 100])
@pytest.mark.parametrize("mismatch", [-0.02, 0.02], ids=["2 % fast", "2 % slow"])
def test_receiver_of_another_clock(divisor, mismatch):
    sent = EDGES + random_bytes(20, seed=1)
    bits = [bit for byte in sent for bit in frame(byte)]
    assert received(divisor, line_levels(bits, divisor * (1 + mismatch))) == (sent, 0)


@pytest.mark.parametrize("mismatch", [-0.08, 0.08])
def test_receiver_model_can_be_too_far_off(mismatch):
    """8 % is more than any receiver can follow, so the test above can fail."""
    bits = [bit for byte in EDGES for bit in frame(byte)]
    assert received(100, line_levels(bits, 100 * (1 + mismatch))) != (EDGES, 0)


@every_divisor
def test_receiver_idle_between_bytes(divisor):
    """Pauses of any length, also fractions of a bit."""
    rng = np.random.default_rng(2)
    sent = EDGES + random_bytes(20, seed=2)
    levels = [1] * 3
    for byte in sent:
        levels += line_levels(frame(byte), divisor) + [1] * int(rng.integers(0, 3 * divisor))
    assert received(divisor, levels) == (sent, 0)


@every_divisor
def test_receiver_latency(divisor):
    """From the start edge to the middle of the stop bit, and two cycles of the synchronizer."""
    (first, second), _ = receive(divisor, line_levels(frame(0xA5) + frame(0x3C), divisor))
    assert first == (2 + 9 * divisor + divisor // 2, 0xA5)
    assert second == (first[0] + 10 * divisor, 0x3C)


@every_divisor
def test_receiver_short_glitch_is_no_byte(divisor):
    for length in {1, divisor // 4, divisor // 2 - 1, divisor // 2}:
        levels = [1] * 5 + [0] * length + [1] * (divisor - length)
        assert received(divisor, levels) == ([], 0), length
        # A byte right after it comes through.
        assert received(divisor, levels + line_levels(frame(0x5A), divisor)) == ([0x5A], 0), length


@every_divisor
def test_receiver_long_pulse_is_a_byte(divisor):
    """Just over half a bit is taken for a start bit: the test above can fail."""
    assert received(divisor, [0] * (divisor // 2 + 1)) == ([0xFF], 0)


@every_divisor
def test_receiver_drops_a_byte_without_stop_bit(divisor):
    levels = line_levels(frame(0x12) + frame(0x34, stop=0) + [1] + frame(0x56), divisor)
    assert received(divisor, levels) == ([0x12, 0x56], 1)


@every_divisor
def test_receiver_break_is_one_error(divisor):
    levels = [0] * (35 * divisor) + [1] * divisor + line_levels(frame(0x78), divisor)
    assert received(divisor, levels) == ([0x78], 1)


def transmit(divisor, items, gaps):
    """Send items, each after so many idle cycles.

    Returns the levels of the line by cycle, and the cycles of the transfers.
    """
    dut = Transmitter(divisor)
    levels, transfers = [], []
    sim = Simulator(dut)
    sim.add_clock(1e-6)

    async def send(ctx):
        for item, gap in zip(items, gaps):
            if gap:
                ctx.set(dut.i.valid, 0)
                ctx.set(dut.i.payload, 0xFF & ~item)
                await ctx.tick().repeat(gap)
            ctx.set(dut.i.payload, item)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(12 * divisor)

    async def watch(ctx):
        async for _, _, tx, taken in ctx.tick().sample(dut.tx, dut.i.valid & dut.i.ready):
            if taken:
                transfers.append(len(levels))
            levels.append(tx)
    sim.add_testbench(send)
    sim.add_testbench(watch, background=True)
    sim.run()
    return levels, transfers


@every_divisor
@pytest.mark.parametrize("gap", [0, 30], ids=["back to back", "gaps"])
def test_transmitter(divisor, gap):
    sent = EDGES + random_bytes(20, seed=3)
    gaps = np.random.default_rng(4).integers(0, gap + 1, len(sent)).tolist()
    levels, transfers = transmit(divisor, sent, gaps)
    assert len(transfers) == len(sent)
    assert read_line(levels, divisor) == sent


@every_divisor
def test_transmitter_is_exact(divisor):
    """Level for level, idle before and after, no cycle between bytes."""
    sent = EDGES + random_bytes(5, seed=5)
    levels, transfers = transmit(divisor, sent, [7] + [0] * (len(sent) - 1))
    bits = [bit for byte in sent for bit in frame(byte)]
    expected = [1] * (transfers[0] + 1) + line_levels(bits, divisor)
    assert levels[:len(expected)] == expected
    assert all(levels[len(expected):])
    assert set(np.diff(transfers)) == {10 * divisor}


@pytest.mark.parametrize("divisors", [(16, 16), (100, 98), (98, 100)])
def test_transmitter_to_receiver(divisors):
    dut = Module()
    dut.submodules.transmitter = transmitter = Transmitter(divisors[0])
    dut.submodules.receiver = receiver = Receiver(divisors[1])
    dut.d.comb += receiver.rx.eq(transmitter.tx)
    sent, got = EDGES + random_bytes(10, seed=6), []
    sim = Simulator(dut)
    sim.add_clock(1e-6)

    async def send(ctx):
        for byte in sent:
            ctx.set(transmitter.i.payload, byte)
            ctx.set(transmitter.i.valid, 1)
            await ctx.tick().until(transmitter.i.ready)
        ctx.set(transmitter.i.valid, 0)
        await ctx.tick().repeat(12 * max(divisors))

    async def take(ctx):
        async for _, _, valid, byte in ctx.tick().sample(receiver.o.valid, receiver.o.payload):
            if valid:
                got.append(byte)
    sim.add_testbench(send)
    sim.add_testbench(take, background=True)
    sim.run()
    assert got == sent


def test_receiver_cannot_wait():
    """Its stream says so, and nobody who wants to wait can be connected to it."""
    assert Receiver(4).signature.members["o"].signature.always_ready


@pytest.mark.parametrize("clock, baud, divisor", [
    (100_000_000, 1_000_000, 100), (100_000_000, 115_200, 868), (12_000_000, 115_200, 104),
    (100_000_000, 25_000_000, 4), (12_000_000, 921_600, 13)])
def test_divisor(clock, baud, divisor):
    assert divisor_for(clock, baud) == divisor


@pytest.mark.parametrize("clock, baud", [(100_000_000, 26_000_000), (12_000_000, 2_600_000),
                                         (1_000, 1_000), (1_000, 10_000)])
def test_rate_that_the_clock_cannot_make(clock, baud):
    with pytest.raises(ValueError, match=rf"^baud must be at most {clock // 4} and within 2 % of "
                                         rf"{clock} Hz divided by an integer, not {baud}$"):
        divisor_for(clock, baud)


@pytest.mark.parametrize("baud", [0, -1, 9600.0, None])
def test_rate_must_be_an_integer(baud):
    with pytest.raises(ValueError, match=rf"^baud must be a positive integer, not {baud!r}$"):
        divisor_for(100_000_000, baud)


@pytest.mark.parametrize("unit", [Receiver, Transmitter])
@pytest.mark.parametrize("divisor", [3, 0, -1, 4.5])
def test_divisor_must_leave_a_middle(unit, divisor):
    with pytest.raises(ValueError,
                       match=rf"^divisor must be an integer of at least 4, not {divisor!r}$"):
        unit(divisor)


class Echo(wiring.Component):
    """What comes goes back."""

    def __init__(self, divisor):
        self._divisor = divisor
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = Receiver(self._divisor)
        m.submodules.queue = queue = SyncFIFO(width=8, depth=4)
        m.submodules.transmitter = transmitter = Transmitter(self._divisor)
        m.d.comb += [receiver.rx.eq(self.rx), queue.w_data.eq(receiver.o.payload),
                     queue.w_en.eq(receiver.o.valid), self.tx.eq(transmitter.tx)]
        wiring.connect(m, queue.r_stream, transmitter.i)
        return m


@pytest.mark.parametrize("bit", [160, pytest.param(157, marks=pytest.mark.slow),
                                 pytest.param(163, marks=pytest.mark.slow)])
def test_against_another_uart(bit):
    """Also of one whose clock is 2 % faster or slower."""
    run_unit(Echo(8), "tests.boards.uart_bench", {"period": 20, "bit": bit})


def test_another_uart_at_another_rate():
    with pytest.raises(UnitError, match=r"uart_bench\.echo: "):
        run_unit(Echo(8), "tests.boards.uart_bench", {"period": 20, "bit": 190})
