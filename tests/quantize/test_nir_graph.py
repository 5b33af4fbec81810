# SPDX-License-Identifier: Apache-2.0
"""NIR graphs in and out, and every node that cannot be mapped told by its name."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quantize.nir_export import to_graph
from quantize.nir_graph import analyze, from_graph, read
from quantize.spikingformer import predict
from tests.quantize.test_nir_export import CONFIG, DT, checkpoint, images

nir = pytest.importorskip("nir")
WHOLE = checkpoint()


def graph() -> Any:
    return copy.deepcopy(to_graph(WHOLE, DT))


def test_there_and_back_through_a_file(tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", graph())
    back = read(tmp_path / "net.nir")
    analysis = analyze(back, "net.nir")
    assert analysis.supported, "\n".join(analysis.lines())
    assert any(">=" in note for note in analysis.notes)
    imported = from_graph(back, WHOLE.input_format)
    assert imported.config == CONFIG
    x = images().flip(-1)
    torch.testing.assert_close(predict(imported.model(), x), predict(WHOLE.model(), x),
                               rtol=1e-4, atol=1e-4)
    assert from_graph(back, WHOLE.input_format, timesteps=7).config.timesteps == 7
    imported.save(tmp_path / "net.safetensors")


def test_other_names_and_a_current_based_neuron() -> None:
    """Structure decides, not names; a CubaLIF whose synapse forgets within a step is a LIF."""
    old = graph()
    name = {key: f"n{i}" for i, key in enumerate(sorted(old.nodes))}
    nodes = {name[key]: node for key, node in old.nodes.items()}
    lif = nodes[name["patch_embed.block2_lif"]]
    nodes[name["patch_embed.block2_lif"]] = nir.CubaLIF(
        tau_syn=np.full_like(lif.tau, DT), tau_mem=lif.tau, r=lif.r, v_leak=lif.v_leak,
        v_threshold=lif.v_threshold, v_reset=lif.v_reset)
    renamed = nir.NIRGraph(nodes, [(name[a], name[b]) for a, b in old.edges])
    assert analyze(renamed, dt=DT).supported
    x = images()
    imported = from_graph(renamed, WHOLE.input_format, dt=DT, timesteps=3)
    torch.testing.assert_close(predict(imported.model(), x), predict(WHOLE.model(), x),
                               rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="timesteps: they must be given"):
        from_graph(renamed, WHOLE.input_format, dt=DT)
    with pytest.raises(ValueError, match="dt must be a positive time, not None"):
        from_graph(renamed, WHOLE.input_format, timesteps=3)


def setting(node: str, **values: Any) -> Callable[[Any], None]:
    def change(graph: Any) -> None:
        for key, factor in values.items():
            setattr(graph.nodes[node], key, getattr(graph.nodes[node], key) * 0 + factor)
    return change


def replaced(node: str, make: Callable[[Any], Any]) -> Callable[[Any], None]:
    def change(graph: Any) -> None:
        graph.nodes[node] = make(graph.nodes[node])
    return change


def without_operator(graph: Any) -> None:
    graph.nodes["block.0.attn"].metadata.clear()


def other_scale(graph: Any) -> None:
    graph.nodes["block.1.attn"].metadata["scale"] = 0.25


def without_k(graph: Any) -> None:
    inner = graph.nodes["block.0.attn"]
    inner.edges.remove(("input", "k_conv"))


def no_addition(graph: Any) -> None:
    graph.edges.remove(("block.0.attn.proj", "block.0.mlp.mlp1_lif"))


def uneven(graph: Any) -> None:
    graph.nodes["block.0.mlp.mlp1_lif"].v_threshold[0] = 2


def integrator(lif: Any) -> Any:
    return nir.IF(r=lif.r, v_threshold=lif.v_threshold)


def wide(conv: Any) -> Any:
    return nir.Conv2d(None, np.zeros((16, 16, 5, 5), np.float32), 1, 2, 1, 1, conv.bias)


def slow_synapse(lif: Any) -> Any:
    return nir.CubaLIF(tau_syn=lif.tau * 2, tau_mem=lif.tau, r=lif.r, v_leak=lif.v_leak,
                       v_threshold=lif.v_threshold)


@pytest.mark.parametrize(("change", "layer", "why"), [
    (setting("block.0.mlp.mlp1_lif", tau=3e-3), "block.0.mlp.mlp1_lif", "tau must be 2 or 1.5"),
    (setting("block.0.mlp.mlp1_lif", tau=1.5e-3), "", "same tau"),
    (setting("block.0.mlp.mlp1_lif", v_reset=-1), "block.0.mlp.mlp1_lif", "resets to 0"),
    (setting("block.0.mlp.mlp1_lif", v_leak=1), "block.0.mlp.mlp1_lif", "v_leak"),
    (setting("block.0.mlp.mlp1_lif", r=2), "block.0.mlp.mlp1_lif", "not divided by tau"),
    (setting("block.0.mlp.mlp1_lif", r=3), "block.0.mlp.mlp1_lif", "r (times w_in) must be 1"),
    (setting("block.0.attn.attn_lif", v_threshold=1), "block.0.attn.attn_lif", "is 0.5"),
    (uneven, "block.0.mlp.mlp1_lif", "same for all"),
    (replaced("block.0.mlp.mlp2_lif", integrator), "block.0.mlp.mlp2_lif", "no such node"),
    (replaced("block.0.mlp.mlp2_lif", slow_synapse), "block.0.mlp.mlp2_lif", "synapse"),
    (replaced("block.0.attn.proj", wide), "block.0.attn.proj", "kernel 3 or 1"),
    (replaced("patch_embed.block2_lif_or", lambda node: nir.Threshold(node.threshold + 1)),
     "patch_embed.block2_lif_or", "one spike suffices"),
    (setting("patch_embed.block2_lif_sum", stride=1), "patch_embed.block2_lif_sum", "stride 2"),
    (without_operator, "block.0.attn", "only by convention"),
    (other_scale, "block.1.attn", "scale"),
    (without_k, "block.0.attn", "must feed k_conv"),
    (no_addition, "patch_embed.block4", "must read it"),
])
def test_every_deviation_is_told(change: Callable[[Any], None], layer: str, why: str) -> None:
    broken = graph()
    change(broken)
    analysis = analyze(broken)
    told = [entry for entry in analysis.findings if entry.layer == layer and why in entry.why]
    assert told and all(entry.hint for entry in analysis.findings), "\n".join(analysis.lines())
    with pytest.raises(ValueError, match=r"^graph cannot be imported: [^\n]*$"):
        from_graph(broken, WHOLE.input_format)


def test_all_deviations_at_once() -> None:
    broken = graph()
    for change in (setting("block.0.mlp.mlp1_lif", tau=3e-3), without_operator, other_scale,
                   replaced("block.1.mlp.mlp2_lif", integrator), uneven):
        change(broken)
    assert {"block.0.mlp.mlp1_lif", "block.0.attn", "block.1.attn", "block.1.mlp.mlp2_lif"} <= {
        entry.layer for entry in analyze(broken).findings}


def test_a_chain_without_attention_maps_as_far_as_it_goes() -> None:
    full = np.ones((4, 8, 8), np.float32)
    chain = nir.NIRGraph.from_list(
        nir.Input({"input": np.array([1, 8, 8])}),
        nir.Conv2d(None, np.ones((4, 1, 3, 3), np.float32), 1, 1, 1, 1, np.zeros(4, np.float32)),
        nir.LIF(tau=full * 2 * DT, r=full, v_leak=full * 0, v_threshold=full))
    findings = analyze(chain, dt=DT).findings
    assert len(findings) == 1
    assert "tokenizer stage 1" in findings[0].why


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"not a graph" * 50])
def test_files_that_are_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.nir"
    with pytest.raises(ValueError, match=r"^NIR graph must be a file"):
        read(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^[^\n]*is not a whole NIR graph: [^\n]+$"):
        read(path)


def test_a_cut_file(tmp_path: Path) -> None:
    nir.write(tmp_path / "net.nir", graph())
    data = (tmp_path / "net.nir").read_bytes()
    (tmp_path / "net.nir").write_bytes(data[:len(data) // 2])
    with pytest.raises(ValueError, match="is not a whole NIR graph"):
        read(tmp_path / "net.nir")
