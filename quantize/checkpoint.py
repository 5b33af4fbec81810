# SPDX-License-Identifier: Apache-2.0
"""Importing checkpoints: ours and the published ones, checked tensor by tensor.

What shapes tell (embed_dim, depth, num_classes, in_channels, mlp_ratio) is read from the file.  No
tensor depends on the head count, on tau, T, the image size, the pooling stages or the normalization
of the input; these come from the metadata of our own files or from the caller, and are never
guessed.  `python -m quantize.checkpoint FILE` prints what a file is.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hw.command import Outcome, Parser, execute, first_line
from hw.model import InputFormat
from hw.network import NetworkConfig
from quantize import tensor_file
from quantize.spikingformer import Spikingformer

# Facts that only metadata or the caller can give, in the order in which they are asked for.
ASKED = ("num_heads", "tau", "timesteps", "image_height", "image_width", "pool_stages")

# Tokenizer names, variant by variant, with the stage as a group; the plain "proj" is stage 0.
_VARIANTS = {
    "CIFAR": re.compile(r"block([0-4])_(conv|bn)"),
    "ImageNet, DVS or CML": re.compile(r"proj([1-4]?)_(conv|bn)"),
    "older aliases": re.compile(r"proj_(conv|bn)([1-3])|(rpe)_(conv|bn)"),
}
_NOTES = {
    "ImageNet, DVS or CML": "Spikingformer-CML has these names too, but pools before the LIF: a "
                            "CML checkpoint loads and does not compute what it was trained for",
    "older aliases": "Spikformer has these names too, but is another network: its checkpoint "
                     "loads and does not compute what it was trained for",
}


class MissingFactsError(ValueError):
    """Facts that tensors cannot tell are not known; `missing` are their names."""

    def __init__(self, path: Path | str, missing: Sequence[str]) -> None:
        self.missing = tuple(missing)
        several = len(missing) > 1 or " and " in missing[0]
        super().__init__(f"{path} does not tell {', '.join(missing)}: "
                         f"{'they' if several else 'it'} must be given")


@dataclass(frozen=True)
class Contents:
    """What a file tells by itself.

    state_dict: float32 by canonical (CIFAR) name, without the ignored ones; complete and finite
    shapes:     the `NetworkConfig` fields that follow from tensor shapes
    ignored:    names in the file of tensors that no computation uses
    names:      variant of the tokenizer's names
    """

    path: Path
    state_dict: dict[str, Tensor]
    shapes: dict[str, Any]
    ignored: list[str]
    names: str
    container: str
    metadata: dict[str, Any] | None

    @property
    def notes(self) -> list[str]:
        """Warnings about what the file cannot tell."""
        return [_NOTES[self.names]] if self.metadata is None and self.names in _NOTES else []


@dataclass(frozen=True)
class Checkpoint:
    """A network with trained weights, everything known.

    state_dict:   float32 by canonical name, loads into `Spikingformer(config)` with strict=True
    input_format: how the host makes the integers of the encoder
    dataset:      name for `quantize.datasets.load`, or None
    ignored:      names of tensors that no computation uses
    provenance:   file name, its SHA-256, and our metadata (command, seed, split, accuracy)
    notes:        warnings to show to the user
    """

    config: NetworkConfig
    state_dict: dict[str, Tensor]
    input_format: InputFormat
    dataset: str | None
    ignored: list[str]
    provenance: dict[str, Any]
    notes: list[str] = field(default_factory=list)

    def model(self) -> Spikingformer:
        """The float network with these weights, in eval mode."""
        model = Spikingformer(self.config)
        model.load_state_dict(self.state_dict)
        return model.eval()

    def save(self, path: Path | str) -> None:
        """Write it for `python -m quantize`; the file appears complete or not at all.

        ValueError if the name does not end in .safetensors.
        """
        path = Path(path)
        if path.suffix != ".safetensors":
            raise ValueError(f"a checkpoint must end in .safetensors, not {path.name!r}")
        dataset = {} if self.dataset is None else {"dataset": self.dataset}
        tensor_file.write(path, self.state_dict, {
            **self.provenance, **dataset, "network": self.config.to_dict(),
            "input": asdict(self.input_format)})


def canonical_name(name: str) -> str | None:
    """Name of a tensor in our `Spikingformer`; None for one that no computation uses.

    Names that are not known are returned as they are.
    """
    name = name.removeprefix("module.")
    if re.fullmatch(r"block\.\d+\.norm[12]\.(weight|bias)", name) or \
            re.fullmatch(r"(patch_embed|block)\..*_bn\d?\.num_batches_tracked", name):
        return None
    if match := re.fullmatch(r"patch_embed\.proj_(conv|bn)([1-3])\.(\w+)", name):
        return f"patch_embed.block{match[2]}_{match[1]}.{match[3]}"
    if match := re.fullmatch(r"patch_embed\.(proj|rpe)([1-4]?)_(conv|bn)\.(\w+)", name):
        stage = "4" if match[1] == "rpe" else match[2] or "0"
        return f"patch_embed.block{stage}_{match[3]}.{match[4]}"
    return re.sub(r"^(block\.\d+\.mlp\.)fc([12])_", r"\1mlp\2_", name)


def inspect(path: Path | str, weights: str = "state_dict") -> Contents:
    """Read a file and check every tensor in it.

    `weights`: "state_dict" or "state_dict_ema", see `tensor_file.read`.
    ValueError, one sentence naming the tensor, if one is missing, unused, given twice, of a wrong
    shape or type, not finite, or if the file itself cannot be read.
    """
    path = Path(path)
    file = tensor_file.read(path, weights)
    tensors: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    ignored = []
    for name, tensor in file.tensors.items():
        canonical = canonical_name(name)
        if canonical is None:
            ignored.append(name)
        elif canonical in tensors:
            raise ValueError(f"{path} must hold tensor {canonical!r} once, "
                             f"not as {origin[canonical]!r} and as {name!r}")
        else:
            tensors[canonical], origin[canonical] = tensor, name
    shapes = network_shapes(path, tensors, origin)
    expected = expected_tensors(path, shapes)
    for name in expected:
        if name not in tensors:
            raise ValueError(f"{path} lacks tensor {name!r}")
    for name, tensor in tensors.items():
        if name not in expected:
            raise ValueError(f"tensor {origin[name]!r} of {path} is no part of a Spikingformer "
                             f"with {shapes['depth']} blocks")
        check_tensor(path, origin[name], tensor, expected[name])
    return Contents(path, {name: tensors[name].float() for name in expected}, shapes, ignored,
                    _variant(origin["patch_embed.block1_conv.weight"]), file.container,
                    file.metadata)


def load_checkpoint(path: Path | str, network: NetworkConfig | None = None, *,
                    given: Mapping[str, Any] | None = None,
                    input_format: InputFormat | None = None,
                    weights: str = "state_dict") -> Checkpoint:
    """Read a checkpoint and complete what its tensors do not tell.

    network:      the whole configuration, or instead
    given:        some fields of `NetworkConfig`, at least those of `ASKED` that metadata lacks
    input_format: needed where metadata lacks it
    weights:      "state_dict" or "state_dict_ema", for containers that hold both

    ValueError, one sentence, for everything `inspect` refuses, for a fact that nobody gave, and for
    one that contradicts the tensors or the metadata.
    """
    contents = inspect(path, weights)
    path, metadata = contents.path, contents.metadata or {}
    known = {name: value for name, value in (given or {}).items() if value is not None}
    if unknown := set(known) - {f.name for f in fields(NetworkConfig)}:
        raise ValueError(f"network configuration has no field {sorted(unknown)[0]!r}")
    if network is not None:
        known |= {f.name: getattr(network, f.name) for f in fields(network) if f.name != "name"}
    own = _own_network(path, metadata)
    if own is not None:
        _agree(path, "its tensors have", contents.shapes, "its metadata says", own)
        _agree(path, "its metadata says", {f.name: getattr(own, f.name) for f in fields(own)},
               "the caller gives", known)
        config = own
    else:
        _agree(path, "its tensors have", contents.shapes, "the caller gives", known)
        config = _foreign_network(path, contents.shapes, known)
    if network is not None and network.name:
        config = replace(config, name=network.name)
    own_format = _own_input(path, metadata)
    if own_format and input_format and own_format != input_format:
        raise ValueError(f"input format of {path} must be that of its metadata, {own_format}, "
                         f"not {input_format}")
    if (input_format := own_format or input_format) is None:
        raise MissingFactsError(path, ["the mean and std of its input"])
    if len(input_format.mean) != config.in_channels or len(input_format.std) != config.in_channels:
        raise ValueError(f"input mean and std must have {config.in_channels} entries, "
                         f"not {len(input_format.mean)} and {len(input_format.std)}")
    provenance = {"checkpoint": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
                  **{key: value for key, value in metadata.items()
                     if key not in ("network", "input", "dataset")}}
    return Checkpoint(config, contents.state_dict, input_format, metadata.get("dataset"),
                      contents.ignored, provenance, contents.notes)


def network_shapes(path: Path | str, tensors: Mapping[str, Tensor],
                   origin: Mapping[str, str]) -> dict[str, Any]:
    """The fields of `NetworkConfig` that tensor shapes determine."""
    def size(name: str, axis: int, dimensions: int) -> int:
        if name not in tensors:
            raise ValueError(f"{path} lacks tensor {name!r}")
        shape = tuple(tensors[name].shape)
        if len(shape) != dimensions or 0 in shape:
            raise ValueError(f"tensor {origin[name]!r} of {path} must have {dimensions} dimensions "
                             f"of at least 1, not shape {shape!r}")
        return shape[axis]

    numbers = {int(match[1]) for name in tensors if (match := re.match(r"block\.(\d+)\.", name))}
    # Counted up to the first gap, so that a stray block.999 is an unused tensor.
    depth = next(i for i in range(len(numbers) + 1) if i not in numbers)
    embed_dim = size("patch_embed.block4_conv.weight", 0, 4)
    return {
        "embed_dim": embed_dim, "depth": max(depth, 1),
        "in_channels": size("patch_embed.block0_conv.weight", 1, 4),
        "num_classes": size("head.weight", 0, 2),
        "mlp_ratio": size("block.0.mlp.mlp1_conv.weight", 0, 4) / embed_dim,
    }


def expected_tensors(path: Path | str, shapes: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of our network's tensors, taken from the network itself."""
    try:
        # No tensor depends on these three; 16 pixels survive four poolings.
        config = NetworkConfig(**shapes, num_heads=1, timesteps=1, image_height=16, image_width=16)
    except ValueError as error:
        raise ValueError(f"the tensors of {path} are not those of a Spikingformer: {error}"
                         ) from None
    with torch.device("meta"):  # shapes without memory
        state = Spikingformer(config).state_dict()
    return {name: tuple(tensor.shape) for name, tensor in state.items()
            if not name.endswith("num_batches_tracked")}


