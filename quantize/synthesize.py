# SPDX-License-Identifier: Apache-2.0
"""A network that behaves like a trained one: `python -m quantize.synthesize NAME`.

Writes a float checkpoint and its fixed-point model directory.  Weights are random, firing rates are
those of a trained network on real pictures (`quantize.tuning`, `quantize.photos`).  The pictures
that it was tuned on travel with it, so that what is measured on them has these rates.  It says
nothing about accuracy: none is computed, and checkpoint and manifest carry the entry `synthetic`
in their provenance.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hw.command import Outcome, Parser, execute, note, progress_bar
from hw.model import WEIGHT_BITS, FixedPointModel, InputFormat, Samples, check_output
from hw.network import Classifier, NetworkConfig
from quantize import activity, fixed, models, photos, tensor_file, tuning
from quantize.checkpoint import Checkpoint, load_checkpoint
from quantize.datasets import normalize
from quantize.fuse import fuse
from quantize.golden import GoldenModel
from quantize.load import event_format, image_format
from quantize.pipeline import calibrate, layer_table
from quantize.spikingformer import predict

OUT = Path("build/synthetic")
EVENT_BITS = 4      # simulated counts are below 16; every bit more is one more plane to scan
LARGE = 64          # pixels: above, fewer images give as many statistics
TOLERANCE = 0.02    # of a firing rate, relative
LABELS = "answers of the float network"


def input_format(network: NetworkConfig) -> InputFormat:
    """Encoder integers: normalized RGB in 8 signed bits, or the event counts themselves."""
    if not network.static_input:
        return event_format(network.in_channels, EVENT_BITS)
    dataset = "ImageNet-1K" if network.image_height > LARGE else "CIFAR10"
    return image_format(*models.NORMALIZATION[dataset])


def make_checkpoint(network: NetworkConfig, seed: int, images: np.ndarray, path: Path,
                    progress: bool = False) -> list[tuning.Rate]:
    """Tune a random network to the target rates, write it to `path`, return the rates reached.

    images: inputs before normalization
    """
    fmt = input_format(network)
    model, reached = tuning.tune(network, seed, normalize(images, fmt), progress=progress)
    tensor_file.write(path, model.state_dict(), {
        "network": network.to_dict(), "input": asdict(fmt), "seed": seed,
        "command": f"python -m quantize.synthesize {network.name} --seed {seed} "
                   f"--timesteps {network.timesteps} --classifier {network.classifier.value} "
                   f"--images {len(images)}",
        "synthetic": {"weights": "random",
                      "firing_rates": "of the authors' trained 8-512, quantize/data",
                      "images": f"{len(images)} parts of scikit-learn's sample photographs, "
                                "those that the model was tuned on",
                      "rates": [asdict(rate) for rate in reached]}})
    return reached


def quantize(checkpoint: Checkpoint, images: np.ndarray, bits: int,
             ) -> tuple[FixedPointModel, Samples, dict[str, float]]:
    """The model that `python -m quantize` makes, the images as samples, its LIFs' rates on them.

    images: inputs before normalization; their labels are what the float network answers
    """
    fmt, network = checkpoint.input_format, checkpoint.config
    # One by one: `calibrate` holds every tensor of a batch.
    largest = max(calibrate(checkpoint, _for_float(network, images[i:i + 1], fmt))
                  for i in range(len(images)))
    residual = fixed.residual_format(16, largest)
    model = fixed.quantize(network, fuse(network, checkpoint.state_dict), fmt, residual, bits,
                           checkpoint.provenance | {"residual_calibration_maximum": largest,
                                                    "sample_labels": LABELS})
    labels = predict(checkpoint.model(), torch.from_numpy(_for_float(network, images, fmt)), 1)
    samples = Samples(fmt.quantize(images), labels.argmax(1).numpy())
    rates = integer_rates(model, samples.inputs)
    synthetic = model.provenance["synthetic"] | {"integer_rates": rates}
    model = replace(model, provenance=model.provenance | {"synthetic": synthetic},
                    activity=activity.measure(model, samples.inputs))
    return model, samples, rates


def integer_rates(model: FixedPointModel, inputs: np.ndarray) -> dict[str, float]:
    """Firing rate of every LIF of the integer model, by `Layer.lif`."""
    golden, rates = GoldenModel(model), {}
    layers = [layer.name for layer in model.network.layers()]
    with progress_bar(total=len(inputs) * len(layers), desc="integer model", unit="layer",
              leave=False) as bar:
        for number in range(len(inputs)):
            for step in golden.steps(inputs[number:number + 1]):
                if step.layer.lif:
                    fired = float(step.spikes.double().mean()) / len(inputs)
                    rates[step.layer.lif] = rates.get(step.layer.lif, 0.0) + fired
                bar.update()
    return rates


def rate_table(reached: list[tuning.Rate], integers: dict[str, float]) -> list[str]:
    """Target and reached firing rates in percent, and the largest relative deviation."""
    lines = [f"{'firing rate in %':<31} {'target':>7} {'float':>7} {'integer':>7}"]
    deviations = {}

    def add(name: str, target: float, rate: float, integer: str) -> None:
        deviations[name] = abs(rate - target) / target
        note = "" if deviations[name] <= TOLERANCE else "  not reached"
        lines.append(f"{name:<31} {100 * target:>7.3f} {100 * rate:>7.3f} {integer:>7}{note}")

    for rate in reached:
        add(rate.lif, rate.target, rate.reached, f"{100 * integers[rate.lif]:.3f}")
        if rate.pooled_target is not None:
            add(f"{rate.lif}, pooled", rate.pooled_target, rate.pooled, "-")
    worst = max(deviations, key=deviations.get)
    lines.append(f"farthest from its target: {worst}, by {deviations[worst]:.1%} of it")
    return lines


def _for_float(network: NetworkConfig, inputs: np.ndarray, fmt: InputFormat) -> np.ndarray:
    """What the float network reads: normalized, events with the timestep leading."""
    inputs = normalize(inputs, fmt)
    return inputs if network.static_input else np.ascontiguousarray(inputs.swapaxes(0, 1))


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m quantize.synthesize",
        description="Make a checkpoint and a fixed-point model of a published size with random "
                    "weights and the firing rates of a trained network, for measurements that "
                    "need no accuracy.")
    parser.add_argument("name", metavar="NAME", help="one that python -m quantize.models lists")
    parser.add_argument("--seed", type=int, default=0, metavar="S",
                        help="of weights and images (0)")
    parser.add_argument("--out", type=Path, metavar="DIR",
                        help="model directory, replaced when it is complete; the checkpoint is "
                             f"written beside it, DIR.safetensors ({OUT}/NAME)")
    parser.add_argument("--bits", type=int, choices=WEIGHT_BITS, default=8, help="of a weight (8)")
    parser.add_argument("--timesteps", type=int, metavar="T", help="instead of the published T")
    parser.add_argument("--classifier", choices=[form.value for form in Classifier],
                        help="instead of the published avgpool_fc")
    parser.add_argument("--images", type=int, metavar="N",
                        help="that it is tuned on and that are put into the directory "
                             f"(8, of more than {LARGE} pixels 4)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(arguments: argparse.Namespace) -> Outcome:
    threads = torch.get_num_threads()
    # Sums in another order differ in the last bit, and the files would differ with them.
    torch.set_num_threads(1)
    try:
        return _run(arguments)
    finally:
        torch.set_num_threads(threads)


def _run(arguments: argparse.Namespace) -> Outcome:
    """Make, quantize, write; ValueError for anything wrong with the arguments."""
    network = models.find(arguments.name).network
    changes: dict[str, Any] = {}
    if arguments.timesteps is not None:
        changes["timesteps"] = arguments.timesteps
    if arguments.classifier is not None:
        changes["classifier"] = Classifier(arguments.classifier)
    network = replace(network, name=arguments.name, **changes)
    count = arguments.images
    if count is None:
        count = 4 if max(network.image_height, network.image_width) > LARGE else 8
    for option, value, least in (("images", count, 1), ("seed", arguments.seed, 0)):
        if value < least:
            raise ValueError(f"--{option} must be at least {least}, not {value!r}")
    out = arguments.out or OUT / arguments.name
    check_output(out)
    images = photos.inputs(network, count, arguments.seed)
    path = out.with_name(f"{out.name}.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".synthesize-") as temporary:
        unfinished = Path(temporary) / path.name
        reached = make_checkpoint(network, arguments.seed, images, unfinished, progress=True)
        model, stored, integers = quantize(load_checkpoint(unfinished), images, arguments.bits)
        model.save(out, stored)
        os.replace(unfinished, path)
    print("\n".join(layer_table(model)))
    print("\n".join(rate_table(reached, integers)))
    note(f"wrote {path} and {out}: synthetic, no accuracy")
    return Outcome({"checkpoint": path, "directory": out, "rates": reached})


if __name__ == "__main__":
    sys.exit(main())
