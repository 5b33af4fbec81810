# SPDX-License-Identifier: Apache-2.0
import csv
from dataclasses import replace

import pytest

from hw.network import Classifier
from quantize import models, rates

LARGE = models.find("imagenet-8-512").network
SMALL = models.find("cifar10-4-256").network


def log() -> dict[str, float]:
    """Percentages of the file, read without the module under test."""
    with rates.OPERATIONS.open(newline="") as file:
        return {row["layer"]: float(row["percent_nonzero"]) for row in csv.DictReader(file)}


def test_the_measured_network_has_the_measured_rates():
    targets, percent = rates.target_rates(LARGE), log()
    assert list(targets) == [layer.lif for layer in LARGE.layers() if layer.lif]
    assert 100 * targets["patch_embed.block1_lif"] == pytest.approx(13.865)   # written down here:
    assert 100 * targets["block.0.attn.q_lif"] == pytest.approx(17.23)        # not only compared
    names = {"attn.proj_lif": "attn.proj_lif", "attn.q_lif": "attn.q_lif", "attn.k_lif":
             "attn.k_lif", "attn.v_lif": "attn.v_lif", "attn.attn_lif": "attn.attn_lif",
             "mlp.mlp1_lif": "mlp.fc1_lif", "mlp.mlp2_lif": "mlp.fc2_lif"}
    for block in range(8):
        for lif, row in names.items():
            wanted = percent[f"block.{block}.{row}"]
            assert 100 * targets[f"block.{block}.{lif}"] == pytest.approx(wanted), (block, lif)
    for i in range(4):
        wanted = percent[f"patch_embed.proj_lif{i or ''}"]
        assert 100 * targets[f"patch_embed.block{i + 1}_lif"] == pytest.approx(wanted), i


def test_what_is_read_behind_a_pool():
    percent = log()
    names = ("proj_conv1", "proj_conv2", "proj_conv3", "rpe_conv")
    wanted = {f"patch_embed.block{i + 1}_lif": percent[f"patch_embed.{name}"]
              for i, name in enumerate(names)}
    pooled = rates.pooled_rates(LARGE)
    assert {lif: 100 * rate for lif, rate in pooled.items()} == pytest.approx(wanted)
    # A pool is an OR over up to nine neighbours.
    for lif, rate in pooled.items():
        assert rates.target_rates(LARGE)[lif] < rate < 9 * rates.target_rates(LARGE)[lif]
    assert list(rates.pooled_rates(SMALL)) == list(wanted)[2:]
    assert rates.pooled_rates(replace(SMALL, pool_stages=(False,) * 4)) == {}


def test_other_depths_are_interpolated_between_first_and_last_block():
    percent, targets = log(), rates.target_rates(SMALL)
    assert list(targets) == [layer.lif for layer in SMALL.layers() if layer.lif]
    for block, depth in enumerate((0, 7 / 3, 14 / 3, 7)):
        below = min(int(depth), 6)
        first, second = (percent[f"block.{i}.mlp.fc2_lif"] for i in (below, below + 1))
        wanted = first + (second - first) * (depth - below)
        assert 100 * targets[f"block.{block}.mlp.mlp2_lif"] == pytest.approx(wanted), block
    one = rates.target_rates(replace(SMALL, depth=1))
    assert one["block.0.attn.q_lif"] == targets["block.0.attn.q_lif"]


def test_a_spiking_classifier_has_a_rate_of_its_own():
    network = replace(SMALL, classifier=Classifier.SN_FC_AVGPOOL)
    targets = rates.target_rates(network)
    assert list(targets) == [*rates.target_rates(SMALL), "head_lif"]
    assert 100 * targets["head_lif"] == pytest.approx(log()["block.7.mlp.fc1_lif"])


def test_rows_of_the_log():
    rows = rates.measured()
    row = rows["patch_embed.proj_conv1"]
    assert (row.name, row.kind, row.dense) == ("patch_embed.proj_conv1", "Conv2d", 3699376128)
    assert row.acs == pytest.approx(row.dense * row.rate, rel=1e-4)
    assert all(0 < row.rate <= 1 for row in rows.values())