def check_tensor(path: Path | str, name: str, tensor: Tensor, shape: tuple[int, ...]) -> None:
    """ValueError unless a tensor is finite, floating point and of that shape."""
    if tuple(tensor.shape) != shape:
        raise ValueError(f"tensor {name!r} of {path} must have shape {shape!r}, "
                         f"not {tuple(tensor.shape)!r}")
    if tensor.layout != torch.strided or not tensor.is_floating_point():
        raise ValueError(f"tensor {name!r} of {path} must be dense floating point, "
                         f"not {tensor.dtype}")
    values = tensor.float()
    if not torch.isfinite(values).all():
        raise ValueError(f"tensor {name!r} of {path} must be finite, but holds "
                         f"{'NaN' if torch.isnan(values).any() else 'infinity'}")
    if name.endswith("running_var") and (values < 0).any():
        raise ValueError(f"tensor {name!r} of {path} must not be negative, "
                         f"not {values.min().item()!r}")


def _variant(name: str) -> str:
    part = name.removeprefix("module.").split(".")[1]
    return next(variant for variant, pattern in _VARIANTS.items() if pattern.fullmatch(part))


def _own_network(path: Path, metadata: dict[str, Any]) -> NetworkConfig | None:
    if "network" not in metadata:
        return None
    try:
        return NetworkConfig.from_dict(metadata["network"])
    except (ValueError, TypeError) as error:
        raise ValueError(f"metadata of {path} is wrong: {first_line(error)}") from None


