# SPDX-License-Identifier: Apache-2.0
"""The frames of the serial line, the same for hardware and host.

    SYNC (2 bytes) | sequence | command | length (2) | payload (length) | CRC (4)

Numbers are little-endian.  The CRC is CRC-32 (zlib's) of everything between SYNC and itself: it
finds every error of up to 3 bits and every burst of up to 32 bits in a frame, and of others all
but one in 2**32.  A reply has the sequence of its request and its command with REPLY added, or the
command ERROR and one byte of `Error`.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, IntFlag

SYNC = b"\xa5\x5a"
MAX_PAYLOAD = 512
REPLY = 0x80
READ = struct.Struct("<HH")
HEADER = struct.Struct("<BBH")
CRC = struct.Struct("<I")
OVERHEAD = len(SYNC) + HEADER.size + CRC.size
WORD_BYTES = 8
# Words of an answer in one frame.
FRAME_WORDS = MAX_PAYLOAD // WORD_BYTES


class Command(IntEnum):
    """Requests: payload, then payload of the reply.

    IDENTIFY: nothing; `hw.identity.Identity`.  Takes any sequence number, and later requests count
              on from it.
    STATUS:   nothing; `Status`
    RESET:    nothing; nothing.  Forgets samples and answer.
    SAMPLES:  samples, lowest byte first; nothing.  The first ones begin an inference.
    READ:     2 bytes, number of a word, and 2 bytes, a count of 1 to 64; so many words of the
              answer
    WRITE:    4 bytes, address; 8-byte words for the weight memory; nothing
    """

    IDENTIFY = 1
    STATUS = 2
    RESET = 3
    SAMPLES = 4
    READ = 5
    WRITE = 6


ERROR = 0x7F


class Error(IntEnum):
    """Why a request was refused; its sequence number is free for the next one.

    FRAME:    broken off, too long, or a wrong CRC; the sequence number of such a reply is 0
    COMMAND:  none that this board has
    SEQUENCE: neither the last number nor the one after it
    LENGTH:   of the payload, or the samples are more than are left of an inference
    BUSY:     the inference is under way
    STALLED:  the accelerator took no sample (the memory no word) for too long; reset it
    EMPTY:    there is no answer to read
    FAULT:    the accelerator has stopped; the flags of the status say why, and RESET starts it anew
    """

    FRAME = 1
    COMMAND = 2
    SEQUENCE = 3
    LENGTH = 4
    BUSY = 5
    STALLED = 6
    EMPTY = 7
    FAULT = 8


class Flag(IntFlag):
    """Of the status.  All but LOADED stop the accelerator.

    LOADED:    the weights in a memory chip can be read
    BAD_IMAGE: they are none, or damaged
    RESPONSE, SILENCE, PARITY: as of `hw.faults.FAULTS`
    DEAD_MEMORY: the chip for the weights is not read right (`boards.ddr3`)
    """

    LOADED = 1
    BAD_IMAGE = 2
    RESPONSE = 4
    SILENCE = 8
    PARITY = 16
    DEAD_MEMORY = 32


@dataclass(frozen=True)
class Frame:
    """One frame, whose CRC was right."""

    sequence: int
    command: int
    payload: bytes = b""

    def encode(self) -> bytes:
        """The bytes on the line; ValueError for a payload that is too long."""
        if len(self.payload) > MAX_PAYLOAD:
            raise ValueError(f"payload must have at most {MAX_PAYLOAD} bytes, "
                             f"not {len(self.payload)}")
        body = HEADER.pack(self.sequence, self.command, len(self.payload)) + self.payload
        return SYNC + body + CRC.pack(zlib.crc32(body))


@dataclass(frozen=True)
class Status:
    """Payload of the reply to STATUS.

    active:     an inference has begun and not ended
    complete:   there is an answer
    flags:      `Flag`
    bad_frames: since the board's reset, saturating
    missing:    bytes of samples that the inference still waits for
    """

    active: bool
    complete: bool
    flags: Flag
    bad_frames: int
    missing: int

    LAYOUT = struct.Struct("<BBHI")

    @classmethod
    def unpack(cls, data: bytes) -> "Status":
        state, flags, bad, missing = cls.LAYOUT.unpack(data)
        return cls(bool(state & 1), bool(state & 2), Flag(flags), bad, missing)


class Parser:
    """Bytes to frames; what is no frame is skipped.

    After a wrong CRC or length the search goes on behind the SYNC, so that a frame inside of what
    looked like one is found.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self.skipped = 0   # bytes that were in no frame
        self.wrong = 0     # times that a whole frame had a wrong CRC or length

    def feed(self, data: bytes, late: bool = False) -> Iterator[Frame]:
        """The frames that are complete with these bytes.

        late: nothing more comes of a frame that has begun, so it is none
        """
        self._bytes += data
        while True:
            start = self._bytes.find(SYNC)
            if start < 0:
                # The last byte may be the first of a SYNC.
                self._skip(len(self._bytes) - self._bytes.endswith(SYNC[:1]))
                return
            self._skip(start)
            whole = len(self._bytes) >= OVERHEAD
            if whole:
                sequence, command, length = HEADER.unpack_from(self._bytes, len(SYNC))
                end = OVERHEAD + length
                whole = len(self._bytes) >= end
                if whole:
                    body = bytes(self._bytes[len(SYNC):end - CRC.size])
                    if CRC.unpack_from(self._bytes, end - CRC.size)[0] == zlib.crc32(body):
                        del self._bytes[:end]
                        yield Frame(sequence, command, body[HEADER.size:])
                        continue
                if whole or length > MAX_PAYLOAD:
                    self.wrong += 1
                    self._skip(len(SYNC))
                    continue
            if not late:
                return
            self._skip(len(SYNC))

    def _skip(self, count: int) -> None:
        self.skipped += count
        del self._bytes[:count]
