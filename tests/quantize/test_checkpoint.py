# SPDX-License-Identifier: Apache-2.0
"""The importer: every naming of the published code, every error, and the shipped checkpoint."""

import argparse
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import quantize
from hw.model import InputFormat
from hw.network import NetworkConfig
from quantize import datasets, tensor_file
from quantize.checkpoint import canonical_name, inspect, load_checkpoint, main
from quantize.spikingformer import Spikingformer, predict

SHIPPED = Path(quantize.__file__).parent / "checkpoints" / "digits.safetensors"
CONFIG = NetworkConfig(embed_dim=16, depth=2, num_heads=2, timesteps=2, in_channels=3,
                       image_height=8, image_width=8, num_classes=7, mlp_ratio=2.0)
GIVEN = {"num_heads": 2, "tau": 2.0, "timesteps": 2, "image_height": 8, "image_width": 8,
         "pool_stages": (False, False, True, True)}
FORMAT = InputFormat(bits=8, signed=True, scale=2**-5, mean=(0.5,) * 3, std=(0.25,) * 3)


def official(config: NetworkConfig = CONFIG) -> dict[str, Tensor]:
    """State dict as the published code writes it, LayerNorm and batch counters included."""
    torch.manual_seed(0)
    state = {name: torch.rand_like(tensor.float()).to(tensor.dtype) + 1
             for name, tensor in Spikingformer(config).state_dict().items()}
    for i in range(config.depth):
        for norm in ("norm1", "norm2"):
            state[f"block.{i}.{norm}.weight"] = torch.ones(config.embed_dim)
            state[f"block.{i}.{norm}.bias"] = torch.zeros(config.embed_dim)
    return state


def renamed(state: dict[str, Tensor], *rules: tuple[str, str]) -> dict[str, Tensor]:
    result = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        result[name] = tensor
    return result


IMAGENET = ((r"block0_(conv|bn)", r"proj_\1"),
            (r"^(patch_embed)\.block([1-4])_(conv|bn)", r"\1.proj\2_\3"))
OLDER = ((r"block0_(conv|bn)", r"proj_\1"), (r"block4_(conv|bn)", r"rpe_\1"),
         (r"^(patch_embed)\.block([1-3])_(conv|bn)", r"\1.proj_\3\2"),
         (r"mlp\.mlp([12])_", r"mlp.fc\1_"))


def save(path: Path, state: dict[str, Tensor], metadata: dict | None = None) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path, metadata={tensor_file.METADATA: json.dumps(metadata)}
                  if metadata is not None else None)
    else:
        torch.save({"state_dict": state, "args": argparse.Namespace(lr=1.0)}, path)
    return path


def own_metadata(config: NetworkConfig = CONFIG) -> dict:
    return {"network": config.to_dict(), "input": asdict(FORMAT), "dataset": "digits", "seed": 5}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(("rules", "names", "notes"), [
    pytest.param((), "CIFAR", 0, id="cifar"),
    pytest.param(IMAGENET, "ImageNet, DVS or CML", 1, id="imagenet"),
    pytest.param(OLDER, "older aliases", 1, id="older"),
    pytest.param(((r"^", "module."),), "CIFAR", 0, id="module-prefix"),
])
def test_names(tmp_path: Path, suffix: str, rules: tuple, names: str, notes: int) -> None:
    state = official()
    path = save(tmp_path / f"model{suffix}", renamed(state, *rules))
    loaded = load_checkpoint(path, given=GIVEN, input_format=FORMAT)
    assert replace(loaded.config, name="") == CONFIG
    assert loaded.input_format == FORMAT
    assert loaded.dataset is None
    assert len(loaded.notes) == notes
    assert inspect(path).names == names
    ignored = {name for name in state if "norm1" in name or "norm2" in name
               or name.endswith("num_batches_tracked")}
    assert {name.removeprefix("module.") for name in renamed(dict.fromkeys(ignored), *rules)} == \
        {name.removeprefix("module.") for name in loaded.ignored}
    assert set(loaded.state_dict) == set(state) - ignored
    for name, tensor in loaded.state_dict.items():
        assert torch.equal(tensor, state[name]), name
    model = loaded.model()
    assert not model.training
    assert torch.equal(model.block[1].mlp.mlp2_bn.running_var,
                       state["block.1.mlp.mlp2_bn.running_var"])


