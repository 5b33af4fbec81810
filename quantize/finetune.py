# SPDX-License-Identifier: Apache-2.0
"""Quantization-aware fine-tuning: `python -m quantize.finetune CHECKPOINT --bits 4 --out FILE`.

Starts from a trained checkpoint and trains its float weights through their integers
(`quantize.fake`): weights, biases, thresholds and residual stream on exactly the grids that
`python -m quantize --bits N` will choose.  Scales and the residual format are chosen anew while
training goes on.  BatchNorm's statistics stay.  AdamW, cosine schedule, the weights of the last
epoch: no choice is made by looking at the held-out images.
"""

import argparse
import math
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hw.command import Outcome, Parser, execute, progress_bar
from hw.model import WEIGHT_BITS, FixedPointModel, ResidualFormat
from hw.options import positive
from quantize import datasets, fixed, unfuse
from quantize.checkpoint import Checkpoint, load_checkpoint
from quantize.fake import FakeQuantized
from quantize.fuse import fuse
from quantize.golden import GoldenModel
from quantize.pipeline import CALIBRATION_IMAGES, calibrate
from quantize.train import check_settings, shifted

LOSS_IMAGES = 2000   # enough for three digits


@dataclass(frozen=True)
class Settings:
    """How to fine-tune; `ValueError`, one sentence, for a value out of its range.

    learning_rate: at the start; a cosine takes it to 0
    shift:         images are moved by -shift to +shift pixels, zeros enter
    refresh:       steps after which scales are chosen anew
    images:        training images of an epoch, other ones in each; None: all
    """

    bits: int = 4
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 5e-4
    label_smoothing: float = 0.05
    shift: int = 1
    refresh: int = 1
    residual_width: int = 16
    seed: int = 0
    images: int | None = None

    def __post_init__(self) -> None:
        if self.bits not in WEIGHT_BITS:
            raise ValueError(f"bits must be one of {WEIGHT_BITS}, not {self.bits!r}")
        if self.images is not None:
            check_settings(self, {"images": self.batch_size}, ())
        check_settings(self, {"epochs": 1, "batch_size": 1, "shift": 0, "refresh": 1, "seed": 0},
                       ("learning_rate", "label_smoothing"))
        fixed.residual_format(self.residual_width, 1.0)


@dataclass(frozen=True)
class Result:
    """Of the integers before and after, and the checkpoint after.

    before, after: correct labels among `images` held-out images
    gained, lost:  of these the ones that are correct only after, and only before
    losses:        mean cross-entropy on the first LOSS_IMAGES training images, before and after
    """

    images: int
    before: int
    after: int
    gained: int
    lost: int
    losses: tuple[float, float]
    checkpoint: Checkpoint

    @property
    def chance(self) -> float:
        """Exact two-sided McNemar test: how likely so uneven a split of the images that changed is
        if gaining and losing one were equally likely.
        """
        changed = self.gained + self.lost
        tail = sum(math.comb(changed, k) for k in range(min(self.gained, self.lost) + 1))
        return min(1.0, 2 * tail / 2 ** changed)


def integers(checkpoint: Checkpoint, bits: int, images: np.ndarray,
             residual_width: int = 16) -> FixedPointModel:
    """What `python -m quantize --bits N` makes of a checkpoint with a data set.

    images: training images [n, C, H, W] in [0, 1], of which the first are for calibration
    """
    return fixed.quantize(checkpoint.config, fuse(checkpoint.config, checkpoint.state_dict),
                          checkpoint.input_format, _residual(checkpoint, images, residual_width),
                          bits)


def _residual(checkpoint: Checkpoint, images: np.ndarray, width: int) -> ResidualFormat:
    part = datasets.normalize(images[:CALIBRATION_IMAGES], checkpoint.input_format)
    return fixed.residual_format(width, calibrate(checkpoint, part))


def right(model: FixedPointModel, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Which images in [0, 1] the golden model labels correctly, bool [n]."""
    return GoldenModel(model).logits(model.input.quantize(images)).argmax(1) == labels


def mean_loss(model: FixedPointModel, images: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy of the golden model's logits on images in [0, 1]."""
    logits = GoldenModel(model).logits(model.input.quantize(images)) * model.logit_scale
    return nn.functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels)).item()


def finetune(checkpoint: Checkpoint, dataset: datasets.Dataset, settings: Settings,
             samples: int | None = None) -> Result:
    """Train the weights of a checkpoint through their integers.

    samples: held-out images to measure on, the first ones; None: all

    Deterministic in the settings.  ValueError if the data set does not fit the network.
    """
    network, images = checkpoint.config, dataset.train_images
    shape = (network.in_channels, network.image_height, network.image_width)
    if not network.static_input or images.shape[1:] != shape \
            or dataset.num_classes != network.num_classes:
        raise ValueError(f"the data set must have images of shape {shape} and "
                         f"{network.num_classes} classes, not {images.shape[1:]} and "
                         f"{dataset.num_classes}")
    if len(images) < settings.batch_size:
        raise ValueError(f"batch_size must be at most the {len(images)} training images, "
                         f"not {settings.batch_size!r}")
    held_out = (dataset.test_images[:samples], dataset.test_labels[:samples])
    before = integers(checkpoint, settings.bits, images, settings.residual_width)
    fake = FakeQuantized(checkpoint, settings.bits, before.residual)
    inputs = torch.from_numpy(checkpoint.input_format.quantize(images))
    labels = torch.from_numpy(dataset.train_labels)
    optimizer = torch.optim.AdamW(fake.model.parameters(), lr=settings.learning_rate,
                                  weight_decay=0.0)
    tuned = checkpoint
    with progress_bar(total=settings.epochs, desc=f"{settings.bits}-bit fine-tuning", unit="epoch",
              disable=None) as bar:
        for epoch in range(settings.epochs):
            loss = _run_epoch(fake, optimizer, inputs, labels, settings, epoch)
            tuned = replace(checkpoint, state_dict=fake.state())
            fake.refresh(_residual(tuned, images, settings.residual_width))
            bar.set_postfix(loss=f"{loss:.4f}")
            bar.update()
    after = integers(tuned, settings.bits, images, settings.residual_width)
    losses = tuple(mean_loss(model, images[:LOSS_IMAGES], dataset.train_labels[:LOSS_IMAGES])
                   for model in (before, after))
    first, last = (right(model, *held_out) for model in (before, after))
    return Result(len(first), int(first.sum()), int(last.sum()), int((last & ~first).sum()),
                  int((first & ~last).sum()), losses, tuned)


