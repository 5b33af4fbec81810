# SPDX-License-Identifier: Apache-2.0
"""The walk over whole files: everything that does not fit, with its name, reason and remedy."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import quantize
from quantize.analyze import analyze_file, main, walk_tensors
from quantize.checkpoint import load_checkpoint
from quantize.nir_export import to_graph
from tests.quantize.test_checkpoint import CONFIG, FORMAT, GIVEN, IMAGENET, OLDER, official, renamed

SHIPPED = Path(quantize.__file__).parent / "checkpoints" / "digits.safetensors"


def whole() -> dict[str, Tensor]:
    return {name: tensor for name, tensor in official().items()
            if not name.endswith("num_batches_tracked")}


@pytest.mark.parametrize("rules", [(), IMAGENET, OLDER, ((r"^", "module."),)],
                         ids=["cifar", "imagenet", "older", "data-parallel"])
def test_safetensors_of_others(tmp_path: Path, rules: tuple) -> None:
    """No metadata, names of the published code: analyzed, then loaded with what is asked for."""
    path = tmp_path / "net.safetensors"
    save_file(renamed(whole(), *rules), path)
    analysis = analyze_file(path)
    assert analysis.supported, "\n".join(analysis.lines())
    assert analysis.facts["depth"] == "2"
    assert any("num_heads" in note and "from_module" in note for note in analysis.notes)
    loaded = load_checkpoint(path, given=GIVEN, input_format=FORMAT)
    assert loaded.config == replace(CONFIG, name="net")
    assert torch.equal(loaded.state_dict["block.1.mlp.mlp2_conv.weight"],
                       whole()["block.1.mlp.mlp2_conv.weight"])


@pytest.mark.parametrize(("name", "why"), [
    ("pos_embed", "adds no constant"),
    ("block.0.attn.q_lif.w", "not learned"),
    ("block.0.attn.q_linear.weight", "Spikformer"),
    ("patch_embed.rpe_norm.weight", "Spikformer"),
    ("norm.weight", "BatchNorm"),
    ("block.1.attn.q_conv.bias", "no bias of its own"),
    ("block.1.extra.weight", "no part of a Spikingformer's block"),
    ("block.9.attn.q_conv.weight", "a block before it is missing"),
    ("dense.weight", "no part of a Spikingformer"),
])
def test_foreign_tensors(name: str, why: str) -> None:
    findings = walk_tensors("net", whole() | {name: torch.ones(3)}).findings
    assert len(findings) == 1
    assert findings[0].layer == (name.rpartition(".")[0] or name)
    assert why in findings[0].why and findings[0].hint


def test_everything_is_listed_at_once() -> None:
    state = whole() | {"pos_embed": torch.ones(3), "norm.weight": torch.ones(3)}
    del state["block.1.attn.k_bn.running_mean"]
    state["block.0.mlp.mlp1_bn.weight"][0] = torch.nan
    state["block.0.attn.v_conv.weight"] = torch.ones(16, 16)
    state["module.head.bias"] = state["head.bias"]
    layers = {entry.layer for entry in walk_tensors("net", state).findings}
    assert layers == {"pos_embed", "norm", "block.1.attn.k_bn", "block.0.mlp.mlp1_bn",
                      "block.0.attn.v_conv", "module.head"}


def test_another_network_altogether() -> None:
    walk = walk_tensors("net", {"fc1.weight": torch.ones(3, 3), "lstm.0.weight": torch.ones(2)})
    assert not walk.shapes
    assert walk.findings[0].layer == ""
    assert {"fc1", "lstm.0"} <= {entry.layer for entry in walk.findings}
    assert walk_tensors("net", {}).findings
    far = {f"block.{10**12}.attn.q_conv.weight": torch.ones(1)}
    assert walk_tensors("net", far).findings


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([str(SHIPPED)]) == 0
    assert "every layer can be mapped" in capsys.readouterr().out
    path = tmp_path / "net.safetensors"
    save_file(whole() | {"pos_embed": torch.ones(3)}, path)
    assert main([str(path)]) == 1
    out = capsys.readouterr().out
    assert "unsupported pos_embed: position embedding" in out
    assert "works: train without it" in out
    assert "1 layer cannot be mapped" in out
    assert main([str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["findings"][0]["layer"] == "pos_embed"
    for wrong in (tmp_path / "none.pth", tmp_path / "none.nir", tmp_path / "net.xyz"):
        assert main([str(wrong)]) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_command_on_a_graph(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    nir = pytest.importorskip("nir")
    nir.write(tmp_path / "net.nir", to_graph(load_checkpoint(SHIPPED)))
    assert main([str(tmp_path / "net.nir")]) == 0
    assert "embed_dim 64, depth 1, num_heads 4, tau 2.0" in capsys.readouterr().out
    assert main([str(tmp_path / "net.nir"), "--dt", "0.002"]) == 1
    assert "tau must be 2 or 1.5" in capsys.readouterr().out
    assert main([str(tmp_path / "net.nir"), "--dt", "-1"]) == 1
    capsys.readouterr()


def test_a_pickled_module_is_refused_in_one_sentence(
        tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pth")
    assert main([str(tmp_path / "net.pth")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "tensors and plain values" in error
