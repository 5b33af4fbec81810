# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""The DDR3 controller against a model of its chip, which is strict about states and times."""

import numpy as np
import pytest

from boards.ddr3 import Ddr3
from boards.ddr3_chip import SIZE, Ddr3Timings
from tests.boards.bursts import expected, read, read_after_reset
from tests.boards.chips import Ddr3Chip
from tests.boards.ddr3 import BASE, NOISE, SHORT, bench_of, filled
from tests.hw.harness import GAPS

every_width = pytest.mark.parametrize("bits", [
    64, pytest.param(128, marks=pytest.mark.slow)])


@pytest.mark.parametrize(("bits", "gaps"), [
    (64, GAPS["both"]), (128, GAPS["continuous"]),
    *(pytest.param(bits, gaps, marks=pytest.mark.slow) for bits in (64, 128)
      for gaps in GAPS.values())])
def test_bursts(bits, gaps):
    """Within a row, to the next ones and banks, the last of the chip; from the middle of a block.
    """
    odd = [(BASE + 8, 1), (BASE + 8, 6), (BASE + 24, 3)] if bits == 64 else []
    bursts = [(BASE, 1), (BASE + 1024, 64), *odd, (BASE + 2048, 3), (BASE + 0x1000, 64),
              (SIZE - 1024, 1024 * 8 // bits), (BASE + 512, 2)]
    chip = filled()
    bench, dut = bench_of(bits, chip)
    got, _, _ = read(bench, dut, bits, bursts, gaps)
    bench.run(extra=2)
    assert chip.finish() == []
    assert got == expected(bits, bursts, chip)


@every_width
def test_what_was_written_is_read(bits):
    """Writes first, then both at once, at other addresses; a write leaves its neighbour alone."""
    rng = np.random.default_rng(1)
    chip = filled()
    words = [(BASE + 8 * n, int.from_bytes(rng.bytes(8), "little"))
             for n in (0, 3, 2, 127, 128, 255, 256, 511, SIZE // 8 - 513, 512, 100)]
    far = [(0x10_0000 + 8 * n, n << 40 | 7) for n in range(20)]
    bursts = [(BASE, 64), (BASE + 1024, 32)]
    bench, dut = bench_of(bits, chip)
    bench.source(dut.writes, [{"address": a, "data": d} for a, d in words + far], 2)
    bench.wait(dut.ready)
    got, _, _ = read(bench, dut, bits, [(16 * n, 1) for n in range(40)] + bursts)
    bench.run(extra=40)
    assert chip.finish() == []
    for address, value in words + far:
        assert [chip.word(address // 2 + k) for k in range(4)] == [
            value >> 16 * k & 0xFFFF for k in range(4)], hex(address)
    assert chip.word(BASE // 2 + 4) == int.from_bytes(NOISE[8:10], "little")
    # By then `words` are written; `far` ones lie elsewhere.
    assert got[40:] == expected(bits, bursts, chip)


def test_writes_while_beats_are_read():
    """To other banks and rows, and back; the data pins have one driver at a time."""
    chip = filled()
    bench, dut = bench_of(64, chip)
    bursts = [(BASE + 512 * n, 64) for n in range(8)]
    writes = [{"address": 0x8000 + 1032 * n, "data": n} for n in range(20)]
    bench.source(dut.writes, writes, 40)
    got, _, _ = read(bench, dut, 64, bursts, (3, 0))
    bench.run(extra=40)
    assert chip.finish() == []
    assert chip.commands.count("write") == 2 + len(writes)   # two of the training
    assert got == expected(64, bursts, chip)
    assert [chip.word(each["address"] // 2) for each in writes] == list(range(20))


@pytest.mark.slow
def test_initialisation_at_its_real_time():
    chip = Ddr3Chip()
    chip.load(BASE, NOISE)
    bench, dut = bench_of(64, chip, max_cycles=60_000)
    got, _, _ = read(bench, dut, 64, [(BASE, 4)])
    bench.run(extra=2)
    assert chip.finish() == []
    assert got == expected(64, [(BASE, 4)], chip)


@pytest.mark.parametrize("moment", [400, 3013, *(
    pytest.param(each, marks=pytest.mark.slow) for each in range(3000, 3012))])
def test_a_reset_keeps_contents_and_rules(moment):
    """In the middle of the initialisation, which begins anew; of bursts and writes."""
    chip = filled()
    seen = read_after_reset(Ddr3(64, 50_000_000, Ddr3Timings(**SHORT)), chip, moment, BASE,
                            (1 << 20, 2990, 3020), max_cycles=8_000)
    assert chip.finish() == []
    assert chip.commands.count("mode") == (8 if 200 < moment < 1000 else 4)
    assert seen == [int.from_bytes(NOISE[n:n + 8], "little") for n in range(0, 512, 8)]


def test_refreshes_come_in_a_long_idle_time_and_under_load():
    chip = filled()
    bench, dut = bench_of(128, chip)
    bursts = [(BASE + 1024 * (n % 8), 64) for n in range(6)]
    got, _, _ = read(bench, dut, 128, bursts)
    bench.run(extra=3000)
    assert chip.finish() == []
    assert chip.refreshes >= (6 * 256 + 3000) // 390
    assert got == expected(128, bursts, chip)


@every_width
def test_latency_and_throughput(bits):
    """As the docstring of Ddr3 says."""
    chip = filled()
    bench, dut = bench_of(bits, chip)
    bench.wait(dut.ready)
    blocks = [(BASE + 1024 * (n % 8), 1024 * 8 // bits) for n in range(8)]
    bursts = [(BASE, 1), (BASE + 16, 1), (1 << 20, 1), *blocks]
    got, asked, came = read(bench, dut, bits, bursts)
    bench.run(extra=2)
    beats, asked = [cycle for cycle, *_ in came], [cycle for cycle, *_ in asked]
    assert got[3:] == expected(bits, blocks, chip)
    assert (beats[1] - asked[1], beats[2] - asked[2]) == (20, 22)
    assert 8 * 1024 / (beats[-1] - beats[2]) > 3.8


@pytest.mark.parametrize("mhz", [75, pytest.param(25, marks=pytest.mark.slow)])
def test_other_clocks(mhz):
    chip = filled()
    bench, dut = bench_of(64, chip, mhz)
    bench.source(dut.writes, [{"address": 1 << 20, "data": 5}, {"address": 3 << 20, "data": 6}])
    bursts = [(BASE, 4), (BASE + 2048, 9)]
    got, _, _ = read(bench, dut, 64, bursts)
    bench.run(extra=500)
    assert chip.finish() == []
    assert got == expected(64, bursts, chip)


@pytest.mark.parametrize(("arguments", "sentence"), [
    ((32, 50_000_000), "port_bits must be 64 or 128, not 32"),
    ((64, 80_000_000), "clock of a design with DDR3 must be 25 to 75 MHz, not 80 MHz")])
def test_refusals(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Ddr3(*arguments)
