# SPDX-License-Identifier: Apache-2.0
"""Options for foreign checkpoints, from the command line to a loaded network."""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hw.model import InputFormat
from hw.network import Classifier, NetworkConfig
from quantize.datasets import input_format
from quantize.load import event_format, image_format
from quantize.models import NORMALIZATION, find
from quantize.options import (
    add_checkpoint_options,
    load_from_options,
    parse_image_size,
    parse_pool_stages,
)
from quantize.spikingformer import Spikingformer

ARGUMENTS = ["--heads", "2", "--tau", "1.5", "--timesteps", "3", "--image-size", "8x16",
             "--pool-stages", "FTFT"]


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_checkpoint_options(parser)
    return parser.parse_args(arguments)


def foreign(path: Path, in_channels: int) -> NetworkConfig:
    config = NetworkConfig(embed_dim=8, depth=1, num_heads=2, timesteps=3, in_channels=in_channels,
                           image_height=8, image_width=16, num_classes=2, tau=1.5,
                           pool_stages=(False, True, False, True),
                           classifier=Classifier.SN_AVGPOOL_FC, static_input=in_channels != 2,
                           name="model")
    torch.save({"state_dict": Spikingformer(config).state_dict()}, path)
    return config


def test_image_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.pth.tar"
    config = foreign(path, 3)
    loaded = load_from_options(path, options(
        *ARGUMENTS, "--classifier", "sn_avgpool_fc", "--mean", "0.5", "0.4", "0.3",
        "--std", "0.2", "0.2", "0.1", "--input-bits", "6"))
    assert loaded.config == config
    assert loaded.input_format.mean == (0.5, 0.4, 0.3)
    assert loaded.input_format.bits == 6


def test_event_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    config = foreign(path, 2)
    loaded = load_from_options(path, options(*ARGUMENTS, "--classifier", "sn_avgpool_fc",
                                             "--input", "events", "--input-bits", "5"))
    assert loaded.config == config
    assert loaded.input_format == InputFormat(5, False, 1.0, (0.0, 0.0), (1.0, 1.0))


def test_named_network_gives_everything(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    network = find("cifar10-2-384").network
    with torch.device("meta"):
        state = Spikingformer(network).state_dict()
    # One stored element per tensor.
    state = {name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
             for name, tensor in state.items()}
    torch.save({"state_dict": state}, path)
    loaded = load_from_options(path, options("--network", "cifar10-2-384"))
    assert loaded.config == network
    assert loaded.input_format == image_format(*NORMALIZATION["CIFAR10"])
    loaded = load_from_options(path, options("--network", "cifar10-2-384", "--heads", "8",
                                             "--input-bits", "6"))
    assert loaded.config == replace(network, num_heads=8)
    assert loaded.input_format == image_format(*NORMALIZATION["CIFAR10"], bits=6)
    with pytest.raises(ValueError, match=r"^depth of \S+ must be 2, as its tensors have, not 4, as "
                                         r"the caller gives$"):
        load_from_options(path, options("--network", "cifar10-4-384"))
    with pytest.raises(ValueError, match=r"^model must be one of .*, not 'cifar'$"):
        load_from_options(path, options("--network", "cifar"))


def test_named_network_of_events(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    network = replace(find("dvs-2-256", 10).network, num_classes=11)
    with torch.device("meta"):
        state = Spikingformer(network).state_dict()
    state = {name: torch.zeros((), dtype=tensor.dtype).expand(tensor.shape)
             for name, tensor in state.items()}
    torch.save({"model": state}, path)
    loaded = load_from_options(path, options("--network", "dvs-2-256", "--timesteps", "10"))
    assert loaded.config == network
    assert loaded.input_format == event_format(2)
    with pytest.raises(ValueError, match=r"^--mean and --std belong to images, not to events"):
        load_from_options(path, options("--network", "dvs-2-256", "--mean", "0", "0"))


@pytest.mark.parametrize(("arguments", "message"), [
    (["--mean", "0.5"], r"^--mean and --std must be given together$"),
    (["--input-bits", "5"], r"the mean and std of its input"),
    (["--input", "events", "--mean", "0.5"],
     r"^--mean and --std belong to images, not to events, which are counts$"),
    (["--mean", "0", "--std", "1"],
     r"^input mean and std must have 3 entries, not 1 and 1$"),
    (["--ema"], r"^\S+ must hold 'state_dict_ema', not state_dict$"),
    (["--heads", "3"], r"^num_heads must divide embed_dim 8, not 3$"),
])
def test_wrong_combinations(tmp_path: Path, arguments: list[str], message: str) -> None:
    path = tmp_path / "model.pth"
    foreign(path, 3)
    with pytest.raises(ValueError, match=message):
        load_from_options(path, options(*ARGUMENTS, *arguments))


@pytest.mark.parametrize(("arguments", "message"), [
    (["--pool-stages", "FFT"], "pool stages must be four letters T or F, such as FFTT, not 'FFT'"),
    (["--pool-stages", "FFT1"], "four letters T or F, such as FFTT, not 'FFT1'"),
    (["--image-size", "8x8x8"], "image size must be HEIGHTxWIDTH or one number, not '8x8x8'"),
    (["--image-size", "-8"], "image size must be HEIGHTxWIDTH or one number, not '-8'"),
])
def test_malformed_options(arguments: list[str], message: str,
                           capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        options(*arguments)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_parsers() -> None:
    assert parse_pool_stages("fftT") == (False, False, True, True)
    assert parse_image_size("224") == (224, 224)
    assert parse_image_size("128x96") == (128, 96)


@pytest.mark.parametrize(("mean", "std", "bits"), [
    ((0.0,), (1.0,), 8), ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616), 8),
    ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), 6)])
def test_image_format_saturates_nothing_and_uses_the_range(
        mean: tuple[float, ...], std: tuple[float, ...], bits: int) -> None:
    fmt = image_format(mean, std, bits)
    images = np.stack([np.zeros((len(mean), 1, 1)), np.ones((len(mean), 1, 1))])
    exact = (images - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    assert np.abs(fmt.quantize(images) * fmt.scale - exact).max() <= fmt.scale / 2 + 1e-9
    assert np.abs(fmt.quantize(images)).max() == fmt.maximum


def test_image_format_of_mnist() -> None:
    assert image_format((0.0,), (1.0,)) == input_format("mnist5k")
    assert image_format((0.0,), (1.0,), 8, 0.5).scale == 0.5


@pytest.mark.parametrize(("mean", "std", "message"), [
    ((0.5, 0.5), (1.0,), r"^std must have as many entries as mean, 2, not 1$"),
    ((0.5,), (0.0,), r"^std must be positive, not 0\.0$"),
])
def test_image_format_errors(mean: tuple[float, ...], std: tuple[float, ...],
                             message: str) -> None:
    with pytest.raises(ValueError, match=message):
        image_format(mean, std)


def test_event_format() -> None:
    fmt = event_format(2, 4)
    assert fmt.quantize(np.array([0, 3, 15, 16]).reshape(2, 1, 2)).ravel().tolist() == \
        [0, 3, 15, 15]
