# SPDX-License-Identifier: Apache-2.0
"""A network that behaves like a trained one: `python -m quantize.synthesize NAME`.

Writes a float checkpoint and its fixed-point model directory.  Weights are random, firing rates are
those of a trained network on real pictures (`quantize.tuning`, `quantize.photos`).  What is
measured on such a network says nothing about accuracy: none is computed, and checkpoint and
manifest carry the entry `synthetic` in their provenance.
"""

import argparse
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from hw.model import WEIGHT_BITS, FixedPointModel, InputFormat, Samples, check_output
from hw.network import Classifier, NetworkConfig
from quantize import fixed, models, photos, tensor_file, tuning
from quantize.__main__ import calibrate, layer_table
from quantize.checkpoint import Checkpoint, load_checkpoint
from quantize.datasets import normalize
from quantize.fuse import fuse
from quantize.golden import GoldenModel
from quantize.options import event_format, image_format
from quantize.spikingformer import predict

OUT = Path("build/synthetic")
# Mean and standard deviation in the published training scripts.
CIFAR = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
EVENT_BITS = 4      # simulated counts are below 16; every bit more is one more plane to scan
LARGE = 64          # pixels: above, fewer images give as many statistics
LABELS = "answers of the float network"


def input_format(network: NetworkConfig) -> InputFormat:
    """Encoder integers: normalized RGB in 8 signed bits, or the event counts themselves."""
    if not network.static_input:
        return event_format(network.in_channels, EVENT_BITS)
    return image_format(*(IMAGENET if network.image_height > LARGE else CIFAR))


def model_inputs(network: NetworkConfig, calibration: int, samples: int, seed: int,
                 ) -> tuple[np.ndarray, np.ndarray]:
    """Different parts of the same photographs: for calibration, and to travel with the model."""
    inputs = photos.inputs(network, calibration + samples, seed)
    return inputs[:calibration], inputs[calibration:]


def make_checkpoint(network: NetworkConfig, seed: int, images: np.ndarray, path: Path,
                    progress: bool = False) -> list[tuning.Rate]:
    """Tune a random network to the target rates, write it to `path`, return the rates reached.

    images: calibration inputs before normalization
    """
    fmt = input_format(network)
    model, reached = tuning.tune(network, seed, normalize(images, fmt), progress=progress)
    tensor_file.write(path, model.state_dict(), {
        "network": network.to_dict(), "input": asdict(fmt), "seed": seed,
        "command": f"python -m quantize.synthesize {network.name} --seed {seed}",
        "synthetic": {"weights": "random",
                      "firing_rates": "of the authors' trained 8-512, quantize/data",
                      "images": f"{len(images)} parts of scikit-learn's sample photographs",
                      "rates": [asdict(rate) for rate in reached]}})
    return reached


def quantize(checkpoint: Checkpoint, images: np.ndarray, samples: np.ndarray, bits: int,
             ) -> tuple[FixedPointModel, Samples, dict[str, float]]:
    """The model that `python -m quantize` makes, samples, and the rates of its LIFs on these.

    images:  calibration inputs before normalization
    samples: inputs before normalization; their labels are what the float network answers
    """
    fmt, network = checkpoint.input_format, checkpoint.config
    # One by one: `calibrate` holds every tensor of a batch.
    largest = max(calibrate(checkpoint, _for_float(network, images[i:i + 1], fmt))
                  for i in range(len(images)))
    residual = fixed.residual_format(16, largest)
    model = fixed.quantize(network, fuse(network, checkpoint.state_dict), fmt, residual, bits,
                           checkpoint.provenance | {"residual_calibration_maximum": largest,
                                                    "sample_labels": LABELS})
    labels = predict(checkpoint.model(), torch.from_numpy(_for_float(network, samples, fmt)), 1)
    stored = Samples(fmt.quantize(samples), labels.argmax(1).numpy())
    rates = integer_rates(model, stored.inputs)
    synthetic = model.provenance["synthetic"] | {"integer_rates": rates}
    return replace(model, provenance=model.provenance | {"synthetic": synthetic}), stored, rates