@pytest.mark.parametrize(("name", "canonical"), [
    ("patch_embed.proj_conv.weight", "patch_embed.block0_conv.weight"),
    ("patch_embed.proj_bn.running_mean", "patch_embed.block0_bn.running_mean"),
    ("patch_embed.proj4_bn.bias", "patch_embed.block4_bn.bias"),
    ("patch_embed.proj_conv3.weight", "patch_embed.block3_conv.weight"),
    ("patch_embed.proj_bn1.running_var", "patch_embed.block1_bn.running_var"),
    ("patch_embed.proj_bn1.num_batches_tracked", None),
    ("patch_embed.rpe_conv.weight", "patch_embed.block4_conv.weight"),
    ("module.block.3.mlp.fc2_bn.bias", "block.3.mlp.mlp2_bn.bias"),
    ("block.3.attn.proj_conv.bias", "block.3.attn.proj_conv.bias"),
    ("block.3.norm1.weight", None),
    ("norm1.weight", "norm1.weight"),
    ("block.0.norm3.weight", "block.0.norm3.weight"),
    ("patch_embed.proj5_conv.weight", "patch_embed.proj5_conv.weight"),
])
def test_canonical_name(name: str, canonical: str | None) -> None:
    assert canonical_name(name) == canonical


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    state = {name: tensor.half() if tensor.is_floating_point() else tensor
             for name, tensor in official().items()}
    loaded = load_checkpoint(save(tmp_path / "m.pth", state), given=GIVEN, input_format=FORMAT)
    assert {tensor.dtype for tensor in loaded.state_dict.values()} == {torch.float32}


def drop(state: dict[str, Tensor], name: str) -> None:
    del state[name]


def put(state: dict[str, Tensor], name: str, value: Tensor) -> None:
    state[name] = value


def spoil(state: dict[str, Tensor], name: str, value: float) -> None:
    state[name] = state[name].clone()
    state[name].view(-1)[-1] = value


K = "block.1.attn.k_conv.weight"


@pytest.mark.parametrize(("change", "arguments", "message"), [
    (drop, (K,), rf"^\S+ lacks tensor '{K}'$"),
    (drop, ("head.bias",), r"^\S+ lacks tensor 'head\.bias'$"),
    (drop, ("head.weight",), r"^\S+ lacks tensor 'head\.weight'$"),
    (drop, ("patch_embed.block2_bn.running_var",),
     r"^\S+ lacks tensor 'patch_embed\.block2_bn\.running_var'$"),
    (put, ("block.0.attn.q_conv.bias", torch.zeros(16)),
     (r"^tensor 'block\.0\.attn\.q_conv\.bias' of \S+ is no part of a Spikingformer "
     r"with 2 blocks$")),
    (put, ("block.3.attn.q_conv.weight", torch.zeros(16, 16, 1)),
     (r"^tensor 'block\.3\.attn\.q_conv\.weight' of \S+ is no part of a Spikingformer "
     r"with 2 blocks$")),
    (put, ("patch_embed.proj3_conv.weight", torch.zeros(16, 8, 3, 3)),
     (r"^\S+ must hold tensor 'patch_embed\.block3_conv\.weight' once, not as "
     r"'patch_embed\.block3_conv\.weight' and as 'patch_embed\.proj3_conv\.weight'$")),
    (put, (K, torch.zeros(16, 16)),
     rf"^tensor '{K}' of \S+ must have shape \(16, 16, 1\), not \(16, 16\)$"),
    (put, ("patch_embed.block3_conv.weight", torch.zeros(16, 8, 1, 1)),
     (r"^tensor 'patch_embed\.block3_conv\.weight' of \S+ must have shape \(16, 8, 3, 3\), "
     r"not \(16, 8, 1, 1\)$")),
    (put, ("head.weight", torch.zeros(16)),
     r"^tensor 'head\.weight' of \S+ must have 2 dimensions of at least 1, not shape \(16,\)$"),
    (put, ("patch_embed.block4_conv.weight", torch.zeros(12, 12, 3, 3)),
     (r"^the tensors of \S+ are not those of a Spikingformer: embed_dim must be divisible by 8, "
     r"not 12$")),
    (put, (K, torch.zeros(16, 16, 1, dtype=torch.int8)),
     rf"^tensor '{K}' of \S+ must be dense floating point, not torch\.int8$"),
    (spoil, (K, float("nan")), rf"^tensor '{K}' of \S+ must be finite, but holds NaN$"),
    (spoil, ("head.bias", float("-inf")),
     r"^tensor 'head\.bias' of \S+ must be finite, but holds infinity$"),
    (put, ("head.bias", torch.full((7,), 1e300, dtype=torch.float64)),
     r"^tensor 'head\.bias' of \S+ must be finite, but holds infinity$"),
    (spoil, ("patch_embed.block0_bn.running_var", -1.0),
     r"^tensor 'patch_embed\.block0_bn\.running_var' of \S+ must not be negative, not -1\.0$"),
])
def test_every_wrong_tensor_is_named(tmp_path: Path, change: object, arguments: tuple,
                                     message: str) -> None:
    state = official()
    change(state, *arguments)
    path = save(tmp_path / "model.safetensors", state)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path, given=GIVEN, input_format=FORMAT)


