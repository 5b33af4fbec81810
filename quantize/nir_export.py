# SPDX-License-Identifier: Apache-2.0
"""A network as a NIR graph, for other tools: the convention is that of `quantize.nir_graph`."""

from typing import TYPE_CHECKING

import numpy as np

from hw.network import Layer
from quantize.checkpoint import Checkpoint
from quantize.fuse import fuse
from quantize.nir_graph import OPERATOR
from quantize.spikingformer import SCALE

if TYPE_CHECKING:
    import nir


def to_graph(checkpoint: Checkpoint, dt: float = 1e-3) -> "nir.NIRGraph":
    """A network as a NIR graph; `quantize.nir_graph.from_graph` is the inverse.

    BatchNorm is folded.  dt: seconds of a timestep.  ValueError for a classifier with a neuron.
    """
    import nir

    network = checkpoint.config
    if network.classifier.spiking:
        raise ValueError("the classifier must be without a neuron, "
                         f"not {network.classifier.value!r}")
    fused = fuse(network, checkpoint.state_dict)
    shape = (network.in_channels, network.image_height, network.image_width)
    nodes: dict[str, nir.NIRNode] = {"input": nir.Input({"input": np.array(shape)})}
    edges: list[tuple[str, str]] = []

    def conv(layer: Layer) -> nir.Conv2d:
        part = fused[layer.name]
        return nir.Conv2d(None, part.weight.astype(np.float32), 1, layer.kernel // 2, 1, 1,
                          part.bias.astype(np.float32))

    def lif(layer: Layer) -> nir.LIF:
        full = np.ones((layer.out_channels, layer.height, layer.width), np.float32)
        return nir.LIF(tau=full * network.tau * dt, r=full, v_leak=full * 0,
                       v_threshold=full * layer.v_threshold, v_reset=full * 0)

    def add(name: str, node: nir.NIRNode, *sources: str) -> str:
        nodes[name] = node
        edges.extend((source, name) for source in sources)
        return name

    def fire(layer: Layer, *sources: str) -> str:
        return add(layer.lif, lif(layer), *sources)

    layers = {layer.name: layer for layer in network.layers()}
    last = "input"
    for i in range(5):
        layer = layers[f"patch_embed.block{i}"]
        last = add(layer.name, conv(layer), last)
        if i < 4:
            last = fire(layer, last)
            if layer.pool:
                last = add(f"{layer.lif}_sum", nir.SumPool2d(
                    *(np.array([n, n]) for n in (3, 2, 1))), last)
                size = (layer.out_channels, layer.out_height, layer.out_width)
                last = add(f"{layer.lif}_or", nir.Threshold(np.full(size, 0.5, np.float32)), last)
    stream, source = [last], layers[last]
    for i in range(network.depth):
        attn, mlp = f"block.{i}.attn", f"block.{i}.mlp"
        spikes = fire(source, *stream)
        full = np.array((network.embed_dim, *network.grid))
        inner: dict[str, nir.NIRNode] = {"input": nir.Input({"input": full}),
                                         "output": nir.Output({"output": full})}
        links = []
        for branch in "qkv":
            layer = layers[f"{attn}.{branch}"]
            inner |= {f"{branch}_conv": conv(layer), f"{branch}_lif": lif(layer)}
            links += [("input", f"{branch}_conv"), (f"{branch}_conv", f"{branch}_lif"),
                      (f"{branch}_lif", "output")]
        add(attn, nir.NIRGraph(inner, links, metadata={
            "operator": OPERATOR, "num_heads": network.num_heads, "scale": SCALE}), spikes)
        fired = fire(layers[f"{attn}.ssa"], attn)
        stream.append(add(f"{attn}.proj", conv(layers[f"{attn}.proj"]), fired))
        spikes = fire(layers[f"{attn}.proj"], *stream)
        hidden = add(f"{mlp}.mlp1", conv(layers[f"{mlp}.mlp1"]), spikes)
        fired = fire(layers[f"{mlp}.mlp1"], hidden)
        stream.append(add(f"{mlp}.mlp2", conv(layers[f"{mlp}.mlp2"]), fired))
        source = layers[f"{mlp}.mlp2"]
    pool = add("pool", nir.AvgPool2d(np.array(network.grid), np.array(network.grid),
                                     np.array([0, 0])), *stream)
    flat = add("flatten", nir.Flatten({"input": np.array([network.embed_dim, 1, 1])}, 0, -1), pool)
    head = fused["head"]
    last = add("head", nir.Affine(head.weight[:, :, 0, 0].astype(np.float32),
                                  head.bias.astype(np.float32)), flat)
    add("output", nir.Output({"output": np.array([network.num_classes])}), last)
    return nir.NIRGraph(nodes, edges, metadata={"timesteps": network.timesteps, "dt": dt})