def _own_input(path: Path, metadata: dict[str, Any]) -> InputFormat | None:
    if "input" not in metadata:
        return None
    try:
        values = dict(metadata["input"])
        return InputFormat(**values | {"mean": tuple(values["mean"]), "std": tuple(values["std"])})
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"metadata of {path} has a wrong input format: "
                         f"{first_line(error)}") from None


def _agree(path: Path, who: str, facts: Mapping[str, Any], other: str,
           values: Mapping[str, Any] | NetworkConfig) -> None:
    """ValueError if `values` contradict `facts` in a field that both have."""
    for name, fact in facts.items():
        value = getattr(values, name) if isinstance(values, NetworkConfig) else values.get(name)
        if value is not None and value != fact and name != "name":
            raise ValueError(f"{name} of {path} must be {fact!r}, as {who}, "
                             f"not {value!r}, as {other}")


def _foreign_network(path: Path, shapes: dict[str, Any], known: dict[str, Any]) -> NetworkConfig:
    missing = [name for name in ASKED if name not in known]
    # One or three channels are pictures; what two channels or more are, only the user knows.
    if shapes["in_channels"] not in (1, 3) and "static_input" not in known:
        missing.append("static_input")
    if missing:
        raise MissingFactsError(path, missing)
    return NetworkConfig(**{"name": path.name.split(".")[0]} | shapes | known)