@pytest.mark.parametrize("missing", sorted(GIVEN))
def test_what_cannot_be_read_is_asked_for(tmp_path: Path, missing: str) -> None:
    path = save(tmp_path / "model.pth", official())
    given = GIVEN | {missing: None}
    with pytest.raises(ValueError, match=rf"^\S+ does not tell {missing}: it must be given$"):
        load_checkpoint(path, given=given, input_format=FORMAT)


def test_everything_missing_is_named_at_once(tmp_path: Path) -> None:
    path = save(tmp_path / "model.pth", official())
    with pytest.raises(ValueError, match=r"^\S+ does not tell num_heads, tau, timesteps, "
                                         r"image_height, image_width, pool_stages: they must be "
                                         r"given$"):
        load_checkpoint(path)
    with pytest.raises(ValueError, match=r"^\S+ does not tell the mean and std of its input: "
                                         r"they must be given$"):
        load_checkpoint(path, given=GIVEN)


def test_two_channels_may_be_events(tmp_path: Path) -> None:
    config = replace(CONFIG, in_channels=2, static_input=False)
    path = save(tmp_path / "model.pth", official(config))
    fmt = InputFormat(8, False, 1.0, (0.0, 0.0), (1.0, 1.0))
    with pytest.raises(ValueError, match=r"^\S+ does not tell static_input: it must be given$"):
        load_checkpoint(path, given=GIVEN, input_format=fmt)
    loaded = load_checkpoint(path, given=GIVEN | {"static_input": False}, input_format=fmt)
    assert not loaded.config.static_input


@pytest.mark.parametrize(("given", "message"), [
    ({"num_heads": 3}, r"^num_heads must divide embed_dim 16, not 3$"),
    ({"num_heads": 0}, r"^num_heads must be a positive integer, not 0$"),
    ({"tau": 1.75}, (r"^tau must be 2\.0 or 1\.5, the values whose integer state is exact, "
                    r"not 1\.75$")),
    ({"depth": 3}, r"^depth of \S+ must be 2, as its tensors have, not 3, as the caller gives$"),
    ({"hats": 3}, r"^network configuration has no field 'hats'$"),
])
def test_given_facts_are_checked(tmp_path: Path, given: dict, message: str) -> None:
    path = save(tmp_path / "model.pth", official())
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path, given=GIVEN | given, input_format=FORMAT)


def test_whole_configuration(tmp_path: Path) -> None:
    path = save(tmp_path / "model.pth", official())
    named = replace(CONFIG, name="mine", tau=1.5)
    assert load_checkpoint(path, named, input_format=FORMAT).config == named
    with pytest.raises(ValueError, match=r"^embed_dim of \S+ must be 16, as its tensors have, "
                                         r"not 32, as the caller gives$"):
        load_checkpoint(path, replace(CONFIG, embed_dim=32), input_format=FORMAT)
    with pytest.raises(ValueError, match=r"^input mean and std must have 3 entries, "
                                         r"not 1 and 1$"):
        load_checkpoint(path, CONFIG, input_format=replace(FORMAT, mean=(0.0,), std=(1.0,)))


