# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning: it learns, ends on the grids of the quantizer, repeats, and refuses bad input."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import quantize
from hw.model import SHIPPED_MODEL, FixedPointModel, Samples
from hw.network import NetworkConfig
from quantize import datasets, unfuse
from quantize.__main__ import main as quantize_main
from quantize.checkpoint import load_checkpoint
from quantize.fake import FakeQuantized
from quantize.finetune import Result, Settings, finetune, integers, main, right
from quantize.golden import GoldenModel
from tests.quantize.test_nir_export import checkpoint

SHIPPED = Path(quantize.__file__).parent / "checkpoints" / "digits.safetensors"


NETWORK = NetworkConfig(embed_dim=16, depth=1, num_heads=2, timesteps=2, in_channels=1,
                        image_height=8, image_width=8, num_classes=10, mlp_ratio=1.0,
                        pool_stages=(False, True, True, False))


@pytest.mark.slow
def test_it_learns_and_repeats() -> None:
    """A network that was never trained: only BatchNorm's statistics are those of images."""
    whole = datasets.load("digits")
    data = replace(whole, train_images=whole.train_images[:480],
                   train_labels=whole.train_labels[:480])
    start = replace(checkpoint(NETWORK), input_format=datasets.input_format("digits"))
    settings = Settings(bits=4, epochs=8, batch_size=16, learning_rate=4e-3, shift=0,
                        refresh=8)
    result = finetune(start, data, settings)
    assert result.before < 60 and result.after > 90, (result.before, result.after)  # of 360
    assert result.losses[1] < 0.9 * result.losses[0]
    tuned = result.checkpoint.state_dict
    assert all(torch.equal(tensor, start.state_dict[name]) for name, tensor in tuned.items()
               if "running" in name)
    short = replace(settings, epochs=1)
    first, again, other = (finetune(start, data, each).checkpoint.state_dict
                           for each in (short, short, replace(short, seed=1)))
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())
    assert not torch.equal(other["head.weight"], again["head.weight"])


def test_the_command_and_the_quantizer_agree(tmp_path: Path,
                                             capsys: pytest.CaptureFixture) -> None:
    """The file makes, by `python -m quantize`, the integers that fine-tuning measured."""
    out = tmp_path / "tuned.safetensors"
    assert main([str(SHIPPED), "--bits", "4", "--out", str(out), "--epochs", "1",
                 "--batch-size", "256"]) == 0
    line = capsys.readouterr().out
    assert "before" in line and "after" in line
    assert quantize_main([str(out), "--bits", "4", "--out", str(tmp_path / "model")]) == 0
    model, tuned = FixedPointModel.load(tmp_path / "model"), load_checkpoint(out)
    data = datasets.load("digits")
    assert tuned.provenance["finetuned"]["settings"]["bits"] == 4
    assert tuned.dataset == "digits"
    count = right(model, data.test_images, data.test_labels).sum()
    assert count == round(tuned.provenance["finetuned"]["accuracy_after"] * 360)
    assert round(model.accuracy["integer"] * 360) == count
    mine = integers(tuned, 4, data.train_images)
    for name, tensors in model.tensors.items():
        assert np.array_equal(tensors.weight, mine.tensors[name].weight), name
        assert np.array_equal(tensors.bias, mine.tensors[name].bias), name
    # And the network that was trained predicts what these integers do.
    samples = Samples.load(tmp_path / "model")
    with torch.no_grad():
        logits = FakeQuantized(tuned, 4, model.residual)(torch.from_numpy(samples.inputs))
    assert np.array_equal((logits / model.logit_scale).round().long().numpy(),
                          GoldenModel(model).logits(samples.inputs))


def test_a_model_directory_and_a_part_of_the_images(tmp_path: Path,
                                                   capsys: pytest.CaptureFixture,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantize.finetune.LOSS_IMAGES", 64)
    out = tmp_path / "tuned.safetensors"
    assert main([str(SHIPPED_MODEL), "--bits", "4", "--out", str(out), "--epochs", "1",
                 "--images", "128", "--samples", "50", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 50
    assert round((found["accuracy_after"] - found["accuracy_before"]) * 50) == \
        found["gained"] - found["lost"]
    tuned = load_checkpoint(out)
    assert tuned.provenance["finetuned"]["settings"]["images"] == 128
    start = unfuse.load(SHIPPED_MODEL).state_dict
    assert not torch.equal(tuned.state_dict["head.weight"], start["head.weight"])


@pytest.mark.parametrize(("gained", "lost", "chance"), [
    (10, 2, 2 * (1 + 12 + 66) / 2 ** 12), (2, 10, 2 * (1 + 12 + 66) / 2 ** 12), (3, 3, 1.0),
    (0, 0, 1.0)])
def test_what_is_by_chance(gained: int, lost: int, chance: float) -> None:
    result = Result(100, 50, 50 + gained - lost, gained, lost, (1.0, 1.0),
                    unfuse.load(SHIPPED_MODEL))
    assert result.chance == pytest.approx(chance)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--images", "63"], "images must be at least 64, not 63"),
    (["--samples", "0"], "argument --samples: must be a positive integer, not '0'"),
    (["--epochs", "0"], "epochs must be at least 1, not 0"),
    (["--lr", "nan"], "learning_rate must be a number of at least 0, not nan"),
    (["--refresh", "0"], "refresh must be at least 1, not 0"),
    (["--batch-size", "100000"], "batch_size must be at most the 1437 training images"),
    (["--residual-width", "1"], "residual"),
])
def test_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture, arguments: list[str],
                   message: str) -> None:
    out = tmp_path / "x.safetensors"
    assert main([str(SHIPPED), "--out", str(out), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_bad_names(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(SHIPPED), "--out", str(tmp_path / "x.pth")]) == 2
    assert "--out must end in .safetensors" in capsys.readouterr().err
    assert main([str(tmp_path / "none.safetensors"), "--out", str(tmp_path / "x.safetensors")]) == 2
    assert "must be a file" in capsys.readouterr().err
    data = datasets.load("digits")
    with pytest.raises(ValueError, match=r"must have images of shape \(1, 8, 8\) and 10 classes"):
        finetune(load_checkpoint(SHIPPED), replace(data, num_classes=9), Settings())
    with pytest.raises(ValueError, match="bits must be one of"):
        Settings(bits=5)
