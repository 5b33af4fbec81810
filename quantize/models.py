# SPDX-License-Identifier: Apache-2.0
"""The networks of the paper by name: `python -m quantize.models` lists them.

Sizes are those of arXiv 2304.11954 and of the public code, github.com/zhouchenlin2096/Spikingformer
at 4378623.  Where that code disagrees with itself, or is silent, the notes of a model say so.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from hw.command import Outcome, Parser, execute
from hw.network import Kind, Layer, NetworkConfig, Output


@dataclass(frozen=True)
class PaperModel:
    """A published network.

    paper_millions:  parameters in the paper's or the README's table, None where neither has them
    heads_note:      where the head count comes from, and what contradicts it
    timesteps_note:  the same of T
    dataset:         that the sizes of input and classifier belong to
    """

    name: str
    network: NetworkConfig
    paper_millions: float | None
    heads_note: str
    timesteps_note: str
    dataset: str

    @property
    def weights(self) -> int:
        """Weights of convolutions and classifier, without biases and BatchNorm."""
        return sum(_weights(layer) for layer in self.network.layers())

    @property
    def parameters(self) -> int:
        """Trained parameters of everything that computes, as the paper counts them."""
        return sum(_weights(layer) + _offsets(layer) for layer in self.network.layers())

    @property
    def layer_norm_parameters(self) -> int:
        """Parameters of the two LayerNorms of a block, which the code builds and never calls."""
        return self.network.depth * 4 * self.network.embed_dim

    @property
    def parameters_with_layer_norm(self) -> int:
        """What the state dict holds besides running statistics."""
        return self.parameters + self.layer_norm_parameters

    @property
    def operations(self) -> int:
        """Dense operations of one inference: what `dense_operations` counts."""
        return dense_operations(self.network)

    @property
    def notes(self) -> tuple[str, ...]:
        """Everything that the official files leave open."""
        return tuple(note for note in (self.heads_note, self.timesteps_note) if note)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: the network, the counts and the notes."""
        return {"name": self.name, "dataset": self.dataset, "network": self.network.to_dict(),
                "parameters": self.parameters,
                "parameters_with_layer_norm": self.parameters_with_layer_norm,
                "paper_millions": self.paper_millions, "weights": self.weights,
                "dense_operations": self.operations, "heads_note": self.heads_note,
                "timesteps_note": self.timesteps_note}


def _weights(layer: Layer) -> int:
    if not layer.has_weights:
        return 0
    return layer.kernel ** 2 * layer.in_channels * layer.out_channels


def _offsets(layer: Layer) -> int:
    """Parameters of a layer besides its weights."""
    if layer.kind is Kind.ATTENTION:
        return 0
    if layer.kind is Kind.CLASSIFIER:
        return layer.out_channels                           # bias
    # Gain and bias of BatchNorm.  The 3x3 convolutions, q, k and v have no bias of their own.
    biased = layer.name.endswith((".attn.proj", ".mlp1", ".mlp2"))
    return layer.out_channels * (3 if biased else 2)


def dense_operations(network: NetworkConfig, key_value_first: bool = True) -> int:
    """Operations of one inference if every input were nonzero, padding taps included.

    Every convolution counts in every timestep, the encoder too, the classifier once.  Attention is
    two products: K^T V and Q (K^T V), or with `key_value_first` False Q K^T and (Q K^T) V.
    """
    total = 0
    for layer in network.layers():
        if layer.kind is Kind.ATTENTION:
            inner = network.head_dim if key_value_first else layer.positions
            total += 2 * layer.positions * layer.out_channels * inner * network.timesteps
        elif layer.output is Output.LOGITS:
            total += _weights(layer)
        else:
            total += _weights(layer) * layer.positions * network.timesteps
    return total


def _static(name: str, dataset: str, depth: int, embed_dim: int, num_heads: int, millions:
            float | None, heads_note: str, timesteps_note: str) -> PaperModel:
    size, classes, pools = {"CIFAR10": (32, 10, (False, False, True, True)),
                            "CIFAR100": (32, 100, (False, False, True, True)),
                            "ImageNet-1K": (224, 1000, (True,) * 4)}[dataset]
    network = NetworkConfig(embed_dim, depth, num_heads, 4, 3, size, size, classes,
                            pool_stages=pools, name=name)
    return PaperModel(name, network, millions, heads_note, timesteps_note, dataset)


_CIFAR_T = "T: 4 is the default of the model; the time_step 4 of the yml is never passed to it"
_UNSTATED = "heads: stated in no official file; {} make head_dim 32, that of cifar10.yml for 4-384"

