# SPDX-License-Identifier: Apache-2.0
import json

import pytest
import torch

from hw.network import NetworkConfig
from quantize.models import MODELS, dense_operations, find, main
from quantize.spikingformer import Spikingformer

# name: parameters, with LayerNorm, weights, million operations a timestep: convolutions, attention
# with K^T V first, with Q K^T first.  Counted by running the public code.
COUNTS = {
    "cifar10-4-256": (4_152_106, 4_156_202, 4_126_048, 409.83, 4.19, 8.39),
    "cifar10-2-384": (5_762_746, 5_765_818, 5_742_096, 694.96, 3.15, 6.29),
    "cifar10-4-384": (9_320_122, 9_326_266, 9_281_040, 921.45, 6.29, 12.58),
    "cifar100-4-384": (9_354_772, 9_360_916, 9_315_600, 921.45, 9.44, 12.58),
    "imagenet-8-384": (16_816_024, 16_828_312, 16_739_088, 4660.35, 57.80, 236.03),
    "imagenet-8-512": (29_689_384, 29_705_768, 29_587_136, 8256.16, 102.76, 314.70),
    "imagenet-8-768": (66_338_632, 66_363_208, 66_185_760, 18511.33, 231.21, 472.06),
    "dvs-2-256": (2_566_666, 2_568_714, 2_552_896, 374.34, 1.05, 4.19),
}
BILLIONS = {"cifar10-4-256": 1.656, "cifar10-2-384": 2.792, "cifar10-4-384": 3.711,
            "cifar100-4-384": 3.724, "imagenet-8-384": 18.873, "imagenet-8-512": 33.436,
            "imagenet-8-768": 74.971, "dvs-2-256": 6.006}


def test_the_papers_models_and_no_others() -> None:
    assert list(MODELS) == list(COUNTS)
    for name, model in MODELS.items():
        assert model.name == model.network.name == name


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_of_the_public_code(name: str) -> None:
    model = find(name)
    parameters, with_layer_norm, weights, convolutions, kv, qk = COUNTS[name]
    assert model.parameters == parameters
    assert model.parameters_with_layer_norm == with_layer_norm
    assert model.weights == weights
    network, head = model.network, model.network.embed_dim * model.network.num_classes
    blocks = 2 * network.tokens * network.embed_dim * network.depth
    for first, attention, inner in ((True, kv, network.head_dim), (False, qk, network.tokens)):
        per_timestep = (dense_operations(network, first) - head) / network.timesteps
        assert round(blocks * inner / 1e6, 2) == attention
        assert round((per_timestep - blocks * inner) / 1e6, 2) == convolutions
    assert round(model.operations / 1e9, 3) == BILLIONS[name]


def test_operations_of_cifar_4_256_by_hand() -> None:
    tokenizer = (3 * 32 + 32 * 64 + 64 * 128) * 1024 + 128 * 256 * 256 + 256 * 256 * 64
    blocks = 4 * 64 * (4 * 256 * 256 + 2 * 256 * 1024)
    attention = 4 * 8 * 2 * 64 * 32 * 32
    network = find("cifar10-4-256").network
    assert dense_operations(network) == 4 * (9 * tokenizer + blocks + attention) + 2560
    assert dense_operations(network, False) == 4 * (9 * tokenizer + blocks + 2 * attention) + 2560


@pytest.mark.parametrize("name", [name for name in COUNTS if MODELS[name].paper_millions])
def test_counts_are_the_papers(name: str) -> None:
    """Its figures are rounded or cut to two digits."""
    model = find(name)
    assert abs(model.parameters / 1e6 - model.paper_millions) < 0.01


@pytest.mark.parametrize("name", COUNTS)
def test_counts_are_those_of_the_float_model(name: str) -> None:
    model = find(name)
    with torch.device("meta"):  # shapes without memory
        network = Spikingformer(model.network)
    assert network.num_parameters() == model.parameters
    assert sum(p.numel() for n, p in network.named_parameters()
               if p.dim() > 1) == model.weights


@pytest.mark.parametrize(("name", "heads", "tokens", "grid"), [
    ("cifar10-4-256", 8, 64, (8, 8)), ("cifar10-2-384", 12, 64, (8, 8)),
    ("cifar10-4-384", 12, 64, (8, 8)), ("cifar100-4-384", 8, 64, (8, 8)),
    ("imagenet-8-384", 8, 196, (14, 14)), ("imagenet-8-512", 8, 196, (14, 14)),
    ("imagenet-8-768", 8, 196, (14, 14)), ("dvs-2-256", 16, 64, (8, 8))])
def test_shapes(name: str, heads: int, tokens: int, grid: tuple[int, int]) -> None:
    network = find(name).network
    assert (network.num_heads, network.tokens, network.grid) == (heads, tokens, grid)
    events = name == "dvs-2-256"
    assert (network.timesteps, network.tau) == ((16, 1.5) if events else (4, 2.0))
    assert network.static_input is not events


def test_another_t_changes_operations_and_nothing_else() -> None:
    sixteen, ten = find("dvs-2-256"), find("dvs-2-256", 10)
    assert ten.network.timesteps == 10
    assert ten.parameters == sixteen.parameters
    assert (ten.operations - 2560) * 16 == (sixteen.operations - 2560) * 10
    assert MODELS["dvs-2-256"].network.timesteps == 16


def test_unknown_names_and_wrong_t_are_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"^model must be one of cifar10-4-256, .*dvs-2-256, "
                                         r"not 'cifar10'$"):
        find("cifar10")
    with pytest.raises(ValueError, match=r"^timesteps must be a positive integer, not 0$"):
        find("dvs-2-256", 0)


def test_command_lists_models_and_notes(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == "name"
    for line, (name, model) in zip(lines[1:], MODELS.items()):
        cells = line.split()
        assert cells[0] == name
        assert f"{model.parameters:,}" in cells
        assert f"{BILLIONS[name]:.3f}" == cells[-1]
    assert len({len(line) for line in lines[:9]}) == 1
    assert all(len(line) <= 132 for line in lines)
    assert any(line.startswith("imagenet-8-768") and "assumes 12" in line for line in lines)
    assert any(line.startswith("dvs-2-256") and "list 10 too" in line for line in lines)


def test_command_as_json(capsys: pytest.CaptureFixture) -> None:
    assert main(["dvs-2-256", "--timesteps", "10", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["models"]
    model = find("dvs-2-256", 10)
    assert NetworkConfig.from_dict(entry["network"]) == model.network
    assert entry["dense_operations"] == model.operations
    assert (entry["parameters"], entry["paper_millions"]) == (2_566_666, 2.57)


def test_command_refuses_unknown_names(capsys: pytest.CaptureFixture) -> None:
    assert main(["resnet"]) == 2
    assert "error: model must be one of " in capsys.readouterr().err
