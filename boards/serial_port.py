# SPDX-License-Identifier: Apache-2.0
"""A serial device through termios: Linux and macOS, without any further package."""

import os
import select
import termios
import time
from types import TracebackType

from hw.command import CommandError


class LinkError(CommandError):
    """The board does not answer, or what it answers cannot be right; one sentence."""


class SerialPort:
    """A serial device, 8N1, no flow control; a context manager.

    Raises ValueError if the path is no serial device or the rate is not one of the system's.
    """

    def __init__(self, path: str, baud: int) -> None:
        speed = getattr(termios, f"B{baud}", None)
        if speed is None or baud == 0:
            known = sorted(int(name[1:]) for name in dir(termios) if name[:1] == "B"
                           and name[1:].isdigit() and name != "B0")
            raise ValueError(f"baud must be one of {', '.join(map(str, known))}, not {baud!r}")
        self.path = path
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
        self.close()

    def close(self) -> None:
        os.close(self._fd)

    def write(self, data: bytes, timeout: float) -> None:
        """Send all of `data`.

        Raises LinkError after `timeout` seconds in which no byte went, or when the device is gone.
        """
        sent, deadline = 0, time.monotonic() + timeout
        while sent < len(data):
            _, writable, _ = select.select([], [self._fd], [],
                                           max(0, deadline - time.monotonic()))
            if not writable:
                raise LinkError(f"the port {self.path} took {sent} of {len(data)} bytes, and none "
                                f"for {timeout:g} s")
            try:
                sent += os.write(self._fd, data[sent:])
            except BlockingIOError:
                continue
            except OSError as error:
                raise LinkError(f"the port {self.path} failed: {error.strerror}") from None
            deadline = time.monotonic() + timeout

    def read(self, timeout: float) -> bytes:
        """What has come, as soon as there is something; nothing after `timeout` seconds.

        Raises LinkError when the device is gone.
        """
        readable, _, _ = select.select([self._fd], [], [], max(0, timeout))
        if not readable:
            return b""
        try:
            data = os.read(self._fd, 1 << 16)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise LinkError(f"the port {self.path} failed: {error.strerror}") from None
        if not data:   # end of file: the other end has hung up
            raise LinkError(f"the port {self.path} failed: the other end has hung up")
        return data