def integer_rates(model: FixedPointModel, inputs: np.ndarray) -> dict[str, float]:
    """Firing rate of every LIF of the integer model, by `Layer.lif`."""
    golden, rates = GoldenModel(model), {}
    layers = [layer.name for layer in model.network.layers()]
    with tqdm(total=len(inputs) * len(layers), desc="integer model", unit="layer",
              leave=False) as bar:
        for number in range(len(inputs)):
            for step in golden.steps(inputs[number:number + 1]):
                if step.layer.lif:
                    fired = float(step.spikes.double().mean()) / len(inputs)
                    rates[step.layer.lif] = rates.get(step.layer.lif, 0.0) + fired
                bar.update()
    return rates


def rate_table(reached: list[tuning.Rate], integers: dict[str, float]) -> list[str]:
    """Target and reached firing rates in percent."""
    lines = [f"{'firing rate in %':<26} {'target':>7} {'float':>7} {'integer':>7}"]
    for rate in reached:
        note = "" if abs(rate.reached - rate.target) <= 0.02 * rate.target else "  not reached"
        lines.append(f"{rate.lif:<26} {100 * rate.target:>7.3f} {100 * rate.reached:>7.3f} "
                     f"{100 * integers[rate.lif]:>7.3f}{note}")
    return lines


def _for_float(network: NetworkConfig, inputs: np.ndarray, fmt: InputFormat) -> np.ndarray:
    """What the float network reads: normalized, events with the timestep leading."""
    inputs = normalize(inputs, fmt)
    return inputs if network.static_input else np.ascontiguousarray(inputs.swapaxes(0, 1))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
                        help="for calibration (32, of more than 64 pixels 4)")
    parser.add_argument("--samples", type=int, metavar="N",
                        help="images to put into the directory (8, of more than 64 pixels 2)")
    return parser


def main(argv: list[str] | None = None) -> int:
    parser = build_parser()
    arguments = parser.parse_args(argv)
    threads = torch.get_num_threads()
    # Sums in another order differ in the last bit, and the files would differ with them.
    torch.set_num_threads(1)
    try:
        run(arguments)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    finally:
        torch.set_num_threads(threads)
    return 0


def run(arguments: argparse.Namespace) -> None:
    """Make, quantize, write; ValueError for anything wrong with the arguments."""
    network = models.find(arguments.name).network
    changes: dict[str, Any] = {}
    if arguments.timesteps is not None:
        changes["timesteps"] = arguments.timesteps
    if arguments.classifier is not None:
        changes["classifier"] = Classifier(arguments.classifier)
    network = replace(network, name=arguments.name, **changes)
    large = max(network.image_height, network.image_width) > LARGE
    counts = {"images": 4 if large else 32, "samples": 2 if large else 8}
    for option in counts:
        value = getattr(arguments, option)
        if value is not None and value < 1:
            raise ValueError(f"--{option} must be at least 1, not {value!r}")
        counts[option] = counts[option] if value is None else value
    if arguments.seed < 0:
        raise ValueError(f"--seed must be at least 0, not {arguments.seed!r}")
    out = arguments.out or OUT / arguments.name
    check_output(out)
    images, samples = model_inputs(network, counts["images"], counts["samples"], arguments.seed)
    path = out.with_name(f"{out.name}.safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    reached = make_checkpoint(network, arguments.seed, images, path, progress=True)
    model, stored, integers = quantize(load_checkpoint(path), images, samples, arguments.bits)
    print("\n".join(layer_table(model)))
    print("\n".join(rate_table(reached, integers)))
    model.save(out, stored)
    print(f"wrote {path} and {out}: synthetic, no accuracy")


if __name__ == "__main__":
    sys.exit(main())
