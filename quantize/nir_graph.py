# SPDX-License-Identifier: Apache-2.0
"""Spikingformers in the Neuromorphic Intermediate Representation (package nir).

NIR says tokenizer, MLP and classifier in nodes of its own:

* a convolution with folded BatchNorm: Conv2d (1x1 in blocks);
* the residual stream: nodes with several inputs, which NIR adds;
* a neuron: LIF, or a CubaLIF whose synapse forgets within a timestep.  h = v + dt / tau (v_leak - v
  + r x), so tau / dt must be 2 or 1.5, r 1 and v_leak 0.  NIR is in seconds: dt has to be given;
* a max-pool on spikes: SumPool2d (3, 2, 1), then Threshold below 1;
* the classifier: AvgPool2d over all tokens, Flatten, Affine; the mean over T is the reader's.

NIR has no node for attention, a product of signals, and no graph of several inputs.  Convention
here: a nested graph with metadata `operator` "spiking_self_attention", `num_heads` and `scale`,
in which Input feeds three pairs Conv2d and LIF named q_conv, q_lif, k_conv, ..., and these LIFs
feed Output.  It stands for scale * Q K^T V; other readers of NIR would add q, k and v.  T is
metadata `timesteps` of the outer graph, `dt` can be too.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from hw.command import first_line
from hw.model import InputFormat
from hw.network import Classifier, Kind, NetworkConfig
from quantize import hdf5
from quantize.checkpoint import Checkpoint
from quantize.findings import Analysis
from quantize.fuse import BN_EPSILON
from quantize.neurons import Neuron, check
from quantize.spikingformer import ATTENTION_V_THRESHOLD, SCALE, Spikingformer

if TYPE_CHECKING:
    import nir

OPERATOR = "spiking_self_attention"
_TYPES = ("Input", "Output", "Conv2d", "LIF", "CubaLIF", "SumPool2d", "Threshold", "AvgPool2d",
          "Flatten", "Affine", "Linear", "NIRGraph")
_HINTS = {
    "IF": "a LIF with tau = 2 dt, trained as such",
    "LI": "a LIF; the mean over timesteps is taken behind the classifier without a neuron",
    "CubaLI": "a LIF; the mean over timesteps is taken behind the classifier without a neuron",
    "I": "a LIF; the mean over timesteps is taken behind the classifier without a neuron",
    "Conv1d": "a Conv2d with kernel 1x1 on [D, H, W]",
    "Scale": "fold the factor into the weights before it",
    "Delay": "train without delays",
}


def read(path: Path | str) -> "nir.NIRGraph":
    """A graph from a file; ValueError, one sentence, for anything that is none.

    ImportError if the package nir is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"NIR graph must be a file, not {str(path)!r}")
    try:
        import nir
    except ImportError:
        raise ImportError("NIR graphs need the package nir: pip install nir") from None
    try:
        # As nir.read does, but for what reads the file.
        node = hdf5.read(path).get("node")
        if not isinstance(node, dict):
            raise ValueError("it must have a group 'node'")
        graph = nir.dict2NIRNode({"type_check": True} | node)
    except Exception as error:  # nir lets through whatever a wrong file makes it raise
        raise ValueError(f"{path} is not a whole NIR graph: {first_line(error)}") from None
    if not isinstance(graph, nir.NIRGraph):
        raise ValueError(f"{path} must hold a NIR graph, not {type(graph).__name__}")
    return graph


def analyze(graph: "nir.NIRGraph", source: str = "graph", dt: float | None = None) -> Analysis:
    """Walk a whole graph and list what cannot be mapped.

    dt: seconds of a timestep; default: metadata `dt` of the graph
    """
    return _Reader(graph, source, dt).analysis