def test_own_metadata(tmp_path: Path) -> None:
    path = save(tmp_path / "model.safetensors", official(), own_metadata())
    loaded = load_checkpoint(path)
    assert loaded.config == CONFIG
    assert loaded.input_format == FORMAT
    assert loaded.dataset == "digits"
    assert loaded.provenance["seed"] == 5
    assert loaded.provenance["checkpoint"] == "model.safetensors"
    assert len(loaded.provenance["sha256"]) == 64
    assert load_checkpoint(path, given=GIVEN, input_format=FORMAT).config == CONFIG
    for name, value in (("num_heads", 4), ("tau", 1.5), ("timesteps", 4)):
        with pytest.raises(ValueError, match=rf"^{name} of \S+ must be {GIVEN[name]}, as its "
                                             rf"metadata says, not {value}, as the caller gives$"):
            load_checkpoint(path, given={name: value})
    with pytest.raises(ValueError, match=r"^input format of \S+ must be that of its metadata"):
        load_checkpoint(path, input_format=replace(FORMAT, bits=6))


@pytest.mark.parametrize(("metadata", "message"), [
    (own_metadata(replace(CONFIG, depth=3)),
     r"^depth of \S+ must be 2, as its tensors have, not 3, as its metadata says$"),
    (own_metadata() | {"network": {"embed_dim": 16}}, r"^metadata of \S+ is wrong: network "),
    (own_metadata() | {"network": [1]}, r"^metadata of \S+ is wrong: "),
    (own_metadata() | {"input": {"bits": 8}}, r"^metadata of \S+ has a wrong input format: "),
])
def test_wrong_metadata(tmp_path: Path, metadata: dict, message: str) -> None:
    path = save(tmp_path / "model.safetensors", official(), metadata)
    with pytest.raises(ValueError, match=message):
        load_checkpoint(path)


def test_command_prints_what_a_file_is(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = save(tmp_path / "model.pth", renamed(official(), *OLDER))
    assert main([str(path)]) == 0
    text = capsys.readouterr().out
    count = Spikingformer(CONFIG).num_parameters()
    assert f"parameters  {count:,}\n" in text
    assert "embed_dim 16, depth 2, in_channels 3, num_classes 7, mlp_ratio 2" in text
    assert "            block.1.norm2.bias\n" in text
    assert "to be given num_heads, tau" in text
    assert "note        Spikformer has these names too" in text
    assert main([str(SHIPPED)]) == 0
    text = capsys.readouterr().out
    assert "num_heads 4, tau 2.0" in text
    assert "command     python -m quantize.train --out" in text


def test_command_line_errors(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(SHIPPED.read_bytes()[:-1000])
    for arguments, message in (([str(path)], "is not a whole safetensors file: "),
                               (["none.pth"], "checkpoint must be a file, not 'none.pth'\n")):
        assert main(arguments) == 2
        output = capsys.readouterr()
        assert message in output.err
        assert output.out == ""


def test_shipped_checkpoint_reaches_its_accuracy() -> None:
    assert SHIPPED.stat().st_size < 2_000_000
    shipped = load_checkpoint(SHIPPED)
    assert shipped.ignored == []
    assert shipped.dataset == "digits"
    data = datasets.load(shipped.dataset, shipped.provenance["split"]["seed"])
    x = torch.from_numpy(datasets.normalize(data.test_images, shipped.input_format))
    right = int((predict(shipped.model(), x).argmax(1).numpy() == data.test_labels).sum())
    assert right >= 0.97 * len(x)
    # Float sums differ in their last bits from machine to machine, so one image may flip.
    assert abs(right - shipped.provenance["accuracy"] * len(x)) <= 1
    assert len(x) == shipped.provenance["images"] == 360


def test_shipped_checkpoint_is_alive() -> None:
    """A network whose neurons are silent would make every comparison downstream worthless."""
    shipped = load_checkpoint(SHIPPED)
    data = datasets.load("digits")
    record = {}
    with torch.no_grad():
        shipped.model()(torch.from_numpy(data.test_images[:64]), record)
    for layer in shipped.config.layers():
        if layer.lif:
            rate = record[layer.name].spikes.mean().item()
            assert 0.005 < rate < 0.5, (layer.name, rate)
    assert all(np.isfinite(t.numpy()).all() for t in load_file(SHIPPED).values())
