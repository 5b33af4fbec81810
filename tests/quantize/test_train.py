# SPDX-License-Identifier: Apache-2.0
"""Training: schedule, shifts, the command, and a resumed run that ends like one without a break."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hw.network import NetworkConfig
from quantize import datasets, tensor_file, train
from quantize.checkpoint import load_checkpoint

TINY = NetworkConfig(embed_dim=8, depth=1, num_heads=2, timesteps=2, in_channels=1,
                     image_height=8, image_width=8, num_classes=10,
                     pool_stages=(False, True, True, True))
SETTINGS = train.Settings(epochs=3, batch_size=8, warmup=1, seed=4)
ARGUMENTS = ["--embed-dim", "8", "--heads", "2", "--timesteps", "2", "--pool-stages", "FTTT",
             "--epochs", "2", "--batch-size", "32"]


@pytest.fixture
def tiny_data(monkeypatch: pytest.MonkeyPatch) -> datasets.Dataset:
    """The first 64 training and 20 held-out digits, also for the command."""
    whole = datasets.load("digits")
    data = replace(whole, train_images=whole.train_images[:64],
                   train_labels=whole.train_labels[:64], test_images=whole.test_images[:20],
                   test_labels=whole.test_labels[:20])
    monkeypatch.setattr(datasets, "load", lambda name: data)
    return data


def interrupt_after(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """Make the run stop in the epoch after `epochs`, as Ctrl-C does."""
    run_epoch = train.Trainer.run_epoch

    def stopping(self: train.Trainer) -> float:
        if self.epoch == epochs:
            run_epoch(self)  # work of an epoch that is lost
            raise KeyboardInterrupt
        return run_epoch(self)

    monkeypatch.setattr(train.Trainer, "run_epoch", stopping)


def test_resumed_run_equals_uninterrupted(tiny_data: datasets.Dataset, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    whole, broken = tmp_path / "whole.safetensors", tmp_path / "broken.safetensors"
    result = train.train(tiny_data, TINY, SETTINGS, whole)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        with pytest.raises(KeyboardInterrupt):
            train.train(tiny_data, TINY, SETTINGS, broken)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["broken.safetensors.state",
                                                            "whole.safetensors"]
    torch.manual_seed(99)  # whatever the new process has drawn must not matter
    assert train.train(tiny_data, TINY, SETTINGS, broken, resume=True) == result
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["broken.safetensors",
                                                            "whole.safetensors"]
    one, other = tensor_file.read(whole), tensor_file.read(broken)
    assert one.metadata == other.metadata
    assert set(one.tensors) == set(other.tensors)
    for name, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[name]), name


def test_seed_matters(tiny_data: datasets.Dataset, tmp_path: Path) -> None:
    weights = []
    for seed in (0, 1):
        out = tmp_path / f"{seed}.safetensors"
        train.train(tiny_data, TINY, replace(SETTINGS, epochs=1, seed=seed), out)
        weights.append(tensor_file.read(out).tensors["head.weight"])
    assert not torch.equal(*weights)


def test_epochs_see_every_image_in_another_order(tiny_data: datasets.Dataset,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.arange(64.0)[:, None, None, None].expand(64, 1, 8, 8).contiguous()
    seen: list[float] = []
    monkeypatch.setattr(train, "shifted", lambda part, shift, generator: (
        seen.extend(part[:, 0, 0, 0].tolist()), part)[1])
    trainer = train.Trainer(TINY, SETTINGS, images, torch.from_numpy(tiny_data.train_labels))
    trainer.run_epoch()
    trainer.run_epoch()
    assert sorted(seen[:64]) == sorted(seen[64:]) == list(range(64))
    assert seen[:64] != seen[64:]
    assert seen[:64] != list(range(64))


def test_resume_refuses_another_run(tiny_data: datasets.Dataset, tmp_path: Path) -> None:
    images, labels = (torch.from_numpy(a) for a in (tiny_data.train_images,
                                                    tiny_data.train_labels))
    trainer = train.Trainer(TINY, SETTINGS, images, labels)
    state = tmp_path / "run.state"
    with pytest.raises(ValueError, match=r"^--resume needs the state of an interrupted run, "
                                         r"which '\S+' is not$"):
        trainer.load(state)
    trainer.save(state)
    for other, field in ((train.Trainer(TINY, replace(SETTINGS, seed=5), images, labels),
                          "settings"),
                         (train.Trainer(replace(TINY, depth=2), SETTINGS, images, labels),
                          "network"),
                         (train.Trainer(TINY, SETTINGS, images[1:], labels[1:]), "data")):
        with pytest.raises(ValueError, match=rf"^\S+ must be of a run with the same {field}, "
                                             r"which it is not$"):
            other.load(state)
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"^\S+ is not a whole training state$"):
        trainer.load(state)


def test_learning_rate_schedule() -> None:
    settings = train.Settings(epochs=5, warmup=1, learning_rate=1.0)
    rates = [settings.rate(step, 10) for step in range(50)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[29] == pytest.approx(0.5)
    assert rates[49] == pytest.approx(0.0)
    assert all(rate > 0 for rate in rates[:49])
    half = train.Settings(epochs=1, warmup=0.5, learning_rate=1.0)
    rates = [half.rate(step, 10) for step in range(10)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[9] == pytest.approx(0.0)


def test_shifted() -> None:
    images = torch.arange(1.0, 401).reshape(100, 1, 2, 2)
    generator = torch.Generator().manual_seed(0)
    moved = train.shifted(images, 1, generator)
    seen = set()
    for image, result in zip(images[:, 0], moved[:, 0], strict=True):
        found = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)
                 if torch.equal(result, torch.nn.functional.pad(image, (1,) * 4)
                                [1 + y:3 + y, 1 + x:3 + x])]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) == 9
    assert train.shifted(images, 0, generator) is images


@pytest.mark.parametrize(("change", "message"), [
    ({"epochs": 0}, r"^epochs must be at least 1, not 0$"),
    ({"batch_size": 1}, r"^batch_size must be at least 2, not 1$"),
    ({"warmup": -0.5}, r"^warmup must be a number of at least 0, not -0\.5$"),
    ({"learning_rate": float("nan")}, r"^learning_rate must be a number of at least 0, not nan$"),
    ({"weight_decay": -1.0}, r"^weight_decay must be a number of at least 0, not -1\.0$"),
])
def test_bad_settings(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SETTINGS, **change)


@pytest.mark.usefixtures("tiny_data")
def test_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "folder" / "tiny.safetensors"
    assert train.main([*ARGUMENTS, "--seed", "7", "--classifier", "sn_fc_avgpool",
                       "--out", str(out)]) == 0
    text = capsys.readouterr().out
    loaded = load_checkpoint(out)
    assert f"accuracy {loaded.provenance['accuracy']:.2%} (" in text
    assert "of 20 held-out images" in text
    assert loaded.provenance["seed"] == 7
    assert loaded.provenance["images"] == 20
    assert loaded.provenance["split"]["seed"] == 0
    assert loaded.provenance["command"].startswith("python -m quantize.train --embed-dim 8 ")
    assert loaded.dataset == "digits"
    assert loaded.config == replace(TINY, classifier=loaded.config.classifier, name="digits")
    assert loaded.config.classifier.value == "sn_fc_avgpool"
    assert loaded.input_format == datasets.input_format("digits")
    assert loaded.ignored == []


@pytest.mark.usefixtures("tiny_data")
def test_command_is_interrupted_and_resumed(tmp_path: Path, capsys: pytest.CaptureFixture,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "tiny.safetensors"
    with monkeypatch.context() as patch:
        interrupt_after(patch, 1)
        assert train.main([*ARGUMENTS, "--out", str(out)]) == 130
    assert "--resume continues" in capsys.readouterr().err
    assert not out.exists()
    assert train.main([*ARGUMENTS, "--out", str(out), "--resume"]) == 0
    assert "--resume" not in load_checkpoint(out).provenance["command"]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--tau", "3"], ("error: tau must be 2.0 or 1.5, the values whose integer state is exact, "
                     "not 3.0\n")),
    (["--heads", "5"], "error: num_heads must divide embed_dim 8, not 5\n"),
    (["--epochs", "0"], "error: epochs must be at least 1, not 0\n"),
    (["--batch-size", "65"], "error: batch_size must be at most the 64 training images, not 65\n"),
    (["--dataset", "cifar"], "invalid choice: 'cifar'"),
    (["--pool-stages", "TT"], "pool stages must be four letters T or F, such as FFTT, not 'TT'; "),
    (["--resume"], "error: --resume needs the state of an interrupted run"),
    (["--out", "model.pth"], "error: --out must end in .safetensors, not 'model.pth'\n"),
])
@pytest.mark.usefixtures("tiny_data")
def test_command_errors(tmp_path: Path, arguments: list[str], message: str,
                        capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "x.safetensors"
    assert train.main([*ARGUMENTS, "--out", str(out), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_training_learns() -> None:
    data = datasets.load("digits")
    network = replace(TINY, embed_dim=32, pool_stages=(False, False, True, False))
    settings = train.Settings(epochs=4, batch_size=32, warmup=1, shift=0, learning_rate=6e-3)
    trainer = train.Trainer(network, settings, torch.from_numpy(data.train_images),
                            torch.from_numpy(data.train_labels))
    losses = [trainer.run_epoch() for _ in range(4)]
    assert losses[-1] < 0.6 * losses[0]
    assert train.accuracy(trainer.model, trainer.images, trainer.labels) > 0.6  # chance is 0.1
