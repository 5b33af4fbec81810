# SPDX-License-Identifier: Apache-2.0
"""The host's end of the byte link: `python -m boards.host --port /dev/ttyUSB1`.

Needs Linux or macOS: the serial port is opened through termios, without any further package.
"""

import argparse
import os
import select
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np

from boards.top import BAUD, WORD_BYTES
from hw.model import SHIPPED_MODEL, FixedPointModel, Samples, in_port_order
from hw.network import NetworkConfig

COUNTERS = 3  # ac, cycles, saturations
COUNTER_BITS = 48  # more than any counter of the accelerator has
MAX_TIMEOUT = 3600


class LinkError(RuntimeError):
    """The board does not answer, or what it answers cannot be right; one sentence."""


@dataclass(frozen=True)
class Answer:
    """What the board sends for one sample.

    logits:   int64 [classes]
    counters: int64 [layers, 3]: ac, cycles and saturations in the order of `network.layers()`
    """

    logits: np.ndarray
    counters: np.ndarray

    @property
    def predicted(self) -> int:
        return int(np.argmax(self.logits))


def encode(sample: np.ndarray, bits: int) -> bytes:
    """A sample's raw integers [C, H, W] or [T, C, H, W] as the board takes them.

    Order: `in_port_order`; each value in ceil(bits / 8) bytes, two's complement, lowest first.
    """
    raster = in_port_order(sample).astype("<i8")
    return raster.reshape(-1, 1).view(np.uint8)[:, :-(-bits // 8)].tobytes()


def answer_size(network: NetworkConfig) -> int:
    """Bytes of an answer."""
    return WORD_BYTES * (network.num_classes + COUNTERS * len(network.layers()))


def decode(data: bytes, network: NetworkConfig) -> Answer:
    """The `answer_size` bytes of an answer; LinkError if its counters are none."""
    words = np.frombuffer(data, "<i8").astype(np.int64)
    counters = words[network.num_classes:].reshape(-1, COUNTERS)
    if (counters >> COUNTER_BITS).any():
        raise LinkError("the answer has impossible counters: the board is out of step, or built "
                        "for another network; reset it")
    return Answer(words[:network.num_classes], counters)


class SerialPort:
    """A serial device, 8N1, no flow control; a context manager.

    Raises ValueError if the path is no serial device or the rate is not one of the system's.
    """

    def __init__(self, path: str, baud: int = BAUD) -> None:
        speed = getattr(termios, f"B{baud}", None)
        if speed is None or baud == 0:
            known = sorted(int(name[1:]) for name in dir(termios) if name[:1] == "B"
                           and name[1:].isdigit() and name != "B0")
            raise ValueError(f"baud must be one of {', '.join(map(str, known))}, not {baud!r}")
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise ValueError(f"port must be a serial device, not {path!r} "
                             f"({error.strerror})") from None
        try:
            iflag = oflag = lflag = 0  # raw: bytes as they are
            cflag = termios.CS8 | termios.CREAD | termios.CLOCAL
            control = termios.tcgetattr(self._fd)[6]
            control[termios.VMIN], control[termios.VTIME] = 0, 0
            termios.tcsetattr(self._fd, termios.TCSANOW,
                              [iflag, oflag, cflag, lflag, speed, speed, control])
            termios.tcflush(self._fd, termios.TCIOFLUSH)
        except termios.error as error:
            os.close(self._fd)
            raise ValueError(f"port must be a serial device, not {path!r} "
                             f"({error.args[-1]})") from None

    def __enter__(self) -> "SerialPort":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        os.close(self._fd)

    def exchange(self, request: bytes, size: int, timeout: float) -> bytes:
        """Send `request` and receive `size` bytes.

        Raises LinkError after `timeout` seconds in which no byte went either way, or when the
        device disappears.
        """
        sent, answer = 0, bytearray()
        deadline = time.monotonic() + timeout
        while sent < len(request) or len(answer) < size:
            wanted = [self._fd] if sent < len(request) else []
            readable, writable, _ = select.select([self._fd], wanted, [],
                                                  max(0, deadline - time.monotonic()))
            before = sent + len(answer)
            try:
                if readable:
                    answer += os.read(self._fd, size - len(answer) or 1)
                if writable:
                    sent += os.write(self._fd, request[sent:])
            except OSError as error:
                raise LinkError(f"the serial port failed: {error.strerror}") from None
            if len(answer) > size:  # seen only while the request is under way
                raise LinkError(f"the answer must have {size} bytes, but more came; reset the "
                                "board")
            if sent + len(answer) > before:
                deadline = time.monotonic() + timeout
            elif time.monotonic() >= deadline:
                raise LinkError(f"no byte went for {timeout:g} s: {sent} of {len(request)} bytes "
                                f"sent, {len(answer)} of {size} received; reset the board")
            elif readable:
                time.sleep(0.01)  # end of file: the other end has hung up
        return bytes(answer)


def table(network: NetworkConfig, counters: np.ndarray) -> str:
    """Accumulations, cycles and saturations by layer; counters: mean of [layers, 3]."""
    lines = [f"{'layer':<24} {'AC':>14} {'cycles':>14} {'saturations':>12}"]
    for name, row in [*zip((layer.name for layer in network.layers()), counters),
                      ("total", counters.sum(0))]:
        lines.append(f"{name:<24} {row[0]:>14,.0f} {row[1]:>14,.0f} {row[2]:>12,.0f}")
    return "\n".join(lines)


def run(port: SerialPort, model: FixedPointModel, samples: Samples, timeout: float) -> None:
    """Send every sample, print each answer as it comes, and the mean counters at the end."""
    network, total, right = model.network, 0, 0
    for number, (values, label) in enumerate(zip(samples.inputs, samples.labels)):
        answer = decode(port.exchange(encode(values, model.input.bits), answer_size(network),
                                      timeout), network)
        right += answer.predicted == label
        total = total + answer.counters
        acs, cycles, _ = answer.counters.sum(0)
        print(f"image {number}: predicted {answer.predicted}, true label {label}; "
              f"{acs:,} AC in {cycles:,} cycles", flush=True)
    count = len(samples.labels)
    if count > 1:
        print(f"{right} of {count} labels predicted; mean of an image:")
    print(table(network, total / count))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m boards.host",
        description="Send held-out samples to a board and print what it predicts and counts.")
    parser.add_argument("--port", required=True, metavar="DEV",
                        help="serial device of the board, for example /dev/ttyUSB1")
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, metavar="DIR",
                        help="model directory that the board was built from (the shipped digits "
                             "network)")
    parser.add_argument("--samples", type=int, default=1, metavar="N",
                        help="held-out samples to send (1)")
    parser.add_argument("--baud", type=int, default=BAUD, metavar="N",
                        help=f"bits per second, as built ({BAUD})")
    parser.add_argument("--timeout", type=float, default=10, metavar="SECONDS",
                        help="give up after so long without a byte (10)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 if the board does not answer as it should; 2 for bad input."""
    arguments = build_parser().parse_args(argv)
    try:
        if not 0 < arguments.timeout <= MAX_TIMEOUT:
            raise ValueError(f"--timeout must be positive and at most {MAX_TIMEOUT}, "
                             f"not {arguments.timeout!r}")
        model, stored = FixedPointModel.load(arguments.model), Samples.load(arguments.model)
        if not 1 <= arguments.samples <= len(stored.labels):
            raise ValueError(f"--samples must be 1 to {len(stored.labels)}, the number of samples "
                             f"of the model directory, not {arguments.samples!r}")
        samples = Samples(stored.inputs[:arguments.samples], stored.labels[:arguments.samples])
        with SerialPort(arguments.port, arguments.baud) as port:
            run(port, model, samples, arguments.timeout)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except LinkError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
