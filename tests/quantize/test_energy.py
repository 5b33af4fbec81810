# SPDX-License-Identifier: Apache-2.0
"""The authors' released counts of Spikingformer-8-512 on ImageNet, and the paper's Table 1."""

from dataclasses import replace

import pytest

from hw.network import Classifier, Kind
from quantize.energy import (
    LOGGED,
    TABLE_1,
    TABLE_1_ROUNDING,
    Operations,
    attention_operations,
    branch_rates,
    counted,
    dense_operations,
    energy_nj,
    logged_operations,
    logged_rates,
    main,
    multiplied_operations,
    paper_operations,
    total,
)
from quantize.models import find
from quantize.rates import measured

NETWORK = find("imagenet-8-512").network


def six_digits(operations):
    return tuple(f"{value:.6f}" for value in
                 (operations.macs / 1e9, operations.acs / 1e9, operations.energy_mj))


def test_totals_of_the_authors_counts_to_six_digits():
    groups = logged_operations(measured(), branch_rates(), NETWORK)
    assert six_digits(total(groups.values())) == ("0.347330", "6.517541", "7.463503")
    assert six_digits(LOGGED["imagenet-8-512"]) == ("0.347330", "6.517541", "7.463503")
    assert list(groups) == ["encoder", "tokenizer", "q, k, v", "proj", "mlp1", "mlp2", "head",
                            "attention"]
    assert groups["attention"].acs == pytest.approx(27.826e6, rel=1e-4)


def test_totals_from_shapes_and_rates_alone():
    layers = zip(NETWORK.layers(), logged_rates(measured(), branch_rates(), NETWORK), strict=True)
    whole = total(paper_operations(layer, rates, 4, 64) for layer, rates in layers)
    assert six_digits(whole) == ("0.347330", "6.517541", "7.463503")


def test_dense_operations_are_those_of_the_log():
    """Biases of proj, mlp1, mlp2 and head count, padding taps count, q, k and v have no bias."""
    rows = measured()
    dense = {layer.name: dense_operations(layer, 4) for layer in NETWORK.layers()
             if layer.has_weights}
    assert dense["patch_embed.block0"] == rows["patch_embed.proj_conv"].dense
    assert dense["patch_embed.block3"] == rows["patch_embed.proj_conv3"].dense
    for block in range(8):
        for ours, theirs in (("attn.q", "attn.q_conv"), ("attn.proj", "attn.proj_conv"),
                             ("mlp.mlp1", "mlp.fc1_conv"), ("mlp.mlp2", "mlp.fc2_conv")):
            assert dense[f"block.{block}.{ours}"] == rows[f"block.{block}.{theirs}"].dense


def test_names_decide_what_is_counted():
    assert counted("block.0.attn.q_conv") and counted("head") and counted("patch_embed.rpe_conv")
    assert not counted("block.0.attn.q_lif") and not counted("patch_embed.maxpool")


@pytest.mark.parametrize("name", TABLE_1)
def test_table_1(name):
    acs, energy = TABLE_1[name]
    operations = Operations(acs * 1e9, multiplied_operations(find(name).network))
    assert abs(operations.energy_mj - energy) <= TABLE_1_ROUNDING


def test_macs_of_8_768_and_its_log():
    assert multiplied_operations(find("imagenet-8-768").network) == 520_993_768
    assert f"{LOGGED['imagenet-8-768'].energy_mj:.6f}" == "13.658865"


def test_attention_takes_the_sparser_of_k_and_v():
    assert attention_operations(64, 16, 10, 2, (0.5, 0.25, 0.125)).acs == 2 * 10 * 64 * 16 * 0.625
    assert attention_operations(64, 16, 10, 2, (0.5, 0.0, 0.125)).acs == 2 * 10 * 64 * 16 * 0.5


def test_a_classifier_of_spikes_counts_additions():
    head = replace(NETWORK, classifier=Classifier.SN_AVGPOOL_FC).layers()[-1]
    assert head.kind is Kind.CLASSIFIER
    assert paper_operations(head, (), 4, 64) == Operations(macs=513_000)
    assert paper_operations(head, (0.5,), 4, 64) == Operations(acs=4 * 196 * 513_000 / 2)


def test_prices():
    assert energy_nj(1_000_000) == pytest.approx(900)
    assert Operations(1e9, 1e9).energy_mj == pytest.approx(5.5)
    assert Operations(1, 2) + Operations(3, 4) == Operations(4, 6)


def test_command(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert "0.347330 G MAC, 6.517541 G AC, 7.463503 mJ" in text
    assert "13.658865" in text and "differs" not in text
