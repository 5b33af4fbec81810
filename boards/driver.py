# SPDX-License-Identifier: Apache-2.0
"""The host's end of the link: requests that are repeated until their reply comes, or an error.

A request keeps its sequence number when it is repeated, and the board carries out none twice, so no
inference is lost, repeated or mixed with another one silently.
"""

import contextlib
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from boards.frames import (
    ERROR,
    FRAME_WORDS,
    MAX_PAYLOAD,
    OVERHEAD,
    READ,
    REPLY,
    WORD_BYTES,
    Command,
    Error,
    Flag,
    Frame,
    Parser,
    Status,
)
from boards.serial_port import LinkError
from hw.identity import COUNTERS, Identity
from hw.model import FixedPointModel, in_port_order

# Until a reply's first byte; USB and the board together need some milliseconds.
REPLY_SECONDS = 0.5
# Without a byte after which the rest of a reply is not waited for.
QUIET_SECONDS = 0.1
ATTEMPTS = 10
LEAST_WRITE = 32  # bytes of a frame of weights
LEAST_WORDS = 4   # of a frame of an answer: a shorter one hardly has better chances
# Between questions whether an inference is done: at first, and at most.
POLL_SECONDS = (0.001, 0.05)
WRITE_BYTES = MAX_PAYLOAD - WORD_BYTES   # of a frame, besides the address

_REASONS = {
    Error.COMMAND: "the board knows no such request: it has no memory that the host writes, or "
                   "speaks another protocol",
    Error.SEQUENCE: "the board got requests of another program in between; open the port anew",
    Error.LENGTH: "the board expects another number of samples or words: it is built for another "
                  "network",
    Error.STALLED: "the accelerator took no samples, or the memory no words: the weights may not "
                   "be loaded",
    Error.EMPTY: "the board has no answer: it was reset in between",
    Error.BUSY: "the inference does not end in time; a longer --timeout may help",
    Error.FAULT: "the accelerator has stopped because of a fault",
}
_FAULTS = {
    Flag.BAD_IMAGE: "the weights in the board's memory are damaged, or no image for this "
                    "accelerator; load them again",
    Flag.RESPONSE: "the board's memory answered the accelerator with an error",
    Flag.SILENCE: "the board's memory did not answer the accelerator in time",
    Flag.PARITY: "a word in a memory of the accelerator has changed (parity); if it happens again "
                 "after a reset, program the board again",
    Flag.DEAD_MEMORY: "the board found no time at which its memory is read right; a reset tries "
                      "again",
}


# Of the image in a memory chip.
VERDICTS = Flag.LOADED | Flag.BAD_IMAGE | Flag.DEAD_MEMORY


class Port(Protocol):
    """What carries bytes: `boards.serial_port.SerialPort`."""

    def write(self, data: bytes, timeout: float) -> None: ...

    def read(self, timeout: float) -> bytes: ...


@dataclass(frozen=True)
class Answer:
    """What the board computes for one sample.

    logits:   int64 [classes]
    counters: int64 [layers, 3]: ac, cycles and saturations in the order of `network.layers()`
    """

    logits: np.ndarray
    counters: np.ndarray

    @property
    def predicted(self) -> int:
        return int(np.argmax(self.logits))


class RefusedError(LinkError):
    """The board understood a request and did not carry it out; `reason` says why."""

    def __init__(self, reason: int) -> None:
        super().__init__(_REASONS.get(reason, f"the board refuses for no known reason: {reason}"))
        self.reason = reason


class FaultError(RefusedError):
    """The accelerator gave no answer because something around it failed; `flags` say what."""

    def __init__(self, flags: Flag) -> None:
        super().__init__(Error.FAULT)
        self.flags = flags
        found = [sentence for flag, sentence in _FAULTS.items() if flag in flags]
        self.args = ("; ".join(found) or _REASONS[Error.FAULT],)


def reply_seconds(baud: int) -> float:
    """Until a reply must be here: the longest request and reply are on the line, too."""
    return REPLY_SECONDS + 2 * (MAX_PAYLOAD + OVERHEAD) * 10 / baud