def _run_epoch(fake: FakeQuantized, optimizer: torch.optim.Optimizer, inputs: Tensor,
               labels: Tensor, settings: Settings, epoch: int) -> float:
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + epoch)
    order = torch.randperm(len(inputs), generator=generator)[:settings.images]
    steps, total = len(order) // settings.batch_size, 0.0
    for step in range(steps):
        if step and step % settings.refresh == 0:
            fake.refresh(fake.residual)
        progress = (epoch * steps + step) / (settings.epochs * steps)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * (1 + math.cos(math.pi * progress)) / 2
        chosen = order[step * settings.batch_size:(step + 1) * settings.batch_size]
        logits = fake(shifted(inputs[chosen], settings.shift, generator))
        loss = nn.functional.cross_entropy(logits, labels[chosen],
                                           label_smoothing=settings.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / steps


def build_parser() -> Parser:
    settings = Settings()
    parser = Parser(
        prog="python -m quantize.finetune",
        description="Recover accuracy at few bits: train a checkpoint through its integers.")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT",
                        help="of quantize.train, or another .safetensors with our metadata; or a "
                             "model directory, whose integers are taken as weights")
    parser.add_argument("--bits", type=int, choices=WEIGHT_BITS, default=settings.bits,
                        help="of a weight (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE",
                        help="checkpoint to write, for python -m quantize --bits N")
    parser.add_argument("--dataset", choices=datasets.NAMES,
                        help="default: that of the checkpoint")
    parser.add_argument("--epochs", type=int, default=settings.epochs, metavar="N")
    parser.add_argument("--images", type=int, metavar="N",
                        help="training images of an epoch, other ones in each (default: all)")
    parser.add_argument("--samples", type=positive, metavar="N",
                        help="held-out images to measure on (default: all)")
    parser.add_argument("--batch-size", type=int, default=settings.batch_size, metavar="N")
    parser.add_argument("--lr", type=float, default=settings.learning_rate, metavar="RATE")
    parser.add_argument("--refresh", type=int, default=settings.refresh, metavar="STEPS",
                        help="after which scales are chosen anew (%(default)s)")
    parser.add_argument("--residual-width", type=int, default=settings.residual_width,
                        metavar="BITS", help="as for python -m quantize (%(default)s)")
    parser.add_argument("--seed", type=int, default=settings.seed, metavar="N")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0, or 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(args: argparse.Namespace) -> Outcome:
    started = time.process_time()
    if args.out.suffix != ".safetensors":
        raise ValueError(f"--out must end in .safetensors, not {str(args.out)!r}")
    settings = Settings(bits=args.bits, epochs=args.epochs, batch_size=args.batch_size,
                        learning_rate=args.lr, refresh=args.refresh,
                        residual_width=args.residual_width, seed=args.seed,
                        images=args.images)
    checkpoint = (unfuse.load(args.checkpoint) if args.checkpoint.is_dir()
                  else load_checkpoint(args.checkpoint))
    name = args.dataset or checkpoint.dataset
    if name is None:
        raise ValueError("the checkpoint names no data set: --dataset must")
    dataset = datasets.load(name)
    result = finetune(checkpoint, dataset, settings, args.samples)
    provenance = {key: value for key, value in checkpoint.provenance.items()
                  if key not in ("accuracy", "images")}
    replace(result.checkpoint, dataset=name, provenance=provenance | {
        "finetuned": {"command": shlex.join(["python", "-m", "quantize.finetune", *args.words]),
                      "settings": asdict(settings), "images": result.images,
                      "accuracy_before": result.before / result.images,
                      "accuracy_after": result.after / result.images,
                      "torch": torch.__version__}}).save(args.out)
    n = result.images
    print("loss on training images: "
          f"{result.losses[0]:.3f} before, {result.losses[1]:.3f} after")
    print(f"{args.bits}-bit integers, {n} held-out images: {result.before / n:.2%} before, "
          f"{result.after / n:.2%} after ({result.before} and {result.after} correct)")
    print(f"{result.gained} images gained, {result.lost} lost: by chance with a probability of "
          f"{result.chance:.2g} (McNemar)")
    print(f"{time.process_time() - started:.0f} CPU s, wrote {args.out}")
    return Outcome({"checkpoint": args.out, "images": n, "accuracy_before": result.before / n,
                    "accuracy_after": result.after / n, "gained": result.gained,
                    "lost": result.lost, "chance": result.chance, "losses": result.losses})


if __name__ == "__main__":
    sys.exit(main())
