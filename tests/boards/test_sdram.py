# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""The SDRAM controller against a model of its chip, which is strict about states and times."""

import re

import numpy as np
import pytest

from boards.sdram import SIZE, Sdram, SdramTimings
from tests.boards.bursts import expected, read, read_after_reset
from tests.boards.chips import SdramChip
from tests.hw.harness import Bench, every_gap

SHORT = 2_000.0   # ns of power-up, where a test is not about it
NOISE = np.random.default_rng(0).bytes(1 << 14)
# (address, beats): within a row, to the next ones and banks, the last of the chip.
BURSTS = [(0, 1), (1024, 64), (2048, 3), (0x1000, 64), (1024, 2), (SIZE - 1024, 64), (512, 64)]
every_width = pytest.mark.parametrize("bits", [64, 128])


def bench_of(bits, chip, mhz=50, max_cycles=60_000):
    dut = Sdram(bits, round(mhz * 1e6), SdramTimings(power_up=chip.power_up))
    bench = Bench(dut, max_cycles=max_cycles)
    chip.serve(bench, dut.pins, 1000 / mhz)
    return bench, dut


def filled():
    chip = SdramChip(power_up=SHORT)
    chip.load(0, NOISE)
    chip.load(SIZE - 1024, NOISE[:1024])
    return chip


