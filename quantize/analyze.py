# SPDX-License-Identifier: Apache-2.0
"""What of a network can be imported, before any work is done: `python -m quantize.analyze FILE`.

The whole file is walked, and each layer that has no counterpart is listed with its name, the
reason, and what would work.  Files: `.safetensors`, PyTorch's `.pth` and others, NIR graphs
(`.nir`).
`quantize.spikingjelly.analyze_module` does the same for a module.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from hw.command import Outcome, Parser, execute
from quantize import tensor_file
from quantize.checkpoint import (
    ASKED,
    canonical_name,
    check_tensor,
    expected_tensors,
    network_shapes,
)
from quantize.findings import Analysis, Finding

NIR_SUFFIXES = (".nir", ".h5", ".hdf5")

# Tensors that are no part of a Spikingformer: what their names tell, why, and what would work.
_FOREIGN = (
    (r"pos_embed|cls_token|position", "position embedding or class token",
     "Spikingformer has none and the hardware adds no constant to the residual stream",
     "train without it; the 3x3 convolutions of the tokenizer tell positions"),
    (r"_lif\d?\.|(^|\.)(lif|sn|neuron)\w*\.", "learned neuron",
     "the time constant of the hardware's neuron is 2 or 1.5 and not learned",
     "train with LIFNode(tau=2.0) instead of ParametricLIFNode"),
    (r"_linear\.|\.(qkv|fc\d)\.", "Linear layer",
     ("q, k, v, proj and the MLP are 1x1 convolutions with a BatchNorm of their own; Linear layers "
      "belong to Spikformer, another network"),
     "train a Spikingformer, or copy a Linear's weight [O, I] into a Conv1d's [O, I, 1]"),
    (r"\.rpe_|rpe_", "position convolution", "it belongs to Spikformer, another network",
     "train a Spikingformer"),
    (r"norm\w*\.|\.ln\w*\.", "normalization",
     ("only BatchNorm, folded into the convolution before it, has no cost; other normalizations "
      "have no hardware"), "use BatchNorm after each convolution"),
    (r"_conv\.bias$", "bias of a convolution", "this convolution has no bias of its own",
     "subtract it from running_mean of the BatchNorm behind it, which is the same, and drop it"),
    (r"^block\.\d+\.", "part of a block", ("it is no part of a Spikingformer's block, or a block "
     "before it is missing"), "number blocks from 0 without gaps; drop what is never used"),
)
_OTHER = ("layer", "it is no part of a Spikingformer",
          "drop the tensor if the forward pass never uses it; otherwise train without the layer")


@dataclass
class TensorWalk:
    """A state dict by canonical name; `findings` empty if it is that of a Spikingformer."""

    tensors: dict[str, Tensor]
    shapes: dict[str, Any]
    ignored: list[str]
    findings: list[Finding] = field(default_factory=list)


def walk_tensors(source: Path | str, state: Mapping[str, Tensor]) -> TensorWalk:
    """Look at every tensor of a state dict; nothing is raised."""
    walk, origin = TensorWalk({}, {}, []), {}
    found: dict[str, Finding] = {}

    def add(name: str, what: str, why: str, hint: str) -> None:
        layer = name.rpartition(".")[0] or name
        found.setdefault(layer, Finding(layer, what, why, hint))

    for name, tensor in state.items():
        canonical = canonical_name(name)
        if canonical is None:
            walk.ignored.append(name)
        elif canonical in walk.tensors:
            add(name, "tensor given twice",
                f"{origin[canonical]} is the same tensor of the network", "drop one of the two")
        else:
            walk.tensors[canonical], origin[canonical] = tensor, name
    try:
        walk.shapes = network_shapes(source, walk.tensors, origin)
        expected = expected_tensors(source, walk.shapes)
    except ValueError as error:
        found[""] = Finding("", "sizes", str(error), "names and shapes must be those of the "
                            "published Spikingformer: docs/models.md lists them")
        # Any sizes will do to say which names belong to the network.
        numbers = {int(match[1]) for name in walk.tensors
                   if (match := re.match(r"block\.(\d+)\.", name))}
        depth = max(1, next(i for i in range(len(numbers) + 1) if i not in numbers))
        expected = expected_tensors(source, {"embed_dim": 8, "depth": depth, "in_channels": 1,
                                             "num_classes": 1, "mlp_ratio": 1.0})
    for name, tensor in walk.tensors.items():
        if name not in expected:
            what, why, hint = next((texts for pattern, *texts in _FOREIGN
                                    if re.search(pattern, origin[name])), _OTHER)
            add(origin[name], f"{what}, tensor {origin[name].rpartition('.')[2]!r} of shape "
                              f"{tuple(tensor.shape)}", why, hint)
        elif walk.shapes:
            try:
                check_tensor(source, origin[name], tensor, expected[name])
            except ValueError as error:
                add(origin[name], "tensor", str(error), "export the trained float weights again")
    for name in expected:
        if name not in walk.tensors:
            add(name, f"tensor {name.rpartition('.')[2]!r} is missing",
                "every convolution needs its weight, bias where it has one, and the four tensors "
                "of its BatchNorm",
                "export model.state_dict() whole; for a file with folded BatchNorm add "
                "running_mean 0, running_var 1 - 1e-5, weight 1 and the folded bias")
    walk.findings = list(found.values())
    return walk


def analyze_file(path: Path | str, weights: str = "state_dict",
                 dt: float | None = None) -> Analysis:
    """Walk a checkpoint or a NIR graph.

    weights: of containers that hold two, see `tensor_file.read`
    dt:      seconds of a timestep of a NIR graph, see `quantize.nir_graph`
    ValueError, one sentence, if the file cannot be read at all.
    """
    path = Path(path)
    if path.suffix in NIR_SUFFIXES:
        from quantize import nir_graph  # the package nir is needed for such files alone
        return nir_graph.analyze(nir_graph.read(path), path.name, dt)
    file = tensor_file.read(path, weights)
    walk = walk_tensors(path, file.tensors)
    analysis = Analysis(path.name, f"state dict of {len(file.tensors)} tensors", walk.findings)
    analysis.facts |= {name: f"{value:g}" for name, value in walk.shapes.items()}
    if walk.ignored:
        analysis.notes.append(f"{len(walk.ignored)} tensors are never used: "
                              f"{', '.join(walk.ignored[:4])}"
                              + (" ..." if len(walk.ignored) > 4 else ""))
    if not (file.metadata or {}).get("network"):
        analysis.notes.append(
            f"a state dict does not tell {', '.join(ASKED)}, nor how its neurons reset, fire and "
            "decay: the first are asked for; for the others give the module to "
            "quantize.spikingjelly.from_module, which measures them")
    return analysis


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m quantize.analyze",
        description="List every layer of a network that cannot be imported, why, and what would "
                    "work.  Exit status 0 if there is none, 1 if there are.")
    parser.add_argument("file", type=Path, metavar="FILE",
                        help=".safetensors, .pth and the like, or a NIR graph (.nir)")
    parser.add_argument("--ema", action="store_true",
                        help="the averaged weights of a container that has both")
    parser.add_argument("--dt", type=float, metavar="SECONDS",
                        help="of a timestep, for NIR graphs (time constants there are in seconds)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0: all can be mapped; 1: something cannot; 2: the file cannot be read."""
    return execute(build_parser(), run, argv)


def run(args: argparse.Namespace) -> Outcome:
    analysis = analyze_file(args.file, "state_dict_ema" if args.ema else "state_dict", args.dt)
    print("\n".join(analysis.lines()))
    return Outcome(asdict(analysis), int(not analysis.supported))


if __name__ == "__main__":
    sys.exit(main())
