# SPDX-License-Identifier: Apache-2.0
"""Training on data that packages ship: `python -m quantize.train` makes the shipped checkpoint.

AdamW with a cosine schedule, images shifted by up to one pixel, the weights of the last epoch (no
choice is made by looking at the held-out images).  Every random choice of an epoch derives from
(seed, epoch), so a run that was interrupted and resumed ends with the weights of one that was not.
"""

import argparse
import hashlib
import math
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hw.command import Outcome, Parser, execute, progress_bar
from hw.network import Classifier, NetworkConfig
from quantize import datasets, tensor_file
from quantize.options import parse_pool_stages
from quantize.spikingformer import Spikingformer, predict


def check_settings(settings: Any, least: Mapping[str, int], numbers: Sequence[str]) -> None:
    """ValueError unless each count is at least what `least` says, and each of `numbers` is finite
    and not negative.
    """
    for name, limit in least.items():
        if getattr(settings, name) < limit:
            raise ValueError(f"{name} must be at least {limit}, not {getattr(settings, name)!r}")
    for name in numbers:
        value = getattr(settings, name)
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be a number of at least 0, not {value!r}")


@dataclass(frozen=True)
class Settings:
    """How to train; `ValueError`, one sentence, for a value out of its range.

    learning_rate: peak of the schedule: linear over the first `warmup` epochs (a fraction of one
                   will do), then a cosine to 0.
    shift:         images are moved by -shift to +shift pixels in both directions, zeros enter.
    """

    epochs: int = 60
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    warmup: float = 3
    shift: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_settings(self, {"epochs": 1, "batch_size": 2, "shift": 0, "seed": 0},
                       ("warmup", "learning_rate", "weight_decay", "label_smoothing"))

    def rate(self, step: int, steps_per_epoch: int) -> float:
        """Learning rate of a step counted from the start of the training."""
        progress = (step + 1) / steps_per_epoch
        if progress < self.warmup:
            return self.learning_rate * progress / self.warmup
        rest = max(self.epochs - self.warmup, 1 / steps_per_epoch)
        return self.learning_rate * (1 + math.cos(math.pi * (progress - self.warmup) / rest)) / 2


def shifted(images: Tensor, shift: int, generator: torch.Generator) -> Tensor:
    """Each image [n, C, H, W] moved by its own -shift to +shift pixels, zeros entering."""
    if not shift:
        return images
    height, width = images.shape[-2:]
    padded = nn.functional.pad(images, (shift,) * 4)
    offsets = torch.randint(0, 2 * shift + 1, (len(images), 2), generator=generator).tolist()
    return torch.stack([image[:, y:y + height, x:x + width]
                        for image, (y, x) in zip(padded, offsets, strict=True)])