def from_graph(graph: "nir.NIRGraph", input_format: InputFormat, *, dt: float | None = None,
               timesteps: int | None = None, static_input: bool = True,
               name: str = "") -> Checkpoint:
    """The checkpoint of a graph.

    input_format: how the host makes the integers of the encoder
    dt:           seconds of a timestep; default: metadata `dt`
    timesteps:    T; default: metadata `timesteps`
    static_input: an image, seen T times, or event counts

    ValueError, one sentence, for the first node that cannot be mapped, as `analyze` lists them all,
    and for a missing T.
    """
    reader = _Reader(graph, "graph", dt)
    reader.analysis.require()
    steps = timesteps if timesteps is not None else _plain(graph.metadata.get("timesteps"))
    if steps is None:
        raise ValueError("the graph does not tell its timesteps: they must be given")
    network = NetworkConfig(**reader.sizes, timesteps=steps, static_input=static_input, name=name)
    with torch.device("meta"):
        shapes = Spikingformer(network).state_dict()
    state: dict[str, Tensor] = {}
    for key, tensor in shapes.items():
        layer, part = re.fullmatch(r"(.*?)_?((?:conv|bn)\.\w+|)", key).groups()
        if key.startswith("head."):
            state[key] = torch.as_tensor(getattr(reader.nodes["head"], key[5:], np.zeros(
                tuple(tensor.shape)))).float()
        elif part == "conv.weight":
            state[key] = torch.as_tensor(reader.nodes[layer].weight).float().reshape(tensor.shape)
        elif part == "bn.bias":
            state[key] = torch.as_tensor(reader.nodes[layer].bias).float()
        elif part in ("conv.bias", "bn.running_mean"):
            state[key] = torch.zeros(tensor.shape)
        elif part == "bn.weight":
            state[key] = torch.ones(tensor.shape)
        elif part == "bn.running_var":   # with eps the variance 1: BatchNorm adds the bias alone
            state[key] = torch.full(tensor.shape, 1 - BN_EPSILON)
    for key, tensor in state.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{key} of the graph must be finite")
    return Checkpoint(network, state, input_format, None, [], {"imported": "NIR graph"},
                      reader.analysis.notes)


