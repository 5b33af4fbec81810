# SPDX-License-Identifier: Apache-2.0
"""The host's program: `python -m boards.host --port /dev/ttyUSB1 infer IMAGE`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boards.driver import Answer, RemoteBoard, reply_seconds
from boards.serial_port import LinkError, SerialPort
from boards.top import BAUD
from hw.command import Outcome, Parser, execute, progress_bar
from hw.identity import ANY_MODEL, Identity
from hw.model import SHIPPED_MODEL, FixedPointModel, Samples
from hw.network import NetworkConfig
from hw.tiles import check_image

MAX_TIMEOUT = 3600
IMAGE_SUFFIXES = (".npy", ".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm",
                  ".ppm")


@dataclass(frozen=True)
class Inputs:
    """What to infer: raw integers, a name and, where it is known, the label of each."""

    values: Sequence[np.ndarray]
    names: Sequence[str]
    labels: Sequence[int | None]


def image_files(paths: Sequence[Path]) -> list[Path]:
    """The files, and of each folder those that are pictures or arrays, by name.

    Raises ValueError for what is neither, and for a folder without any.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(each for each in path.iterdir()
                           if each.suffix.lower() in IMAGE_SUFFIXES and each.is_file())
            if not found:
                raise ValueError(f"folder must hold pictures or .npy files, not {str(path)!r}")
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise ValueError(f"image must be a file or a folder, not {str(path)!r}")
    return files


def load_images(paths: Sequence[Path], model: FixedPointModel) -> Inputs:
    """Pictures in the integers of the model's input; all are read before any is sent."""
    from quantize.datasets import load_image  # only here: it brings the data sets along

    files = image_files(paths)
    return Inputs([model.input.quantize(load_image(path, model.network)) for path in files],
                  [str(path) for path in files], [None] * len(files))


def load_samples(directory: Path, count: int) -> Inputs:
    """The first held-out samples of a model directory; ValueError if there are not as many."""
    stored = Samples.load(directory)
    if not 1 <= count <= len(stored.labels):
        raise ValueError(f"samples must be 1 to {len(stored.labels)}, the number of samples "
                         f"of the model directory, not {count!r}")
    return Inputs(list(stored.inputs[:count]), [f"sample {n}" for n in range(count)],
                  [int(label) for label in stored.labels[:count]])


def table(network: NetworkConfig, counters: np.ndarray) -> str:
    """Accumulations, cycles and saturations by layer; counters: mean of [layers, 3]."""
    lines = [f"{'layer':<24} {'AC':>14} {'cycles':>14} {'saturations':>12}"]
    for name, row in [*zip((layer.name for layer in network.layers()), counters),
                      ("total", counters.sum(0))]:
        lines.append(f"{name:<24} {row[0]:>14,.0f} {row[1]:>14,.0f} {row[2]:>12,.0f}")
    return "\n".join(lines)


def answer_line(name: str, label: int | None, answer: Answer, model: FixedPointModel) -> str:
    """Prediction, cost and logits of one inference."""
    acs, cycles, _ = answer.counters.sum(0)
    truth = "" if label is None else f", true label {label}"
    logits = " ".join(f"{value:.3f}" for value in answer.logits * model.logit_scale)
    return (f"{name}: predicted {answer.predicted}{truth}; {acs:,} AC in {cycles:,} cycles; "
            f"logits {logits}")


def infer(board: RemoteBoard, model: FixedPointModel, inputs: Inputs,
          go_on: bool = False) -> list[Answer | None]:
    """Send everything, print each answer as it comes, then the mean counters.

    go_on: an inference that fails is told and None, and the next one follows; else LinkError
    """
    answers: list[Answer | None] = []
    count = len(inputs.values)
    bar = progress_bar(inputs.values, unit="image", leave=False,
                       disable=None if count > 1 else True)
    for name, label, values in zip(inputs.names, inputs.labels, bar):
        try:
            answers.append(board.infer(values))
            bar.write(answer_line(name, label, answers[-1], model))
        except LinkError as error:
            if not go_on:
                raise
            answers.append(None)
            bar.write(f"{name}: failed: {error}")
    right = [answer.predicted == label for answer, label in zip(answers, inputs.labels)
             if answer is not None and label is not None]
    if len(right) > 1:
        print(f"{sum(right)} of {len(right)} labels predicted")
    counters = [answer.counters for answer in answers if answer is not None]
    if len(counters) > 1:
        print("mean of an image:")
    if counters:
        print(table(model.network, np.mean(counters, axis=0)))
    if board.retries:
        print(f"{board.retries} requests were repeated: the line is not clean")
    return answers