MODELS: Mapping[str, PaperModel] = MappingProxyType({model.name: model for model in (
    _static("cifar10-4-256", "CIFAR10", 4, 256, 8, 4.15, _UNSTATED.format(8), _CIFAR_T),
    _static("cifar10-2-384", "CIFAR10", 2, 384, 12, 5.76, _UNSTATED.format(12), _CIFAR_T),
    _static("cifar10-4-384", "CIFAR10", 4, 384, 12, 9.32,
            "heads: 12 in cifar10.yml and model.py", _CIFAR_T),
    _static("cifar100-4-384", "CIFAR100", 4, 384, 8, None,
            "heads: 8 in cifar100.yml, which training reads; 12 in the example of its model.py",
            _CIFAR_T),
    _static("imagenet-8-384", "ImageNet-1K", 8, 384, 8, 16.81,
            "heads: no configuration of this size is published; 8 are those of the two larger", ""),
    _static("imagenet-8-512", "ImageNet-1K", 8, 512, 8, 29.68,
            "heads: 8 in the example of model.py; imagenet.yml is that of 8-768", ""),
    _static("imagenet-8-768", "ImageNet-1K", 8, 768, 8, 66.34,
            "heads: 8 in imagenet.yml and the training log; the energy script assumes 12", ""),
    PaperModel("dvs-2-256",
               NetworkConfig(256, 2, 16, 16, 2, 128, 128, 10, tau=1.5, pool_stages=(True,) * 4,
                             static_input=False, name="dvs-2-256"), 2.57,
               "heads: 16 in model.py",
               "T: 16 is the default of train.py; the paper and the README list 10 too "
               "(--timesteps 10)", "CIFAR10-DVS"),
)})


def find(name: str, timesteps: int | None = None) -> PaperModel:
    """The model of that name, with another T if one is given.

    ValueError, one sentence, if there is none, or if T is no positive integer.
    """
    if name not in MODELS:
        raise ValueError(f"model must be one of {', '.join(MODELS)}, not {name!r}")
    model = MODELS[name]
    if timesteps is None:
        return model
    return replace(model, network=replace(model.network, timesteps=timesteps))


# Mean and standard deviation per channel in the published training scripts, by data set; events are
# counts, which nothing normalizes.
_CIFAR = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
NORMALIZATION: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = MappingProxyType({
    "CIFAR10": _CIFAR, "CIFAR100": _CIFAR,
    "ImageNet-1K": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))})

HEADING = ("name", "data set", "input", "T", "tau", "heads", "parameters", "paper", "with LN",
           "weights", "operations")
FOOTNOTES = (
    "parameters  convolutions, their biases, BatchNorm gains and biases, classifier",
    "paper       million parameters in the paper or the README, rounded or cut to two digits",
    "with LN     as counted by the code, with LayerNorms that no computation uses; the paper's",
    "            figures are those without",
    "operations  10^9 per inference, every input counted, Q (K^T V), encoder in all T",
)


def _row(model: PaperModel) -> tuple[str, ...]:
    network = model.network
    shape = f"{network.in_channels}x{network.image_height}x{network.image_width}"
    if not network.static_input:
        shape = f"Tx{shape}"
    paper = "-" if model.paper_millions is None else f"{model.paper_millions:.2f}"
    return (model.name, model.dataset, shape, str(network.timesteps), f"{network.tau:g}",
            str(network.num_heads), f"{model.parameters:,}", paper,
            f"{model.parameters_with_layer_norm:,}", f"{model.weights:,}",
            f"{model.operations / 1e9:.3f}")


def table(models: list[PaperModel]) -> list[str]:
    """Aligned lines: one per model, what the columns mean, and the notes."""
    rows = [HEADING, *map(_row, models)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) if i < 3 else cell.rjust(width)
                       for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
             for row in rows]
    lines += ["", *FOOTNOTES, ""]
    for model in models:
        lines += [f"{model.name:<{widths[0]}}  {note}" for note in model.notes]
    return lines


def build_parser() -> Parser:
    parser = Parser(prog="python -m quantize.models",
                                     description="List the networks of the paper.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument("--timesteps", type=int, metavar="T", help="instead of the published T")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 for a name that is not known."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    models = [find(name, arguments.timesteps) for name in arguments.names or MODELS]
    print("\n".join(table(models)))
    return Outcome({"models": [model.to_dict() for model in models]})


if __name__ == "__main__":
    sys.exit(main())
