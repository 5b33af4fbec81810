# SPDX-License-Identifier: Apache-2.0
"""Spikingformers built of SpikingJelly's neurons, given as Python objects.

`from_module(module, inputs)` makes a `Checkpoint` of one, `analyze_module` says beforehand what
cannot be mapped.  Both packages work: `activation_based`, and `clock_driven` with which the
published networks were trained.  Names must be those of the published code.

Nothing is assumed about neurons or order.  Each neuron is driven with test currents and must fire
as the hardware's does.  The module is run, and the layers must follow one another as in a
Spikingformer: pools behind neurons, for example, or else it is a Spikingformer-CML.  At last every
spike and the logits are compared with those of this project's network on the same inputs.

The work is done on a copy, on the CPU, in eval mode; the module itself is not changed.
"""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from hw.command import first_line
from hw.model import InputFormat
from hw.network import Classifier, NetworkConfig
from quantize.analyze import walk_tensors
from quantize.checkpoint import Checkpoint, canonical_name
from quantize.findings import Analysis
from quantize.fuse import BN_EPSILON
from quantize.neurons import Neuron, check, probe
from quantize.spikingformer import ATTENTION_V_THRESHOLD, Spikingformer

NEURONS = ("LIFNode", "MultiStepLIFNode")
# Float sums in another order may move a spike that is decided by the last bit.
SPIKE_TOLERANCE = 1e-3
LOGIT_TOLERANCE = 1e-4
# Layers that change nothing in eval mode.
_IDLE = ("Dropout", "Dropout1d", "Dropout2d", "MultiStepDropout", "MultiStepDropout2d", "DropPath",
         "Identity", "AlphaDropout")


@dataclass
class _Walk:
    """What is known of a module after it was looked at and run."""

    analysis: Analysis
    network: NetworkConfig | None = None
    state: dict[str, Tensor] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)


def analyze_module(module: nn.Module, inputs: Tensor, *, num_heads: int | None = None) -> Analysis:
    """Walk a whole module and list what cannot be mapped; see `from_module` for the arguments.

    ValueError only for arguments that are no module and no batch of inputs.
    """
    return _walk(module, inputs, num_heads).analysis


def from_module(module: nn.Module, inputs: Tensor, input_format: InputFormat, *,
                num_heads: int | None = None, name: str = "") -> Checkpoint:
    """The checkpoint of a module.

    inputs:       a few inputs as `module(inputs)` takes them, normalized: [B, C, H, W] of images,
                  or [B, T, C, H, W] of event counts.  Real ones, so that neurons fire.
    input_format: how the host makes the integers of the encoder (`quantize.load.image_format`,
                  `event_format`)
    num_heads:    where the attention has no attribute `num_heads`
    name:         of the network

    Timesteps, tau, sizes and pooling stages are measured.  ValueError, one sentence with the first
    layer that cannot be mapped, as `analyze_module` lists them all.
    """
    walk = _walk(module, inputs, num_heads)
    walk.analysis.require()
    network = walk.network
    for part in ("mean", "std"):
        if len(getattr(input_format, part)) != network.in_channels:
            raise ValueError(f"{part} of the input must have {network.in_channels} entries, "
                             f"not {len(getattr(input_format, part))}")
    network = NetworkConfig(**{f.name: getattr(network, f.name) for f in fields(network)}
                            | {"name": name})
    provenance = {"imported": f"{type(module).__module__}.{type(module).__qualname__}",
                  "compared": walk.analysis.facts["compared"]}
    return Checkpoint(network, walk.state, input_format, None, walk.ignored, provenance,
                      walk.analysis.notes)


def neuron_class(module: nn.Module) -> str:
    """Name of SpikingJelly's neuron class that a module is or derives from; "" if of none."""
    return next((kind.__name__ for kind in type(module).__mro__
                 if kind.__module__.startswith("spikingjelly.")
                 and kind.__module__.endswith(".neuron")), "")