@every_width
@every_gap
def test_bursts(bits, gaps):
    # A burst does not cross 4 KB.
    bursts = [(address, beats if address != SIZE - 1024 else 1024 * 8 // bits)
              for address, beats in BURSTS]
    chip = filled()
    bench, dut = bench_of(bits, chip)
    got, _, _ = read(bench, dut, bits, bursts, gaps)
    bench.run(extra=2)
    assert chip.finish() == []
    assert got == expected(bits, bursts, chip)


@every_width
@every_gap
def test_what_was_written_is_read(bits, gaps):
    """Writes first, then both at once, at other addresses."""
    rng = np.random.default_rng(1)
    chip = filled()
    words = [(8 * n, int.from_bytes(rng.bytes(8), "little"))
             for n in [0, 1, 2, 127, 128, 129, 511, 512, SIZE // 8 - 1, 1024, 200]]
    bursts = [(0, 64), (1024, 32), (4096, 64)]
    bench, dut = bench_of(bits, chip)
    far = [(0x3000 + 8 * n, n << 40 | 7) for n in range(40)]
    bench.source(dut.writes, [{"address": a, "data": d} for a, d in words + far], gaps[1])
    bench.wait(dut.ready)
    got, _, _ = read(bench, dut, bits, [(16 * n, 1) for n in range(40)] + bursts, gaps)
    bench.run(extra=20)
    assert chip.finish() == []
    for address, value in words + far:
        assert [chip.word(address // 2 + k) for k in range(4)] == [
            value >> 16 * k & 0xFFFF for k in range(4)], hex(address)
    # By then `words` are written; `far` ones lie elsewhere.
    assert got[40:] == expected(bits, bursts, chip)
    assert chip.commands.count("write") == 4 * len(words + far)


@every_width
def test_writes_while_beats_are_read(bits):
    """A write may come between the words of a beat, to another bank, row and column."""
    chip = filled()
    bench, dut = bench_of(bits, chip)
    bursts = [(1024 * n, 512 * 8 // bits) for n in range(12)]
    writes = [{"address": 0x8000 + 1032 * n, "data": n} for n in range(60)]
    bench.source(dut.writes, writes, 40, first=200)
    got, _, _ = read(bench, dut, bits, bursts, (3, 0))
    bench.run(extra=20)
    assert chip.finish() == []
    assert chip.commands.count("write") == 4 * len(writes)
    assert got == expected(bits, bursts, chip)
    assert [chip.word(each["address"] // 2) for each in writes] == list(range(60))


def test_initialisation_at_its_real_time():
    chip = SdramChip()
    chip.load(0, NOISE)
    bench, dut = bench_of(64, chip)
    got, _, _ = read(bench, dut, 64, [(0, 4)])
    bench.run(extra=2)
    assert chip.finish() == []
    assert chip.commands[:12] == [
        "precharge", *["refresh"] * 8, "mode", "activate", "read"]
    assert got == expected(64, [(0, 4)], chip)


@pytest.mark.parametrize("moment", range(600, 640, 3))
def test_a_reset_keeps_contents_and_rules(moment):
    """In the middle of bursts and writes; the chip has seen power long ago."""
    chip = filled()
    seen = read_after_reset(Sdram(64, 50_000_000, SdramTimings(power_up=SHORT)), chip, moment, 64,
                            (4096, 600, 620), max_cycles=4_000)
    assert chip.finish() == []
    assert chip.commands.count("mode") == 2
    assert seen == [int.from_bytes(NOISE[n:n + 8], "little") for n in range(64, 576, 8)]


def test_refreshes_come_in_a_long_idle_time_and_under_load():
    chip = filled()
    bench, dut = bench_of(64, chip)
    bursts = [(1024 * (n % 16), 64) for n in range(40)]
    got, _, _ = read(bench, dut, 64, bursts)
    bench.run(extra=4000)
    assert chip.finish() == []
    assert chip.refreshes >= 8 + (40 * 256 + 4000) // 390
    assert got == expected(64, bursts, chip)


@every_width
def test_latency_and_throughput(bits):
    """As the docstring of Sdram says."""
    chip = filled()
    bench, dut = bench_of(bits, chip)
    words = bits // 16
    bench.wait(dut.ready)
    blocks = [(1024 * n, 1024 * 8 // bits) for n in range(12)]
    got, asked, came = read(bench, dut, bits, [(0, 1), *blocks])
    bench.run(extra=2)
    assert got == expected(bits, [(0, 1), *blocks], chip)
    beats = [cycle for cycle, *_ in came]
    asked = [cycle for cycle, *_ in asked]
    assert min(after - before for before, after in zip(beats, beats[1:])) == words
    assert 12 * 1024 / (beats[-1] - beats[1]) > 1.9
    assert beats[1] - asked[1] == 7 + words


def test_latency_where_another_row_is_open():
    chip = filled()
    bench, dut = bench_of(64, chip)
    bench.wait(dut.ready)
    _, asked, came = read(bench, dut, 64, [(0, 1), (4096, 1)])
    bench.run()
    assert came[1][0] - asked[1][0] == 13 + 4


@pytest.mark.parametrize("mhz", [12, 25, 48, 66])
def test_other_clocks(mhz):
    chip = filled()
    bench, dut = bench_of(64, chip, mhz)
    bench.source(dut.writes, [{"address": 16, "data": 5}, {"address": 4096, "data": 6}])
    got, _, _ = read(bench, dut, 64, BURSTS[:5])
    bench.run(extra=1000)
    assert chip.finish() == []
    assert got == expected(64, BURSTS[:5], chip)


@pytest.mark.parametrize(("changed", "fault", "extra"), [
    ({"precharge": 1}, "tRP", 0), ({"refresh_cycle": 20}, "after refresh", 0),
    ({"power_up": 1000}, "power up", 0), ({"refresh_interval": 60_000}, "refresh .* late", 9000)])
def test_the_model_notices_timings(changed, fault, extra):
    chip = filled()
    timings = SdramTimings(**{"power_up": SHORT} | changed)
    bench = Bench(dut := Sdram(64, 50_000_000, timings), max_cycles=60_000)
    chip.serve(bench, dut.pins, 20)
    bench.source(dut.axi.ar, [{"addr": address, "len": 0} for address in (0, 4096, 0, 1024)])
    bench.sink(dut.axi.r, 4)
    bench.run(extra)
    assert any(re.search(fault, text) for text in chip.finish())


READY = [(0, "precharge", 0, 1 << 10), (30, "refresh", 0, 0), (100, "refresh", 0, 0),
         (170, "mode", 0, 1 << 9 | 2 << 4)]


@pytest.mark.parametrize(("commands", "fault"), [
    ([(200, "activate", 1, 5), (240, "write", 1, 0), (260, "precharge", 1, 0),
      (290, "activate", 1, 6)], None),
    ([(180, "activate", 1, 5)], "activate after refresh or mode: -4 ns"),
    ([(200, "activate", 1, 5), (220, "read", 1, 0)], "tRCD: 20 ns, at least 21"),
    ([(200, "activate", 1, 5), (240, "precharge", 1, 0)], "tRAS: 40 ns, at least 42"),
    ([(200, "activate", 1, 5), (250, "write", 1, 0), (260, "precharge", 1, 0)],
     "tWR: 10 ns, at least 14"),
    ([(200, "activate", 1, 5), (242, "precharge", 1, 0), (262, "activate", 1, 0)],
     "tRP: 20 ns, at least 21"),
    ([(200, "activate", 1, 5), (242, "precharge", 1, 0), (262.5, "activate", 1, 0)],
     "tRC: 62.5 ns, at least 63"),
    ([(200, "activate", 1, 5), (300, "activate", 1, 5)], "activate with an open row"),
    ([(200, "read", 1, 5)], "read without an open row"),
    ([(200, "activate", 1, 5), (300, "read", 2, 5)], "read without an open row"),
    ([(200, "activate", 1, 5), (300, "read", 1, 1 << 10)], "auto precharge"),
    ([(200, "activate", 1, 5), (300, "refresh", 0, 0)], "refresh with an open row"),
    ([(200, "mode", 0, 3 << 4)], "mode 0x30 is not"),
])
def test_the_model_notices_commands(commands, fault):
    chip = SdramChip(power_up=0, flight=0)
    for command in READY + commands:
        chip.command(*command)
    if fault is None:
        assert chip.faults == []
    else:
        assert any(fault in text for text in chip.faults), chip.faults


@pytest.mark.parametrize(("arguments", "sentence"), [
    ((32, 50_000_000), "port_bits must be 64 or 128, not 32"),
    ((64, 67_000_000), "clock of a design with SDRAM must be 10 to 66 MHz, not 67 MHz")])
def test_refusals(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Sdram(*arguments)
