# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace

import pytest

from hw.network import Classifier, Kind, NetworkConfig, Output, pooled

CIFAR = NetworkConfig(384, 4, 12, 4, 3, 32, 32, 10, name="4-384")
IMAGENET = NetworkConfig(512, 8, 8, 4, 3, 224, 224, 1000, pool_stages=(True,) * 4)
DVS = NetworkConfig(256, 2, 16, 16, 2, 128, 128, 10, tau=1.5, pool_stages=(True,) * 4,
                    static_input=False)


@pytest.mark.parametrize(("config", "weights", "tokens"), [
    (CIFAR, 9_281_040, 64), (IMAGENET, 29_587_136, 196), (DVS, 2_552_896, 64)])
def test_weights_and_tokens_of_published_networks(config, weights, tokens):
    count = sum(layer.kernel ** 2 * layer.in_channels * layer.out_channels
                for layer in config.layers() if layer.has_weights)
    assert (count, config.tokens) == (weights, tokens)


def test_layers_of_cifar_4_384():
    layers = {layer.name: layer for layer in CIFAR.layers()}
    assert len(layers) == 5 + 4 * 7 + 1
    first, last = layers["patch_embed.block0"], layers["patch_embed.block4"]
    assert (first.kind, first.in_channels, first.out_channels, first.height) == (
        Kind.ENCODER, 3, 48, 32)
    # A pool between LIF and ConvBN of stage i belongs to the output of layer i - 1.
    assert [layers[f"patch_embed.block{i}"].pool for i in range(5)] == [
        False, False, True, True, False]
    assert [layers[f"patch_embed.block{i}"].height for i in range(5)] == [32, 32, 32, 16, 8]
    assert (last.output, last.adds, last.lif) == (Output.RESIDUAL, False, "block.0.attn.proj_lif")
    assert layers["block.0.attn.proj"].lif == "block.0.mlp.mlp1_lif"
    assert layers["block.0.attn.ssa"].v_threshold == 0.5
    assert layers["block.3.mlp.mlp2"].lif == ""
    assert (layers["head"].in_channels, layers["head"].out_channels) == (384, 10)


def test_spiking_head_fires_the_last_residual():
    spiking = replace(CIFAR, classifier=Classifier.SN_FC_AVGPOOL)
    assert spiking.layers()[-2].lif == "head_lif"
    assert Classifier.SN_FC_AVGPOOL.spiking
    assert not Classifier.FC_AVGPOOL.spiking


@pytest.mark.parametrize(("size", "result"), [(1, 1), (2, 1), (3, 2), (8, 4), (9, 5), (224, 112)])
def test_pooled(size, result):
    assert pooled(size) == result


@pytest.mark.parametrize(("change", "sentence"), [
    ({"embed_dim": 0}, r"embed_dim must be a positive integer, not 0"),
    ({"depth": True}, r"depth must be a positive integer, not True"),
    ({"embed_dim": 20}, r"embed_dim must be divisible by 8, not 20"),
    ({"num_heads": 7}, r"num_heads must divide embed_dim 384, not 7"),
    ({"tau": 1.75}, r"tau must be 2\.0 or 1\.5, .*, not 1\.75"),
    ({"mlp_ratio": 1.001}, r"mlp_ratio must be positive and give a whole number .*, not 1\.001"),
    ({"mlp_ratio": 0.0}, r"mlp_ratio must be positive and give .*, not 0\.0"),
    ({"mlp_ratio": float("inf")}, r"mlp_ratio must be positive and give .*, not inf"),
    ({"mlp_ratio": float("nan")}, r"mlp_ratio must be positive and give .*, not nan"),
    ({"pool_stages": (True,)}, r"pool_stages must be four booleans, not \(True,\)"),
    ({"classifier": "fc"}, r"classifier must be a Classifier, not 'fc'"),
])
def test_wrong_field_is_one_sentence(change, sentence):
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        replace(CIFAR, **change)


def test_dictionary_round_trip():
    for config in (CIFAR, IMAGENET, DVS):
        assert NetworkConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(ValueError, match=r"^network configuration has no field 'colour'$"):
        NetworkConfig.from_dict(CIFAR.to_dict() | {"colour": 1})
    incomplete = CIFAR.to_dict()
    del incomplete["depth"]
    with pytest.raises(ValueError, match=r"^network configuration is incomplete: .*depth"):
        NetworkConfig.from_dict(incomplete)
