# SPDX-License-Identifier: Apache-2.0
"""Counts by layer: means, totals, table and CSV."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest

from hw.config import HardwareConfig
from hw.layout import Walk
from hw.model import Samples
from quantize.golden import GoldenModel
from sim.benches.models import EVEN, SMALL, measured_model, random_inputs, random_model
from sim.counts import Row, main, table, total, write_csv

ROWS = [Row("a", 0.5, 100, 80, 8, 200, 10, 0.25, 0.072, 100, 10, 0.136),
        Row("b", 0.1, 60, 60, 6, 600, 30, 0.05, 0.054, 50, 0, 0.045)]


def test_total():
    row = total(ROWS, slots=40)
    assert (row.layer, row.acs, row.dense, row.cycles) == ("total", 160, 800, 40)
    assert row.input_density == pytest.approx((0.5 * 200 + 0.1 * 600) / 800)
    assert row.lane_use == pytest.approx(160 / (40 * 40))
    assert (row.executed, row.events) == (140, 14)
    assert row.energy_nj == pytest.approx(0.126) and row.paper_acs == 150
    assert row.paper_macs == 10


def test_table_is_aligned():
    lines = table([*ROWS, total(ROWS, 40)]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].startswith("layer") and lines[-1].startswith("total")
    assert set(lines[1]) == set(lines[-2]) == {"-"}
    shares = [line.split()[3] for line in lines if "%" in line]
    assert shares == ["80.0%", "100.0%", "87.5%"]


def test_csv(tmp_path):
    path = tmp_path / "new" / "counts.csv"
    write_csv(ROWS, path)
    with path.open() as file:
        read = list(csv.DictReader(file))
    assert [row["layer"] for row in read] == ["a", "b"] and float(read[1]["lane_use"]) == 0.05
    assert [each.name for each in path.parent.iterdir()] == ["counts.csv"]


def test_command(tmp_path, capsys):
    model = random_model(SMALL)
    inputs = random_inputs(model, 2)
    model.save(tmp_path / "model", Samples(inputs, np.array([1, 0])))
    path = tmp_path / "counts.csv"
    assert main([str(tmp_path / "model"), "--samples", "2", "--lanes", "8", "--banks", "2",
                 "--gaps", "5", "--csv", str(path)]) == 0
    with path.open() as file:
        rows = {row["layer"]: SimpleNamespace(**row) for row in csv.DictReader(file)}
    golden = GoldenModel(model).run(inputs)
    for index, layer in enumerate(SMALL.layers()):
        acs = sum(image[index].acs for image in golden) / 2
        row = rows[layer.name]
        assert float(row.acs) == acs and float(row.dense) == golden[0][index].dense
        assert float(row.executed) == acs
        assert float(row.lane_use) == pytest.approx(acs / 32 / float(row.cycles))
        assert float(row.energy_nj) == pytest.approx(acs * 0.9e-3)
    assert float(rows["total"].acs) == sum(result.acs for image in golden for result in image) / 2
    text = capsys.readouterr().out
    assert "counts of 2 images, means: 8 lanes x 2 banks" in text
    assert "residual additions" in text and "on-chip memory traffic" in text


@pytest.mark.slow
def test_what_neighbours_share_is_executed_once(tmp_path, capsys):
    """The events that the RTL's lanes took, against the golden count of what is shared."""
    model = measured_model(EVEN, 1.0, 1.0)
    inputs = random_inputs(model, 1)
    model.save(tmp_path / "model", Samples(inputs, np.array([1])))
    path = tmp_path / "counts.csv"
    assert main([str(tmp_path / "model"), "--lanes", "16", "--banks", "2", "--neurons", "4",
                 "--csv", str(path)]) == 0
    with path.open() as file:
        rows = {row["layer"]: SimpleNamespace(**row) for row in csv.DictReader(file)}
    hardware = HardwareConfig.for_model(model, 16, 2, neurons=4)
    golden, seen = GoldenModel(model).run(inputs)[0], set()
    for plan, result in zip(hardware.plan(model).layers, golden, strict=True):
        row, outputs = rows[result.name], plan.layer.out_channels
        shared = result.shared if plan.pairs else 0
        assert float(row.executed) == result.acs - shared, result.name
        assert float(row.energy_nj) == pytest.approx((result.acs - shared) * 0.9e-3)
        if plan.beside:
            # Two positions see most inputs twice, and read their weights once.
            assert result.acs / outputs / 2 < float(row.events) < result.acs / outputs
        elif plan.layer.has_weights:
            assert float(row.events) * outputs == (result.acs - shared) * plan.tiles
        seen.add(plan.walk if shared or plan.beside else None)
    assert seen == {None, Walk.PAIRS, Walk.BESIDE}
    assert float(rows["total"].executed) < float(rows["total"].acs)
    assert "executed/AC" in capsys.readouterr().out


def test_bad_input(tmp_path, capsys):
    path = tmp_path / "counts.csv"
    assert main([str(tmp_path), "--csv", str(path)]) == 2
    assert capsys.readouterr().err.startswith("error: model directory must hold manifest.json")
    assert not path.exists()