def load(board: RemoteBoard, address: int, data: bytes) -> None:
    """Write an image into the board's memory, under a progress bar, and let the board check it.

    Raises ValueError, before anything is written, unless it is a whole image for that board.
    """
    check_image(data, board.identity.hardware)
    with progress_bar(total=len(data), unit="B", unit_scale=True, leave=False) as bar:
        board.write(address, data, bar.update)
    print(f"wrote {len(data):,} bytes at {address:#x}")
    if address == 0:   # elsewhere nobody looks at it
        board.verify()
        print("the board has read it back: its CRC is right")


def describe(identity: Identity) -> str:
    """What a board says of itself, in lines."""
    weights = ("any, written by the host" if identity.writable else
               "any" if identity.model == ANY_MODEL else identity.model.hex())
    return "\n".join((
        f"model      {weights}", f"hardware   {identity.hardware.hex()}",
        f"clock      {identity.clock_hz / 1e6:g} MHz",
        f"input      {identity.samples:,} samples of {identity.input_bits} bits",
        f"output     {identity.classes} classes, counters of {identity.layers} layers"))


def build_parser() -> Parser:
    parser = Parser(
        prog="python -m boards.host",
        description="Let a board infer, and print what it predicts and counts.")
    parser.add_argument("--port", required=True, metavar="DEV",
                        help="serial device of the board, for example /dev/ttyUSB1")
    parser.add_argument("--baud", type=int, default=BAUD, metavar="N",
                        help=f"bits per second, as built ({BAUD})")
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, metavar="DIR",
                        help="model directory that the board was built from (the shipped digits "
                             "network)")
    parser.add_argument("--timeout", type=float, default=10, metavar="SECONDS",
                        help="that an inference may take (10)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("identify", help="say what the board is; any board, whatever the model")
    commands.add_parser("status", help="say what the board is doing")
    image = commands.add_parser("infer", help="infer on pictures (.png, .jpg, ...) or .npy arrays")
    image.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="files and folders")
    samples = commands.add_parser("samples", help="infer on held-out samples of the model")
    samples.add_argument("count", type=int, metavar="N")
    write = commands.add_parser("load", help="write an image into the board's volatile memory")
    write.add_argument("image", type=Path, metavar="FILE", help="images/weights.bin of a build")
    write.add_argument("--address", type=lambda text: int(text, 0), default=0, metavar="BYTES",
                       help="where it goes (0)")
    return parser


def run(arguments: argparse.Namespace) -> Outcome:
    """ValueError for bad input, before anything is sent where that can be seen."""
    if not 0 < arguments.timeout <= MAX_TIMEOUT:
        raise ValueError(f"--timeout must be positive and at most {MAX_TIMEOUT}, "
                         f"not {arguments.timeout!r}")
    model = inputs = data = None
    if arguments.command in ("infer", "samples"):
        model = FixedPointModel.load(arguments.model)
        inputs = (load_images(arguments.paths, model) if arguments.command == "infer"
                  else load_samples(arguments.model, arguments.count))
    elif arguments.command == "load":
        data = arguments.image.read_bytes()
        check_image(data)
    with SerialPort(arguments.port, arguments.baud) as port:
        board = RemoteBoard(port, model, arguments.timeout, reply_seconds(arguments.baud),
                            reset=arguments.command != "status")
        if inputs is not None:
            answers = infer(board, model, inputs)
            return Outcome({"answers": [
                {"name": name, "label": label, "predicted": answer.predicted,
                 "logits": answer.logits, "counters": answer.counters}
                for name, label, answer in zip(inputs.names, inputs.labels, answers)]})
        if data is not None:
            load(board, arguments.address, data)
            return Outcome({"bytes": len(data), "address": arguments.address})
        if arguments.command == "identify":
            print(describe(board.identity))
            return Outcome({"identity": {
                name: value.hex() if isinstance(value, bytes) else value
                for name, value in vars(board.identity).items()}})
        else:
            status = board.status()
            doing = ("inferring" if status.active else
                     "has an answer" if status.complete else "idle")
            print(f"{doing}; waits for {status.missing:,} bytes of samples; {status.bad_frames:,} "
                  f"bad frames since reset; flags {status.flags.value:#04x}"
                  f"{''.join(f' {flag.name.lower()}' for flag in status.flags)}")
            return Outcome({"doing": doing, "missing": status.missing,
                            "bad_frames": status.bad_frames,
                            "flags": [flag.name.lower() for flag in status.flags]})


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 if the board does not answer as it should; 2 for bad input."""
    return execute(build_parser(), run, argv)


if __name__ == "__main__":
    sys.exit(main())
