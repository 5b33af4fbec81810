# amaranth: UnusedElaboratable=no
# SPDX-License-Identifier: Apache-2.0
"""The flash controller against a model of its chip, which is strict about modes and times."""

import numpy as np
import pytest

from boards.flash import WAKE_CLOCKS, Flash
from tests.boards.chips import FLASH_SIZE as SIZE
from tests.boards.chips import FlashChip
from tests.hw.harness import Bench, every_gap

NOISE = np.random.default_rng(0).bytes(9000)
# (address, beats); the second goes on where the first ends.
BURSTS = [(0, 1), (8 * 16, 64), (72 * 16, 8), (72 * 16, 1), (0x1230 // 16 * 16, 3), (SIZE - 32, 2),
          (0, 2)]


def run(bits, bursts, chip, mhz=50, gaps=(0, 0), max_cycles=60_000):
    bench = Bench(dut := Flash(bits, round(mhz * 1e6)), max_cycles=max_cycles)
    chip.serve(bench, dut.pins, 1000 / mhz)
    bench.source(dut.axi.ar, [{"addr": address, "len": beats - 1, "burst": 1,
                               "size": 3 + bits // 128}
                              for address, beats in bursts], gaps[0])
    got = bench.sink(dut.axi.r, sum(beats for _, beats in bursts), gaps[1] * 20)
    asked = bench.record(dut.axi.ar.valid & dut.axi.ar.ready)
    came = bench.record(dut.axi.r.valid & dut.axi.r.ready)
    bench.run(extra=2)
    return got, [cycle for cycle, *_ in asked], [cycle for cycle, *_ in came]


def expected(bits, bursts, chip):
    size = bits // 8
    return [{"data": int.from_bytes(bytes(chip.byte(address + n * size + k) for k in range(size)),
                                    "little"),
             "resp": 0, "last": int(n == beats - 1)}
            for address, beats in bursts for n in range(beats)]


@pytest.mark.parametrize("bits", [64, 128])
@every_gap
def test_bursts(bits, gaps):
    chip = FlashChip(NOISE, configuration=2)
    got, _, _ = run(bits, BURSTS, chip, gaps=gaps)
    assert chip.faults == []
    assert got == expected(bits, BURSTS, chip)
    # Reads go on where addresses do, over the end of the chip too.
    size = bits // 8
    new, end = [], None
    for address, beats in BURSTS:
        if address != end:
            new.append(address)
        end = (address + beats * size) % SIZE
    assert chip.reads == new
    assert chip.commands == [0x05, 0x35] + [0x6B] * len(new)


def test_clocks_that_select_nothing():
    """STARTUPE2 keeps three from the chip."""
    bench = Bench(dut := Flash(64, 50_000_000), max_cycles=60_000)
    FlashChip(NOISE, configuration=2).serve(bench, dut.pins, 20)
    bench.source(dut.axi.ar, [{"addr": 0, "len": 0, "burst": 1, "size": 3}])
    bench.sink(dut.axi.r, 1)
    alone = bench.record(dut.pins.sck & ~dut.pins.cs)
    selected = bench.record(dut.pins.cs)
    bench.run(extra=2)
    assert len(alone) == WAKE_CLOCKS > 3 and alone[-1][0] < selected[0][0]


def test_the_quad_bit_is_set_once_and_all_else_kept():
    chip = FlashChip(NOISE, configuration=0x20, status=0x9C)
    got, _, _ = run(64, BURSTS[:2], chip)
    assert (chip.faults, chip.configuration, chip.status) == ([], 0x22, 0x9C)
    assert got == expected(64, BURSTS[:2], chip)
    assert chip.commands[:5] == [0x05, 0x35, 0x05, 0x06, 0x01] and chip.commands.count(0x01) == 1
    assert chip.commands.count(0x05) > 3   # it waited for the chip
    again = FlashChip(NOISE, chip.configuration)
    run(64, BURSTS[:1], again)
    assert again.commands == [0x05, 0x35, 0x6B]


@pytest.mark.parametrize("bits", [64, 128])
def test_latency_and_throughput(bits):
    """81 cycles and a beat to the first one; then a byte in 4 cycles, over bursts too."""
    bursts = [(0, 64), (64 * bits // 8, 64)]
    _, asked, came = run(bits, bursts, FlashChip(NOISE, configuration=2))
    beat = bits // 2
    assert came[0] - asked[0] == 81 + beat
    assert {after - before for before, after in zip(came[:64], came[1:64])} == {beat}
    assert came[64] - came[63] <= beat + 2


@pytest.mark.parametrize("mhz", [25, 100, 160])
def test_other_clocks(mhz):
    chip = FlashChip(NOISE)
    got, _, _ = run(64, BURSTS[:3], chip, mhz)
    assert chip.faults == []
    assert got == expected(64, BURSTS[:3], chip)


def test_the_model_notices_a_clock_that_is_too_fast():
    chip = FlashChip(NOISE, configuration=2)
    bench = Bench(dut := Flash(64, 50_000_000), max_cycles=2000)
    chip.serve(bench, dut.pins, 1000 / 200)
    bench.source(dut.axi.ar, [{"addr": 0, "len": 0}])
    bench.sink(dut.axi.r, 1)
    bench.run()
    assert "the clock must have 12.5 ns, not 10" in chip.faults


@pytest.mark.parametrize(("arguments", "sentence"), [
    ((32, 50_000_000), "port_bits must be 64 or 128, not 32"),
    ((64, 161_000_000), "clock of a design with flash must be at most 160 MHz, not 161 MHz")])
def test_refusals(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Flash(*arguments)