def layer_name(name: str) -> str:
    """Canonical name of a layer: "patch_embed.block1_lif" of "patch_embed.proj1_lif"."""
    tail = re.search(r"_lif(?=\d?$)", name)
    if not tail:
        return (canonical_name(name + ".weight") or name).removesuffix(".weight")
    as_conv = name[:tail.start()] + "_conv" + name[tail.end():]
    return layer_name(as_conv).removesuffix("_conv") + "_lif"


def _walk(module: nn.Module, inputs: Tensor, num_heads: int | None) -> _Walk:
    if not isinstance(module, nn.Module):
        raise ValueError(f"a network must be a torch.nn.Module, not {type(module).__name__}")
    if not isinstance(inputs, Tensor) or inputs.dim() not in (4, 5) or not inputs.numel():
        raise ValueError("inputs must be a tensor [B, C, H, W] or [B, T, C, H, W], not "
                         f"{tuple(inputs.shape) if isinstance(inputs, Tensor) else inputs!r}")
    analysis = Analysis(type(module).__name__, "SpikingJelly module")
    walk = _Walk(analysis)
    try:
        copied = copy.deepcopy(module).cpu().float().eval()
    except RuntimeError:
        analysis.add("", "state", "its neurons hold the state of a training step",
                     "call functional.reset_net(module) first")
        return walk
    for part in copied.modules():
        if getattr(part, "backend", "torch") != "torch":
            part.backend = "torch"
    taus = _check_layers(copied, analysis)
    tensors = walk_tensors(analysis.source, copied.state_dict())
    known = {entry.layer for entry in analysis.findings}
    analysis.findings += [entry for entry in tensors.findings if entry.layer not in known]
    walk.state, walk.ignored = tensors.tensors, tensors.ignored
    run = _run(copied, inputs.detach().cpu().float(), analysis)
    if run is None:
        return walk
    _check_unused(copied, run, analysis)
    _check_taus(taus, analysis)
    pools = _check_order(run, analysis)
    if not analysis.supported:
        return walk
    walk.network = _network(copied, run, inputs, tensors.shapes, next(iter(taus.values())), pools,
                            num_heads, analysis)
    if walk.network is not None:
        _compare(walk, run, inputs.detach().cpu().float())
    return walk


