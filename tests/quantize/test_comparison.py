# SPDX-License-Identifier: Apache-2.0
"""What layers read, and the operations that follow."""

import csv

import pytest
import torch
from torch import nn

from hw.network import Kind, NetworkConfig
from quantize.baseline import random_pair
from quantize.comparison import (
    Meter,
    Row,
    compare,
    observe,
    spikingformer_convolution,
    summary,
    sums,
    table,
    write_csv,
)
from quantize.energy import Operations, dense_operations
from quantize.spikingformer import Spikingformer

SMALL = NetworkConfig(32, 2, 2, 3, 2, 8, 8, 5)

ROWS = [Row("a", 0.25, Operations(1e6), 0.5, 3, False, Operations(2e6), Operations(macs=4e6),
            Operations(1.5e6)),
        Row("b", None, Operations(macs=1e6), None, None, True, Operations(macs=1e6),
            Operations(macs=1e6), Operations(macs=1e6))]


def images():
    return torch.randn(4, 2, 8, 8, generator=torch.Generator().manual_seed(1))


def test_meter_of_integers():
    meter = Meter()
    meter.add(torch.tensor([0.0, 1.0, 1.0, 0.0]))
    assert meter.binary and meter.mean == meter.mean_bits == 0.5
    meter.add(torch.tensor([7.0, 4.0, 0.0, 3.0]))
    assert not meter.binary and meter.largest == 7
    assert meter.mean == 16 / 8 and meter.mean_bits == (2 + 3 + 1 + 0 + 2) / 8


def test_meter_of_real_values():
    meter = Meter()
    meter.add(torch.tensor([-0.5, 1.0]))
    assert not meter.binary and meter.mean == 0.25 and meter.bits == 0


def test_observe_counts_every_image_and_leaves_no_hook():
    model = nn.Sequential(nn.ReLU(), nn.Identity())
    meters = observe(model, torch.tensor([[-1.0, 1.0], [1.0, 1.0]]), True, ["0"], ["0"])
    assert meters["0"].count == 8    # read and given
    assert not model[0]._forward_hooks and not model[0]._forward_pre_hooks


def test_compare():
    x = images()
    ours, theirs = random_pair(SMALL, 0, x)
    rows = {row.layer: row for row in compare(ours, theirs, x)}
    assert list(rows) == [layer.name for layer in SMALL.layers()]
    record = {}
    with torch.no_grad():
        for image in x.split(1):
            each = {}
            ours(image, each)
            for name, entry in each.items():
                record.setdefault(name, []).append(entry)
    for layer in SMALL.layers():
        row = rows[layer.name]
        if layer.kind is Kind.CONV:
            assert row.ours.acs == pytest.approx(row.rate * dense_operations(layer, 3))
            assert row.spikes.acs == pytest.approx(row.mean * dense_operations(layer, 3))
            assert row.bits.acs <= row.spikes.acs
            if row.binary:
                assert row.multiplied == row.spikes == row.bits and row.largest <= 1
            else:
                assert layer.name.endswith((".q", ".k", ".v", ".mlp1"))
                assert row.multiplied == Operations(macs=dense_operations(layer, 3))
                assert row.largest > 1
        elif layer.kind in (Kind.ENCODER, Kind.CLASSIFIER):
            assert row.ours == row.spikes == row.multiplied and row.ours.acs == 0
    mlp2 = torch.cat([entry.spikes for entry in record["block.1.mlp.mlp1"]])
    assert rows["block.1.mlp.mlp2"].rate == pytest.approx(float(mlp2.mean()))
    assert not rows["block.0.attn.q"].binary


def test_every_layer_has_its_convolution():
    model = Spikingformer(SMALL)
    for layer in SMALL.layers():
        if layer.has_weights:
            weight = model.get_submodule(spikingformer_convolution(layer)).weight
            assert weight.shape[:2] == (layer.out_channels, layer.in_channels)


def test_sums_and_summary():
    assert sums(ROWS) == (Operations(1e6, 1e6), Operations(2e6, 1e6), Operations(0, 5e6),
                          Operations(1.5e6, 1e6))
    lines = summary(ROWS)
    assert lines[0] == "1 convolutions of Spikformer read integers, up to 3"
    assert lines[2].endswith(f"saves {1 - 5.5 / 6.4:.1%}")
    assert lines[3].endswith(f"saves {1 - 5.5 / 23:.1%}")


def test_table_is_aligned():
    lines = table(ROWS)
    assert len({len(line) for line in lines}) == 1
    assert lines[1].split() == ["a", "25.00%", "1.000", "0.000", "0.90", "|", "0.5000", "3",
                                "2.000", "0.000", "1.80", "|", "0.000", "4.000", "18.40"]
    assert lines[-1].startswith("total")


def test_csv(tmp_path):
    path = tmp_path / "new" / "rows.csv"
    write_csv(ROWS, path)
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["multiplied_macs"]) == 4e6 and rows[1]["rate"] == ""
    assert [each.name for each in path.parent.iterdir()] == ["rows.csv"]