def _summary(contents: Contents) -> list[str]:
    state, shapes = contents.state_dict, contents.shapes
    # Running statistics are measured, not trained; the paper counts without them too.
    parameters = sum(tensor.numel() for name, tensor in state.items()
                     if not name.endswith(("running_mean", "running_var")))
    place = contents.container or "the file itself"
    lines = [f"file        {contents.path}",
             f"weights     {place}, {len(state)} tensors, names of {contents.names}",
             f"parameters  {parameters:,}",
             "shapes      " + ", ".join(f"{name} {value:g}" for name, value in shapes.items()),
             f"ignored     {len(contents.ignored)} tensors"
             + "".join(f"\n            {name}" for name in contents.ignored)]
    metadata = contents.metadata or {}
    network = _own_network(contents.path, metadata)
    if network is None:
        lines.append("to be given " + ", ".join((*ASKED, "input mean and std")))
    else:
        lines.append("metadata    " + ", ".join(f"{name} {getattr(network, name)}"
                                                for name in ASKED)
                     + f", classifier {network.classifier.value}")
    lines += [f"{key:<11} {metadata[key]}" for key in
              ("dataset", "command", "seed", "accuracy", "images") if key in metadata]
    return lines + [f"note        {note}" for note in contents.notes]


def build_parser() -> Parser:
    parser = Parser(prog="python -m quantize.checkpoint",
                                     description="Print what a checkpoint is and holds.")
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--ema", action="store_true",
                        help="the averaged weights of a container that has both")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 for a file that is no checkpoint."""
    return execute(build_parser(), run, argv)


def run(args: argparse.Namespace) -> Outcome:
    contents = inspect(args.file, "state_dict_ema" if args.ema else "state_dict")
    print("\n".join(_summary(contents)))
    return Outcome({"file": contents.path, "tensors": len(contents.state_dict),
                    "shapes": contents.shapes, "ignored": contents.ignored,
                    "names": contents.names, "metadata": contents.metadata,
                    "notes": contents.notes})


if __name__ == "__main__":
    sys.exit(main())