def _parts(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Layers: neurons, and whatever has no parts of its own."""
    inside = ""
    for name, part in module.named_modules():
        if inside and name.startswith(inside):
            continue   # the surrogate of a neuron
        if neuron_class(part):
            inside = name + "."
            yield name, part
        elif not any(part.children()):
            yield name, part


def _check_layers(module: nn.Module, analysis: Analysis) -> dict[str, float]:
    """Settings of every layer; returns tau of every neuron by name."""
    taus = {}
    for name, part in _parts(module):
        kind, layer = type(part).__name__, layer_name(name)
        if neuron_class(part):
            neuron = _check_neuron(name, layer, part, analysis)
            if neuron:
                taus[name] = neuron.tau
        elif isinstance(part, nn.Conv1d | nn.Conv2d):
            size = 3 if layer.startswith("patch_embed.") else 1
            wanted = (size, 1, size // 2, 1)
            settings = (part.kernel_size, part.stride, part.padding, part.dilation)
            if any(set(value) != {want} for value, want in zip(settings, wanted)
                   if not isinstance(value, str)) or part.groups != 1 \
                    or isinstance(part.padding, str) or part.padding_mode != "zeros":
                analysis.add(name, repr(part), f"a convolution here must have kernel {size}, "
                             f"stride 1, padding {size // 2} of zeros, dilation 1 and one group",
                             "train with such a convolution")
        elif isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            if part.eps != BN_EPSILON:
                analysis.add(name, repr(part), f"eps must be {BN_EPSILON:g}",
                             f"add {part.eps - BN_EPSILON:g} to running_var and set eps to "
                             f"{BN_EPSILON:g}, which is the same")
            elif not part.affine or part.running_mean is None:
                analysis.add(name, repr(part), "BatchNorm must have weight, bias and running "
                             "statistics", "train with affine=True, track_running_stats=True")
        elif isinstance(part, nn.MaxPool2d):
            if [set(nn.modules.utils._pair(value)) for value in (
                    part.kernel_size, part.stride, part.padding, part.dilation)] != [
                        {3}, {2}, {1}, {1}] or part.ceil_mode:
                analysis.add(name, repr(part), "a pool must have kernel 3, stride 2, padding 1, "
                             "dilation 1 and ceil_mode False", "train with such a pool")
        elif isinstance(part, nn.Linear) and name.endswith("head"):
            pass
        elif isinstance(part, nn.Linear):
            analysis.add(name, kind, "only the head may be Linear; in blocks they belong to "
                         "Spikformer", "a 1x1 convolution, Conv1d or Conv2d, with a BatchNorm")
    return taus


def _check_neuron(name: str, layer: str, part: nn.Module, analysis: Analysis) -> Neuron | None:
    kind = neuron_class(part)
    if kind not in NEURONS:
        learned = " (its time constant is learned)" if "Parametric" in kind else ""
        analysis.add(name, kind, "the hardware's neuron is the leaky integrate-and-fire neuron of "
                     f"LIFNode{learned}", "train with LIFNode(tau=2.0) or tau=1.5")
        return None
    neuron = Neuron(type(part).__name__, float(part.tau), float(part.v_threshold), part.v_reset,
                    bool(part.decay_input))
    threshold = ATTENTION_V_THRESHOLD if layer.endswith("attn.attn_lif") else 1.0
    found = check(name, neuron, threshold)
    if not found:
        found = [entry for entry in [probe(name, neuron, lambda x: _spikes(part, x))] if entry]
    analysis.findings += found
    return neuron


def _spikes(neuron: nn.Module, currents: Tensor) -> Tensor:
    """Spikes of a neuron of either step mode on [T, n]; its state is reset before and after."""
    neuron.reset()
    with torch.no_grad():
        result = (neuron(currents) if _multi_step(neuron)
                  else torch.stack([neuron(current) for current in currents]))
    neuron.reset()
    return result


def _multi_step(neuron: nn.Module) -> bool:
    return getattr(neuron, "step_mode", "") == "m" or neuron_class(neuron).startswith("MultiStep")


@dataclass
class _Run:
    """One run: names of layers in the order of their first call, outputs of the neurons, logits."""

    order: list[str]
    spikes: dict[str, list[Tensor]]
    logits: Tensor

    def timesteps(self, module: nn.Module) -> set[int]:
        return {sum(len(part) if _multi_step(module.get_submodule(name)) else 1 for part in parts)
                for name, parts in self.spikes.items()}


def _run(module: nn.Module, inputs: Tensor, analysis: Analysis) -> _Run | None:
    order: list[str] = []
    spikes: dict[str, list[Tensor]] = {}

    def note(name: str, fires: bool, output: Tensor) -> None:
        if name not in order:
            order.append(name)
        if fires:
            spikes.setdefault(name, []).append(output.detach())

    hooks = [part.register_forward_hook(
        lambda part, _, output, name=name: note(name, bool(neuron_class(part)), output))
        for name, part in _parts(module)]
    for part in module.modules():
        if neuron_class(part):
            part.reset()
    try:
        with torch.no_grad():
            logits = module(inputs)
    except Exception as error:  # code of others can raise anything
        analysis.add("", "forward", f"it does not run on inputs {tuple(inputs.shape)!r}: "
                     f"{first_line(error)}",
                     "give inputs as module(inputs) takes them")
        return None
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        analysis.add("", "output", "it must return logits [B, classes]",
                     "give the module in inference form, or a wrapper that returns logits alone")
        return None
    return _Run(order, spikes, logits)


def _check_unused(module: nn.Module, run: _Run, analysis: Analysis) -> None:
    """Layers of kinds that the hardware lacks, unless they never run."""
    known = {entry.layer for entry in analysis.findings}
    for name, part in _parts(module):
        kind = type(part).__name__
        mapped = neuron_class(part) or isinstance(part, (
            nn.Conv1d, nn.Conv2d, nn.BatchNorm1d, nn.BatchNorm2d, nn.MaxPool2d, nn.Linear))
        if mapped and name not in run.order:
            analysis.notes.append(f"{name} ({kind}) is never used")
        elif not mapped and kind not in _IDLE and name in run.order and name not in known:
            analysis.add(name, repr(part).splitlines()[0], "the hardware has no such layer",
                         "train without it; a Spikingformer has convolutions, BatchNorm, "
                         "LIF neurons, max-pools and a Linear head")


def _check_taus(taus: dict[str, float], analysis: Analysis) -> None:
    if len(set(taus.values())) > 1:
        analysis.add("", "neurons", "all neurons must have the same tau, not "
                     f"{sorted(set(taus.values()))}", "train with one tau")
    elif not taus:
        analysis.add("", "neurons", "it has no LIF neuron of SpikingJelly", "use LIFNode")


def _check_order(run: _Run, analysis: Analysis) -> list[bool]:
    """The order of layers; returns which tokenizer stages pool."""
    pools, names, pooled = [False] * 4, [], {}
    for name in run.order:
        layer = layer_name(name)
        if "pool" in name.rpartition(".")[2] or name.endswith("_mp"):
            pooled[name] = names[-1] if names else ""
        elif re.search(r"_(conv|bn|lif)$", layer) or layer == "head":
            names.append(layer)
        elif name in run.spikes:
            analysis.add(name, "neuron", "a Spikingformer has no neuron of this name",
                         "use the names of the published Spikingformer, without containers")
    for name, before in pooled.items():
        match = re.fullmatch(r"patch_embed\.block([1-4])_lif", before)
        if match:
            pools[int(match[1]) - 1] = True
        else:
            analysis.add(name, "max-pool", f"it runs behind {before or 'the input'}, not behind a "
                         "neuron of the tokenizer; pools before neurons make a Spikingformer-CML, "
                         "which pools real values", "train a Spikingformer: LIF, pool, convolution")
    depth = len({match[1] for name in names if (match := re.match(r"block\.(\d+)\.", name))})
    wanted = _expected_order(depth, "head_lif" in names)
    # q, k and v may run in any order.
    place = {name: index for index, name in enumerate(wanted)}
    for first, second in zip(names, names[1:]):
        if first in place and second in place and place[first] > place[second] and not all(
                re.search(r"attn\.[qkv]_", name) for name in (first, second)):
            analysis.add(second, "order", f"it runs behind {first}, in a Spikingformer before it",
                         "train a Spikingformer; Spikformer and CML have other orders")
    missing = [name for name in wanted if name not in names] if analysis.supported else []
    for name in missing:
        analysis.add(name, "order", "it never runs", "use the forward pass of the published "
                     "Spikingformer")
    for name in names:
        if name not in place:
            analysis.add(name, "order", "a Spikingformer has no layer of this name",
                         "use the names of the published Spikingformer")
    return pools


def _expected_order(depth: int, head_lif: bool) -> list[str]:
    names = ["patch_embed.block0_conv", "patch_embed.block0_bn"]
    names += [f"patch_embed.block{i}_{part}" for i in range(1, 5) for part in ("lif", "conv", "bn")]
    for i in range(depth):
        attention = ["proj_lif", *(f"{branch}_{part}" for branch in "qkv"
                                   for part in ("conv", "bn", "lif")),
                     "attn_lif", "proj_conv", "proj_bn"]
        names += [f"block.{i}.attn.{part}" for part in attention]
        names += [f"block.{i}.mlp.mlp{j}_{part}" for j in (1, 2) for part in ("lif", "conv", "bn")]
    return [*names, *(["head_lif"] if head_lif else []), "head"]


def _network(module: nn.Module, run: _Run, inputs: Tensor, shapes: dict[str, Any], tau: float,
             pools: list[bool], num_heads: int | None, analysis: Analysis) -> NetworkConfig | None:
    timesteps = run.timesteps(module)
    if len(timesteps) != 1:
        analysis.add("", "timesteps", "all neurons must see the same number of timesteps, not "
                     f"{sorted(timesteps)}", "set one step mode for the whole network")
        return None
    steps = timesteps.pop()
    if inputs.dim() == 5 and inputs.shape[1] != steps:
        analysis.add("", "timesteps", f"inputs have {inputs.shape[1]} timesteps, its neurons see "
                     f"{steps}", "give inputs [B, T, C, H, W]")
        return None
    own = {getattr(part, "num_heads", None) for name, part in module.named_modules()
           if name.endswith(".attn")} - {None}
    heads = num_heads if num_heads is not None else next(iter(own), None)
    if heads is None or (own and own != {heads}):
        analysis.add("", "heads", "the number of attention heads must be known and the same in "
                     f"each block, not {sorted(own) or None}", "give num_heads")
        return None
    try:
        network = NetworkConfig(
            **shapes, num_heads=int(heads), timesteps=steps, image_height=inputs.shape[-2],
            image_width=inputs.shape[-1], tau=tau, pool_stages=tuple(pools),
            classifier=(Classifier.SN_AVGPOOL_FC if any(layer_name(name) == "head_lif"
                                                        for name in run.order)
                        else Classifier.AVGPOOL_FC),
            static_input=inputs.dim() == 4)
    except ValueError as error:
        analysis.add("", "sizes", str(error), "train a Spikingformer of such a size")
        return None
    analysis.facts |= {"network": ", ".join(
        f"{f.name} {getattr(network, f.name)}" for f in fields(network)
        if f.name in ("embed_dim", "depth", "num_heads", "timesteps", "tau"))}
    analysis.facts |= {"pools": "".join("FT"[pool] for pool in pools),
                       "neurons": f"{len(run.spikes)} LIF: input divided by tau, fire at h >= "
                                  "v_threshold, reset to 0, each driven with test currents"}
    return network


def _compare(walk: _Walk, run: _Run, inputs: Tensor) -> None:
    """Our network on the same inputs: spikes of every neuron, then logits."""
    network, analysis = walk.network, walk.analysis
    model = Spikingformer(network)
    model.load_state_dict(walk.state)
    record: dict[str, Any] = {}
    with torch.no_grad():
        logits = model.eval()(
            inputs if network.static_input else inputs.transpose(0, 1).contiguous(), record)
    theirs = {layer_name(name): torch.cat([part.flatten() for part in parts])
              for name, parts in run.spikes.items()}
    total, different = 0, 0
    for layer in network.layers():
        if not layer.lif:
            continue
        ours = record[layer.name].spikes.flatten()
        wrong = int((ours != theirs[layer.lif]).sum()) if len(ours) == len(
            theirs[layer.lif]) else len(ours)
        total, different = total + len(ours), different + wrong
        if wrong > SPIKE_TOLERANCE * len(ours):
            analysis.add(layer.lif, "spikes", f"{wrong:,} of {len(ours):,} differ from those of a "
                         f"Spikingformer with {network.num_heads} heads and these weights",
                         "give the right num_heads; otherwise the layers before it compute "
                         "something else than the published Spikingformer")
            return
        if not ours.any():
            analysis.notes.append(f"{layer.lif} is silent on these inputs, so nothing behind it "
                                  "was compared; give real, normalized inputs")
    largest = float((logits - run.logits).abs().max()) if logits.shape == run.logits.shape else None
    if largest is None or largest > LOGIT_TOLERANCE * max(1.0, float(logits.abs().max())) \
            + (different > 0) * 0.01 * float(logits.abs().max()):
        analysis.add("head", "logits", f"they differ by {largest} from those of a Spikingformer",
                     "use a head of the published form: mean over tokens and timesteps, Linear")
        return
    analysis.facts["compared"] = (f"{total:,} spikes of {len(inputs)} inputs, {different} differ; "
                                  f"logits differ by at most {largest:.1e}")
