# SPDX-License-Identifier: Apache-2.0
"""The authors' released log of Spikingformer-8-512 on ImageNet, in percent, and their totals."""

import pytest

from hw.network import Kind, NetworkConfig
from quantize.energy import PJ_PER_AC, PJ_PER_MAC, energy_nj, paper_operations

NETWORK = NetworkConfig(512, 8, 8, 4, 3, 224, 224, 1000, pool_stages=(True,) * 4)
TOKENIZER = (25.831, 15.336, 13.107, 12.956)
# By block: q/k/v input, proj input, mlp1 input, mlp2 input.
BLOCKS = ((17.66, 29.78, 26.768, 3.289), (33.795, 30.958, 33.019, 2.965),
          (34.222, 31.419, 34.73, 2.56), (34.426, 29.089, 34.661, 1.929),
          (34.327, 20.989, 36.039, 1.421), (35.929, 16.569, 35.95, 0.953),
          (34.229, 10.683, 32.27, 0.569), (31.767, 9.477, 29.923, 1.377))
# Rates of q, k, v themselves.
BRANCHES = ((17.23, 3.63, 6.96), (11.63, 4.03, 7.17), (10.67, 4.44, 7.53), (8.19, 5.00, 7.69),
            (6.37, 4.33, 7.05), (7.71, 3.11, 7.32), (7.02, 2.42, 7.35), (9.73, 2.81, 7.96))


def rates_of(layer):
    if layer.kind is Kind.CLASSIFIER or layer.kind is Kind.ENCODER:
        return ()
    if layer.name.startswith("patch_embed"):
        return (TOKENIZER[int(layer.name[-1]) - 1] / 100,)
    block, part = int(layer.name.split(".")[1]), layer.name.rpartition(".")[2]
    if part == "ssa":
        return tuple(rate / 100 for rate in BRANCHES[block])
    return (BLOCKS[block][{"proj": 1, "mlp1": 2, "mlp2": 3}.get(part, 0)] / 100,)


def test_totals_of_the_authors_log():
    counts = [paper_operations(layer, rates_of(layer), NETWORK.timesteps, NETWORK.head_dim)
              for layer in NETWORK.layers()]
    acs, macs = (sum(column) for column in zip(*counts))
    # Their dense counts include the bias of proj, mlp1, mlp2 (0.2 % of those layers).
    assert acs == pytest.approx(6.517541e9, rel=1e-3)
    assert macs == pytest.approx(0.347330e9, rel=1e-5)
    assert (acs * PJ_PER_AC + macs * PJ_PER_MAC) / 1e9 == pytest.approx(7.463503, rel=1e-3)


def test_single_layers_of_the_authors_log():
    layers = {layer.name: layer for layer in NETWORK.layers()}

    def acs(name):
        return paper_operations(layers[name], rates_of(layers[name]), 4, 64)[0]
    assert acs("patch_embed.block1") == pytest.approx(955_595_335, rel=1e-4)
    assert acs("patch_embed.block4") == pytest.approx(239_640_650, rel=1e-4)
    assert acs("block.1.attn.q") == pytest.approx(69_456_408, rel=1e-4)
    assert acs("block.7.mlp.mlp1") == pytest.approx(246_475_020, rel=3e-3)


def test_an_addition_costs_0_9_pj():
    assert energy_nj(1_000_000) == pytest.approx(900)