class Trainer:
    """A model, its optimizer and the number of finished epochs: all that a resumed run needs."""

    def __init__(self, network: NetworkConfig, settings: Settings,
                 images: Tensor, labels: Tensor) -> None:
        if len(images) < settings.batch_size:
            raise ValueError(f"batch_size must be at most the {len(images)} training images, "
                             f"not {settings.batch_size!r}")
        torch.manual_seed(settings.seed)
        self.network, self.settings = network, settings
        self.images, self.labels = images, labels
        self.model = Spikingformer(network)
        # Neither biases nor BatchNorm are decayed: a BatchNorm scale of 0 silences a channel.
        parts = [[p for p in self.model.parameters() if (p.dim() > 1) == wide]
                 for wide in (True, False)]
        self.optimizer = torch.optim.AdamW([
            {"params": parts[0], "weight_decay": settings.weight_decay},
            {"params": parts[1], "weight_decay": 0.0}], lr=settings.learning_rate)
        self.epoch = 0

    def run_epoch(self) -> float:
        """Train on every image once; the mean loss.  A last, smaller batch is left out."""
        settings = self.settings
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.images), generator=generator)
        steps = len(order) // settings.batch_size
        self.model.train()
        total = 0.0
        for step in range(steps):
            chosen = order[step * settings.batch_size:(step + 1) * settings.batch_size]
            for group in self.optimizer.param_groups:
                group["lr"] = settings.rate(self.epoch * steps + step, steps)
            logits = self.model(shifted(self.images[chosen], settings.shift, generator))
            loss = nn.functional.cross_entropy(logits, self.labels[chosen],
                                               label_smoothing=settings.label_smoothing)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        self.epoch += 1
        return total / steps

    def _identity(self) -> dict[str, Any]:
        data = hashlib.sha256(self.images.numpy().tobytes() + self.labels.numpy().tobytes())
        return {"network": self.network.to_dict(), "settings": asdict(self.settings),
                "data": data.hexdigest()}

    def save(self, path: Path) -> None:
        """Write the state of an unfinished run; the file appears complete or not at all."""
        with tensor_file.replacing(path) as temporary:
            torch.save(self._identity() | {
                "epoch": self.epoch, "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict()}, temporary)

    def load(self, path: Path) -> None:
        """Continue from a state file; ValueError if it is damaged or of another run."""
        if not path.is_file():
            raise ValueError(f"--resume needs the state of an interrupted run, which "
                             f"{str(path)!r} is not")
        try:
            state = torch.load(path, weights_only=True)
        except Exception:  # a damaged pickle can raise anything
            raise ValueError(f"{path} is not a whole training state") from None
        if not isinstance(state, dict):
            raise ValueError(f"{path} is not a whole training state")
        for name, value in self._identity().items():
            if state.get(name) != value:
                raise ValueError(f"{path} must be of a run with the same {name}, which it is not")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]


def accuracy(model: Spikingformer, images: Tensor, labels: Tensor) -> float:
    """Share of normalized images that the model labels correctly."""
    return (predict(model, images).argmax(1) == labels).double().mean().item()


def train(dataset: datasets.Dataset, network: NetworkConfig, settings: Settings, out: Path,
          resume: bool = False, command: str = "") -> float:
    """Train, write the checkpoint `out`, and return the accuracy on the held-out images.

    The state of an unfinished run lies beside `out`, with `.state` appended; it is written after
    each epoch and removed at the end.
    """
    fmt = datasets.input_format(dataset.name)
    images, test_images = (torch.from_numpy(datasets.normalize(part, fmt))
                           for part in (dataset.train_images, dataset.test_images))
    trainer = Trainer(network, settings, images, torch.from_numpy(dataset.train_labels))
    state = out.with_name(out.name + ".state")
    if resume:
        trainer.load(state)
    with progress_bar(total=settings.epochs, initial=trainer.epoch, unit="epoch") as bar:
        while trainer.epoch < settings.epochs:
            loss = trainer.run_epoch()
            trainer.save(state)
            bar.set_postfix(loss=f"{loss:.4f}")
            bar.update()
    result = accuracy(trainer.model, test_images, torch.from_numpy(dataset.test_labels))
    tensors = {name: tensor for name, tensor in trainer.model.state_dict().items()
               if not name.endswith("num_batches_tracked")}  # counts batches, computes nothing
    tensor_file.write(out, tensors, {
        "network": network.to_dict(), "input": asdict(fmt), "dataset": dataset.name,
        "split": dataset.split, "seed": settings.seed, "command": command,
        "accuracy": result, "images": len(dataset.test_labels), "settings": asdict(settings),
        "torch": torch.__version__})
    state.unlink(missing_ok=True)
    return result


# Sizes that the data sets are trained with unless the command line says otherwise.
_DEFAULTS = {"digits": {"pool_stages": "FFFT", "epochs": 60},
             "mnist5k": {"pool_stages": "TTFF", "epochs": 12},
             "fashion": {"pool_stages": "TTTF", "epochs": 5}}


def build_parser() -> Parser:
    settings = Settings()
    parser = Parser(prog="python -m quantize.train",
                                     description="Train a Spikingformer on data that installed "
                                     "packages ship, and write a checkpoint.")
    parser.add_argument("--dataset", choices=datasets.NAMES, default="digits")
    parser.add_argument("--embed-dim", type=int, default=64, metavar="D")
    parser.add_argument("--depth", type=int, default=1, metavar="L", help="number of blocks")
    parser.add_argument("--heads", type=int, default=4, metavar="N")
    parser.add_argument("--timesteps", type=int, default=4, metavar="T")
    parser.add_argument("--tau", type=float, default=2.0, help="2.0 or 1.5")
    parser.add_argument("--mlp-ratio", type=float, default=4.0, metavar="R")
    parser.add_argument("--pool-stages", metavar="FFTT", type=parse_pool_stages,
                        help="whether tokenizer stages 1 to 4 pool")
    parser.add_argument("--classifier", choices=[form.value for form in Classifier],
                        default=Classifier.AVGPOOL_FC.value)
    parser.add_argument("--epochs", type=int, metavar="N")
    parser.add_argument("--batch-size", type=int, default=settings.batch_size, metavar="N")
    parser.add_argument("--lr", type=float, default=settings.learning_rate, metavar="RATE")
    parser.add_argument("--warmup", type=float, default=settings.warmup, metavar="EPOCHS",
                        help="length of the linear rise of the rate (default: %(default)s)")
    parser.add_argument("--weight-decay", type=float, default=settings.weight_decay, metavar="W")
    parser.add_argument("--seed", type=int, default=settings.seed, metavar="N",
                        help="of weights, order and shifts; the split has its own, fixed seed")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        help="checkpoint to write (build/DATASET.safetensors)")
    parser.add_argument("--resume", action="store_true",
                        help="continue an interrupted run with the same options")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 2 for bad input."""
    return execute(build_parser(), run, argv)


def run(args: argparse.Namespace) -> Outcome:
    defaults = _DEFAULTS[args.dataset]
    out = args.out or Path("build") / f"{args.dataset}.safetensors"
    if out.suffix != ".safetensors":
        raise ValueError(f"--out must end in .safetensors, not {str(out)!r}")
    recorded = [word for word in args.words if word != "--resume"]
    started = time.process_time()
    dataset = datasets.load(args.dataset)
    network = NetworkConfig(
        embed_dim=args.embed_dim, depth=args.depth, num_heads=args.heads,
        timesteps=args.timesteps, in_channels=dataset.train_images.shape[1],
        image_height=dataset.train_images.shape[2], image_width=dataset.train_images.shape[3],
        num_classes=dataset.num_classes, tau=args.tau, mlp_ratio=args.mlp_ratio,
        pool_stages=args.pool_stages or parse_pool_stages(defaults["pool_stages"]),
        classifier=Classifier(args.classifier), name=args.dataset)
    settings = Settings(epochs=defaults["epochs"] if args.epochs is None else args.epochs,
                        batch_size=args.batch_size, learning_rate=args.lr,
                        weight_decay=args.weight_decay, warmup=args.warmup, seed=args.seed)
    try:
        result = train(dataset, network, settings, out, args.resume,
                       shlex.join(["python", "-m", "quantize.train", *recorded]))
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command with --resume continues") from None
    images = len(dataset.test_labels)
    print(f"accuracy {result:.2%} ({round(result * images)} of {images} held-out images), "
          f"{time.process_time() - started:.0f} CPU s, wrote {out}")
    return Outcome({"checkpoint": out, "accuracy": result, "images": images})


if __name__ == "__main__":
    sys.exit(main())