def encode(sample: np.ndarray, bits: int) -> bytes:
    """A sample's raw integers [C, H, W] or [T, C, H, W] as the board takes them.

    Order: `in_port_order`; each value in ceil(bits / 8) bytes, two's complement, lowest first.
    """
    raster = in_port_order(sample).astype("<i8")
    return raster.reshape(-1, 1).view(np.uint8)[:, :-(-bits // 8)].tobytes()


class RemoteBoard:
    """A board at the other end of `port`.

    model:    checked against the board; None: the board is believed
    timeout:  seconds that an inference may take
    reply:    seconds until a reply, after which the request is repeated; of `attempts`
    quiet:    seconds after which a reply that stops in its middle is given up
    identity: of the board
    retries:  requests that were repeated so far

    Opening asks who the board is and, if `reset`, resets it, so that nothing is left of an earlier
    host.  Raises LinkError if nothing answers, ValueError if the board is not one for `model`.
    """

    def __init__(self, port: Port, model: FixedPointModel | None = None, timeout: float = 10,
                 reply: float = REPLY_SECONDS, attempts: int = ATTEMPTS,
                 reset: bool = True, quiet: float = QUIET_SECONDS) -> None:
        self._port, self._timeout, self._reply, self._attempts = port, timeout, reply, attempts
        self._quiet = quiet
        self._parser, self._sequence, self.retries = Parser(), os.urandom(1)[0], 0
        self._verified = False
        try:
            data = self._ask(Command.IDENTIFY)
        except LinkError as error:
            raise LinkError(f"no board answers: {error}; is it programmed, and is this its port "
                            "and baud rate?") from None
        self.identity = Identity.unpack(data)
        if model is not None:
            self.identity.check(model)
        if reset:
            self.reset()

    def reset(self) -> None:
        """Forget samples and answer; the accelerator starts anew."""
        self._ask(Command.RESET)
        self._verified = False

    def status(self) -> Status:
        """What the board is doing."""
        data = self._ask(Command.STATUS)
        if len(data) != Status.LAYOUT.size:
            raise LinkError(f"the status must have {Status.LAYOUT.size} bytes, not {len(data)}")
        return Status.unpack(data)

    def infer(self, sample: np.ndarray) -> Answer:
        """The answer for raw integers [C, H, W] or [T, C, H, W].

        Raises LinkError, after which the next inference begins with a reset, FaultError (one of
        them) if there is no answer because of the board's memories, and ValueError for a sample of
        another size.
        """
        data = encode(sample, self.identity.input_bits)
        expected = self.identity.samples * self.identity.sample_bytes
        if len(data) != expected:
            raise ValueError(f"a sample must have {self.identity.samples} values, "
                             f"not {np.asarray(sample).size}")
        if self.identity.external and not self._verified:
            self.verify()   # until then no sample is taken
            self._verified = True
        try:
            for start in range(0, len(data), MAX_PAYLOAD):
                self._ask(Command.SAMPLES, data[start:start + MAX_PAYLOAD])
            words = self._read(0, self.identity.words)
        except LinkError as error:
            fault = self._fault(error)
            self._abandon()
            raise (fault or error) from None
        values = np.frombuffer(words, "<i8").astype(np.int64)
        classes = self.identity.classes
        return Answer(values[:classes], values[classes:].reshape(-1, COUNTERS))

    def write(self, address: int, data: bytes,
              progress: Callable[[int], object] = lambda count: None) -> None:
        """Write `data` into the weight memory, in shorter frames if long ones do not come through;
        `progress` is told the bytes of each part.

        Raises ValueError unless address and size are multiples of 8.
        """
        for name, value in (("address", address), ("size", len(data))):
            if value % WORD_BYTES or not 0 <= value < 1 << 32:
                raise ValueError(f"{name} must be a multiple of {WORD_BYTES} below 2**32, "
                                 f"not {value!r}")
        start, size = 0, WRITE_BYTES
        while start < len(data):
            part = data[start:start + size]
            try:
                self._ask(Command.WRITE, struct.pack("<I", address + start) + part)
            except RefusedError:
                raise
            except LinkError:
                if (size := size // 2 // WORD_BYTES * WORD_BYTES) < LEAST_WRITE:
                    raise
                # The board may have carried it out, and would not look at this number again.
                self._begin_anew()
                continue
            start += len(part)
            progress(len(part))

    def verify(self) -> None:
        """Wait until the board has read and checked the image in its memory.

        Raises FaultError if it is damaged or none, or the memory dead, LinkError if there is no
        verdict in time.
        """
        deadline = time.monotonic() + self._timeout
        while not (flags := self.status().flags) & VERDICTS:
            if time.monotonic() > deadline:
                raise LinkError("the board does not tell in time whether its weights are whole; a "
                                "longer --timeout may help")
            time.sleep(POLL_SECONDS[1])
        if flags & ~Flag.LOADED:
            raise FaultError(flags)

    def _read(self, first: int, count: int) -> bytes:
        """Words of the answer, in shorter frames if long ones do not come through."""
        if count > FRAME_WORDS:
            return self._read(first, FRAME_WORDS) + self._read(first + FRAME_WORDS,
                                                               count - FRAME_WORDS)
        try:
            return self._read_frame(first, count)
        except RefusedError:
            raise
        except LinkError:
            if (half := count // 2) < LEAST_WORDS:
                raise
        return self._read(first, half) + self._read(first + half, count - half)

    def _read_frame(self, first: int, count: int) -> bytes:
        """Words of the answer, when the inference is done."""
        deadline, pause = time.monotonic() + self._timeout, POLL_SECONDS[0]
        while True:
            try:
                data = self._ask(Command.READ, READ.pack(first, count))
            except RefusedError as refused:
                if refused.reason != Error.BUSY:
                    raise
                if time.monotonic() < deadline:
                    time.sleep(pause)
                    pause = min(2 * pause, POLL_SECONDS[1])
                    continue
                raise RefusedError(Error.BUSY) from None
            if len(data) != WORD_BYTES * count:
                raise LinkError(f"the answer must have {WORD_BYTES * count} bytes from word "
                                f"{first} on, not {len(data)}")
            return data

    def _fault(self, error: LinkError) -> FaultError | None:
        """What stopped the accelerator, if that is why a request was refused."""
        if not isinstance(error, RefusedError) or error.reason != Error.FAULT:
            return None
        with contextlib.suppress(LinkError):
            return FaultError(self.status().flags)
        return None

    def _begin_anew(self) -> None:
        """Agree with the board on another sequence number."""
        self._sequence = os.urandom(1)[0]
        self._ask(Command.IDENTIFY)

    def _abandon(self) -> None:
        """Leave the board in a state from which the next inference can begin, if it answers."""
        try:
            self._begin_anew()
            self.reset()
        except LinkError:
            pass   # the error that led here says more

    def _ask(self, command: Command, payload: bytes = b"") -> bytes:
        """The payload of the reply, after as many attempts as it takes."""
        sequence = (self._sequence + 1) % 256
        request = Frame(sequence, command, payload).encode()
        for attempt in range(self._attempts):
            self.retries += attempt > 0
            self._port.write(request, self._timeout)
            reply = self._await(sequence, command)
            if reply is not None:
                self._sequence = sequence
                return reply.payload
        raise LinkError(f"{command.name.lower()} got no reply in {self._attempts} attempts of "
                        f"{self._reply:g} s")

    def _await(self, sequence: int, command: Command) -> Frame | None:
        """The reply, None if the request must be repeated; RefusedError if it was refused."""
        deadline, wrong = time.monotonic() + self._reply, self._parser.wrong
        while True:
            data = self._port.read(deadline - time.monotonic())
            for frame in self._parser.feed(data, late=not data):
                if frame.sequence == sequence and frame.command == command | REPLY:
                    return frame
                if frame.command == ERROR and len(frame.payload) == 1:
                    reason = frame.payload[0]
                    if reason == Error.FRAME:
                        return None
                    if frame.sequence == sequence:
                        raise RefusedError(reason)
            if self._parser.wrong != wrong or not data:
                return None
            deadline = min(deadline, time.monotonic() + self._quiet)
