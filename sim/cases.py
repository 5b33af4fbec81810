# SPDX-License-Identifier: Apache-2.0
"""The measurements of docs/results.md as data: networks, hardware, surroundings."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from hw.network import Classifier
from hw.options import add_hardware_options
from sim.run import DEFAULT_LATENCY

SYNTHETIC = Path("build/synthetic")


@dataclass(frozen=True)
class Source:
    """A model directory.

    checkpoint: that it was quantized from, where there is one
    make: arguments of `quantize.synthesize` that write it, or a command to say to the user
    """

    directory: Path
    make: tuple[str, ...] | str
    checkpoint: Path | None = None

    @property
    def name(self) -> str:
        return self.directory.name


@dataclass(frozen=True)
class Surroundings:
    """What is around the accelerator, and changes cycles only; see `sim.run.Simulator.start`."""

    latency: int = DEFAULT_LATENCY
    stalls: int | None = None
    gaps: int | None = None

    def keywords(self) -> dict[str, Any]:
        return {"latency": self.latency, "stalls": self.stalls, "gaps": self.gaps}

    def __str__(self) -> str:
        parts = [f"latency {self.latency}"]
        parts += [f"{name} seed {seed}" for name, seed in (("stalls", self.stalls),
                                                           ("gaps", self.gaps)) if seed]
        return ", ".join(parts)


@dataclass(frozen=True)
class Case:
    """Inferences on one hardware, which is made for all of the models.

    options: words of the hardware options (`hw.options`)
    around:  each model runs once in each of these surroundings
    tool:    the module that runs it
    """

    name: str
    sources: tuple[Source, ...]
    options: tuple[str, ...]
    around: tuple[Surroundings, ...] = (Surroundings(),)
    tool: str = "sim.results"

    def hardware_options(self) -> argparse.Namespace:
        """The options, parsed."""
        parser = argparse.ArgumentParser()
        add_hardware_options(parser)
        return parser.parse_args(self.options)

    @property
    def command(self) -> str:
        return f"python -m {self.tool} {self.name}"


def synthetic(network: str, classifier: Classifier = Classifier.AVGPOOL_FC,
              bits: int = 8) -> Source:
    """A network of a published size with random weights of so many bits."""
    name, options = network, []
    if classifier is not Classifier.AVGPOOL_FC:
        name, options = f"{name}-{classifier.value}", ["--classifier", classifier.value]
    if bits != 8:
        name, options = f"{name}-{bits}bit", [*options, "--bits", str(bits)]
    directory = SYNTHETIC / name
    if options:
        options += ["--out", str(directory)]
    return Source(directory, (network, *options), directory.with_name(f"{name}.safetensors"))


# 768 adders, with weights of 8 bits through 128.
ENGINE = ("--lanes", "128", "--banks", "3", "--port-bits", "128")
# 1,024: additions of 4-bit weights take fewer LUTs.
WIDE_ENGINE = ("--lanes", "128", "--banks", "4", "--port-bits", "128")
# Spike memory for what the blocks need at once, so that the largest maps of the tokenizer go out.
DVS_MEMORY = ("--spike-lines", "4096", "4096")
IMAGENET_MEMORY = ("--spill-residual", "--spike-lines", "6272", "6272")
CIFAR = "cifar10-4-256"
FASHION = Source(Path("hw/models/fashion"), "git checkout hw/models/fashion")
DIGITS = Source(Path("hw/models/digits"), "git checkout hw/models/digits",
                Path("quantize/checkpoints/digits.safetensors"))

CASES: Mapping[str, Case] = MappingProxyType({case.name: case for case in (
    Case("fashion", (FASHION,), ENGINE),
    Case(CIFAR, (synthetic(CIFAR),), ENGINE),
    Case("cifar10-2-384", (synthetic("cifar10-2-384"),), ENGINE),
    Case("cifar10-4-384", (synthetic("cifar10-4-384"),), ENGINE),
    Case("dvs-2-256", (synthetic("dvs-2-256"),), (*ENGINE, *DVS_MEMORY)),
    Case("imagenet-8-512", (synthetic("imagenet-8-512"),), (*ENGINE, *IMAGENET_MEMORY)),
    Case("two-networks", (synthetic("cifar10-2-384"), synthetic(CIFAR)), ENGINE),
    Case("classifiers", tuple(synthetic(CIFAR, form) for form in Classifier), ENGINE),
    Case("stalls", (synthetic(CIFAR),), ENGINE,
         (Surroundings(), Surroundings(latency=400), Surroundings(stalls=1),
          Surroundings(stalls=2, gaps=3), Surroundings(latency=1, stalls=4))),
)})


def bench(name: str, source: Source, options: tuple[str, ...]) -> Case:
    """A case of `python -m sim.bench`."""
    return Case(name, (source,), options, tool="sim.bench")


BENCH: Mapping[str, Case] = MappingProxyType({case.name: case for case in (
    bench("digits", DIGITS, ()),
    bench("fashion", FASHION, ("--lanes", "64", "--port-bits", "128")),
    bench("w1", synthetic(CIFAR), ENGINE),
    bench("w1-4bit", synthetic(CIFAR, bits=4), ENGINE),
    bench("w1-4bit-wide", synthetic(CIFAR, bits=4), WIDE_ENGINE),
    bench("dvs", synthetic("dvs-2-256"), (*ENGINE, *DVS_MEMORY)),
)})