@dataclass
class _Reader:
    """Walks a graph; `nodes` by the names of our layers, once `analysis` has no finding."""

    graph: Any
    source: str
    dt: float | None
    analysis: Analysis = field(init=False)
    nodes: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, Any] = field(default_factory=dict)
    taus: set[float] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.analysis = Analysis(self.source, f"NIR graph of {len(self.graph.nodes)} nodes")
        if self.dt is None:
            self.dt = _plain(self.graph.metadata.get("dt"))
        if self.dt is None or not self.dt > 0:
            self.analysis.add("", "timestep", f"dt must be a positive time, not {self.dt!r}: NIR's "
                              "time constants are in seconds",
                              "give dt (--dt), seconds of a timestep of the training")
            self.dt = None
        self._check_nodes(self.graph, "")
        if any(isinstance(_kind(node), str) and _kind(node) in ("LIF", "CubaLIF")
               for node in self.graph.nodes.values()):
            self.analysis.notes.append(
                "NIR's neurons fire at v > v_threshold in continuous time; the hardware, as "
                "SpikingJelly, at h >= v_threshold, so they differ where h meets it exactly")
        if len(self.taus) > 1:
            self.analysis.add("", "neurons", "all neurons must have the same tau / dt, not "
                              f"{sorted(self.taus)}", "train with one tau")
        try:
            self._walk()
        except _Mismatch as mismatch:
            self.analysis.add(*mismatch.args)

    def _check_nodes(self, graph: Any, prefix: str) -> None:
        for name, node in graph.nodes.items():
            kind, full = _kind(node), prefix + name
            if kind not in _TYPES:
                self.analysis.add(full, kind, "the hardware has no such node", _HINTS.get(
                    kind, "train a Spikingformer: Conv2d, LIF, pools on spikes, Affine"))
            elif kind == "NIRGraph":
                self._check_attention(full, node)
                self._check_nodes(node, f"{full}.")
            elif kind in ("LIF", "CubaLIF"):
                self._check_neuron(full, name, node, graph)
            elif kind == "Conv2d":
                size = node.weight.shape[-1]
                if node.weight.ndim != 4 or node.weight.shape[2:] != (size, size) \
                        or size not in (1, 3) or _numbers(node.stride) != {1} \
                        or not (_numbers(node.padding) == {size // 2} or (
                            isinstance(node.padding, str) and node.padding == "same")) \
                        or _numbers(node.dilation) != {1} or _numbers(node.groups) != {1}:
                    self.analysis.add(full, f"Conv2d {node.weight.shape}", "a convolution must "
                                      "have kernel 3 or 1, stride 1, padding that keeps the size, "
                                      "dilation 1 and one group", "train with such a convolution")

    def _check_attention(self, full: str, node: Any) -> None:
        if _plain(node.metadata.get("operator")) != OPERATOR:
            self.analysis.add(full, "NIRGraph", "NIR cannot say attention, a product of signals; a "
                              "nested graph is read as one only by convention",
                              f"give it metadata operator {OPERATOR!r}, num_heads and scale, and "
                              "inside Input, q_conv, q_lif, k_conv, k_lif, v_conv, v_lif, Output")
        elif _plain(node.metadata.get("scale")) != SCALE:
            self.analysis.add(full, "attention", f"its scale must be {SCALE}, not "
                              f"{_plain(node.metadata.get('scale'))!r}", "train with that scale")

    def _check_neuron(self, full: str, name: str, node: Any, graph: Any) -> None:
        kind = _kind(node)
        tau = node.tau if kind == "LIF" else node.tau_mem
        values = {"tau": tau, "r": node.r, "v_leak": node.v_leak, "v_reset": node.v_reset,
                  "v_threshold": node.v_threshold}
        if kind == "CubaLIF":
            values |= {"tau_syn": node.tau_syn, "w_in": node.w_in}
        for field_name, value in values.items():
            if np.ptp(value) > 1e-6 * np.abs(value).max():
                self.analysis.add(full, kind, f"{field_name} must be the same for all its neurons",
                                  "train with one value for the layer")
                return
        plain = {key: float(np.mean(value, dtype=np.float64)) for key, value in values.items()}
        if plain["v_leak"]:
            self.analysis.add(full, kind, f"v_leak must be 0, not {plain['v_leak']:g}",
                              "add v_leak to the bias of the convolution before it, if that "
                              "feeds nothing else")
        if self.dt is None:
            return
        ratio = round(plain["tau"] / self.dt, 5)
        self.taus.add(ratio)
        gain = plain["r"] * plain.get("w_in", 1.0)
        if kind == "CubaLIF" and abs(plain["tau_syn"] / self.dt - 1) > 1e-5:
            self.analysis.add(full, kind, "its synapse must forget within a timestep, tau_syn = "
                              f"dt, not {plain['tau_syn'] / self.dt:g} dt", "train with LIF")
        full_input = abs(gain - ratio) < 1e-5 and ratio != 1
        if abs(gain - 1) > 1e-5 and not full_input:
            self.analysis.add(full, kind, f"r (times w_in) must be 1, not {gain:g}",
                              "multiply weight and bias of the convolution before it by r")
        behind = [_kind(graph.nodes[a]) for a, b in graph.edges if b == name]
        threshold = ATTENTION_V_THRESHOLD if behind == ["NIRGraph"] else 1.0
        self.analysis.findings += check(full, Neuron(
            kind, ratio, round(plain["v_threshold"], 6), plain["v_reset"], not full_input),
            threshold)

    # The structure.  `_one` and `_next` raise _Mismatch with the finding.

    def _after(self, sources: set[str]) -> list[str]:
        """Nodes that read the sum of exactly these."""
        readers: dict[str, set[str]] = {}
        for a, b in self.graph.edges:
            readers.setdefault(b, set()).add(a)
        return [name for name, read in readers.items() if read == sources]

    def _next(self, sources: set[str], kinds: tuple[str, ...], what: str) -> str:
        found = self._after(sources)
        if len(found) != 1 or _kind(self.graph.nodes[found[0]]) not in kinds:
            told = ", ".join(f"{name} ({_kind(self.graph.nodes[name])})" for name in found)
            raise _Mismatch(" + ".join(sorted(sources)), "order",
                            f"one {' or '.join(kinds)} must read it ({what}), not "
                            f"{told or 'none'}",
                            "a graph as quantize.nir_export.to_graph writes it")
        return found[0]

    def _walk(self) -> None:
        graph = self.graph
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise _Mismatch("", "ends", "there must be one Input and one Output", "such a graph")
        last, pools = next(iter(graph.inputs)), []
        shape = tuple(int(n) for n in graph.nodes[last].output_type["output"])
        if len(shape) != 3:
            raise _Mismatch(last, "Input", f"it must have the shape [C, H, W], not {shape!r}",
                            "a graph without time and batch in its shapes")
        for i in range(5):
            if i:
                last = self._next({last}, ("LIF", "CubaLIF"), f"neuron of tokenizer stage {i}")
                after = self._next({last}, ("Conv2d", "SumPool2d"), f"tokenizer stage {i}")
                pools.append(_kind(graph.nodes[after]) == "SumPool2d")
                if pools[-1]:
                    self._check_pool(after, graph.nodes[after])
                    last = self._next({after}, ("Threshold",), "the OR of a max-pool on spikes")
                    level = np.asarray(graph.nodes[last].threshold)
                    if not ((level >= 0) & (level < 1)).all():
                        raise _Mismatch(last, "Threshold", "behind SumPool2d it must be at least 0 "
                                        "and below 1, so that one spike suffices", "0.5")
            last = self._keep(f"patch_embed.block{i}", self._next(
                {last}, ("Conv2d",), f"convolution of tokenizer stage {i}"), 3)
        stream, depth, heads = {last}, 0, set()
        while True:
            after = self._next(stream, ("LIF", "CubaLIF", "AvgPool2d"), "the residual stream")
            if _kind(graph.nodes[after]) == "AvgPool2d":
                break
            attn, mlp = f"block.{depth}.attn", f"block.{depth}.mlp"
            inner = self._next({after}, ("NIRGraph",), "attention")
            heads.add(_plain(graph.nodes[inner].metadata.get("num_heads")))
            self._branches(attn, inner, graph.nodes[inner])
            fired = self._next({inner}, ("LIF", "CubaLIF"), "the neuron behind attention")
            stream = stream | {self._keep(f"{attn}.proj", self._next(
                {fired}, ("Conv2d",), "projection of attention"), 1)}
            after = self._next(stream, ("LIF", "CubaLIF"), "the neuron before the MLP")
            after = self._keep(f"{mlp}.mlp1", self._next({after}, ("Conv2d",), "MLP"), 1)
            after = self._next({after}, ("LIF", "CubaLIF"), "the neuron within the MLP")
            after = self._keep(f"{mlp}.mlp2", self._next({after}, ("Conv2d",), "MLP"), 1)
            stream = stream | {after}
            depth += 1
        self._head(after)
        if not self.analysis.supported:
            return
        self._sizes(shape, depth, heads, pools)

    def _keep(self, layer: str, name: str, size: int) -> str:
        node = self.graph.nodes[name]
        if node.weight.shape[-1] != size:
            raise _Mismatch(name, f"Conv2d {node.weight.shape}", f"kernel must be {size} here",
                            "train with such a convolution")
        self.nodes[layer] = node
        return name

    def _check_pool(self, name: str, node: Any) -> None:
        if [_numbers(node.kernel_size), _numbers(node.stride), _numbers(node.padding)] != [
                {3}, {2}, {1}]:
            raise _Mismatch(name, "SumPool2d", "a pool must have kernel 3, stride 2, padding 1",
                            "train with such a pool")

    def _branches(self, attn: str, name: str, inner: Any) -> None:
        for branch in "qkv":
            conv, lif = f"{branch}_conv", f"{branch}_lif"
            ends = ([key for key, node in inner.nodes.items() if _kind(node) == kind]
                    for kind in ("Input", "Output"))
            links = {(a, b) for first in next(ends) for last in next(ends)
                     for a, b in ((first, conv), (conv, lif), (lif, last))}
            if conv not in inner.nodes or lif not in inner.nodes \
                    or not links <= {tuple(edge) for edge in inner.edges}:
                raise _Mismatch(name, "attention", f"Input must feed {conv}, it {lif}, and that "
                                "Output", "a graph as quantize.nir_export.to_graph writes it")
            self.nodes[f"{attn}.{branch}"] = inner.nodes[conv]

    def _head(self, pool: str) -> None:
        flat = self._next({pool}, ("Flatten",), "the mean over tokens")
        head = self._next({flat}, ("Affine", "Linear"), "the classifier")
        self._next({head}, ("Output",), "the logits")
        self.nodes["head"] = self.graph.nodes[head]

    def _sizes(self, shape: tuple[int, ...], depth: int, heads: set[Any],
               pools: list[bool]) -> None:
        if len(heads) != 1:
            raise _Mismatch("", "heads", "each attention must have the same num_heads, not "
                            f"{sorted(map(str, heads))}", "metadata num_heads")
        dim = self.nodes["patch_embed.block4"].weight.shape[0]
        self.sizes = {
            "embed_dim": dim, "depth": depth, "num_heads": heads.pop(), "in_channels": shape[0],
            "image_height": shape[1], "image_width": shape[2], "tau": next(iter(self.taus)),
            "num_classes": self.nodes["head"].weight.shape[0], "pool_stages": tuple(pools),
            "mlp_ratio": self.nodes["block.0.mlp.mlp1"].weight.shape[0] / dim,
            "classifier": Classifier.AVGPOOL_FC}
        try:
            network = NetworkConfig(**self.sizes, timesteps=1)
        except ValueError as error:
            raise _Mismatch("", "sizes", str(error), "train a Spikingformer of such a size") \
                from None
        for layer in network.layers():
            if layer.kind is Kind.ATTENTION:
                continue
            wanted = (layer.out_channels, layer.in_channels) + (
                () if layer.name == "head" else (layer.kernel, layer.kernel))
            if self.nodes[layer.name].weight.shape != wanted:
                raise _Mismatch(layer.name, "weight", f"it must have shape {wanted}, not "
                                f"{self.nodes[layer.name].weight.shape}", "such a layer")
        self.analysis.facts["network"] = ", ".join(
            f"{key} {self.sizes[key]}" for key in ("embed_dim", "depth", "num_heads", "tau"))


class _Mismatch(Exception):  # noqa: N818, no error: it carries a finding out of the walk
    """Arguments of `Analysis.add`."""


def _kind(node: Any) -> str:
    return type(node).__name__


def _numbers(value: Any) -> set[Any]:
    return {value} if isinstance(value, str) else {int(n) for n in np.ravel(value)}


def _plain(value: Any) -> Any:
    """A value of metadata as Python has it: files make arrays and bytes of numbers and texts."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value
