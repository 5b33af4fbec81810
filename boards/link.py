# SPDX-License-Identifier: Apache-2.0
"""What a board does with the requests of its host, as `boards.frames` describes them."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from boards.frames import (
    ERROR,
    FRAME_WORDS,
    MAX_PAYLOAD,
    READ,
    REPLY,
    WORD_BYTES,
    Command,
    Error,
    Flag,
    Status,
)
from boards.framing import FrameReceiver, FrameSender
from hw.answer import Answer
from hw.identity import SIZE, Identity
from hw.readout import OUTPUT

WRITE_LAYOUT = data.StructLayout({"address": 32, "data": 64})
RESET_CYCLES = 16
ADDRESS_BYTES = 4


class Link(wiring.Component):
    """Requests to samples and memory words, answers to replies.

    identity: sizes everything, and is what the host is told
    silence:  cycles after which a frame that stops, or a stream that does not take, is given up

    Ports:
      `rx`, `tx`  bytes from and to the host
      `samples`   to the accelerator, of checked frames only, each frame once
      `words`     from the accelerator, kept until the next inference begins
      `writes`    address in bytes and 64-bit word for the weight memory, if `identity.writable`
      `reset`     level, 16 cycles: the accelerator (and what holds its streams) starts anew
      `flags`     `boards.frames.Flag`, shown in the status
      `busy`      from an inference's first sample until its last word
      `error`     a frame was bad; stays until reset
    Latency: a sample follows its frame's last byte within about 6 cycles.
    Throughput: a byte in 1 cycle plus one per sample; a byte of a reply in 2 cycles.
    """

    def __init__(self, identity: Identity, silence: int) -> None:
        self.identity, self.silence = identity, silence
        super().__init__({
            "rx": In(stream.Signature(8, always_ready=True)), "tx": Out(stream.Signature(8)),
            "samples": Out(stream.Signature(unsigned(identity.input_bits))),
            "words": In(stream.Signature(OUTPUT)), "reset": Out(1), "flags": In(8),
            "busy": Out(1), "error": Out(1),
        } | ({"writes": Out(stream.Signature(WRITE_LAYOUT))} if identity.writable else {}))

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = self._receiver = FrameReceiver(self.silence)
        m.submodules.sender = self._sender = FrameSender()
        identity = self.identity
        m.submodules.answer = self._answer = Answer(identity.words, identity.word_bits)
        wiring.connect(m, wiring.flipped(self.rx), self._receiver.i)
        wiring.connect(m, self._sender.o, wiring.flipped(self.tx))
        wiring.connect(m, wiring.flipped(self.words), self._answer.i)

        # An inference, and the request that was carried out last.
        self._missing = Signal(range(identity.samples * identity.sample_bytes + 1))
        self._last = Signal(8)
        self._bad_frames, self._broken = Signal(16), Signal()
        self._fault = Signal()   # no answer will come
        m.d.comb += self._fault.eq((self.flags & ~Flag.LOADED.value & 0xFF) != 0)
        # The reply: ERROR and a reason, or an echo of the command and `size` bytes.
        self._reason, self._size = Signal(Error), Signal(range(MAX_PAYLOAD + 1))
        self._command, self._place = Signal(8), Signal.like(self._size)
        self._sending = Signal()
        # Bytes of a payload that become a sample, a request to read, an address or a word.
        kept = WORD_BYTES if identity.writable else READ.size
        self._shift, self._left = Signal(8 * kept), Signal(range(WORD_BYTES + 1))
        self._first = Signal(range(max(identity.words, RESET_CYCLES) + 1))
        self._timer = Signal(range(self.silence + 1))
        with m.If(self._receiver.bad):
            m.d.sync += [self._broken.eq(1), self.error.eq(1)]
            with m.If(~self._bad_frames.all()):
                m.d.sync += self._bad_frames.eq(self._bad_frames + 1)
        with m.If(self._answer.complete):
            m.d.sync += self.busy.eq(0)
        with m.FSM():
            self._choose(m)
            self._take(m)
            self._reset(m)
            self._reply(m)
        self._send(m)
        return m

    def _refuse(self, m, reason):
        m.d.sync += self._reason.eq(reason)
        m.next = "Refuse"

    def _choose(self, m):
        """State Idle: look at the request."""
        header = self._receiver.header.payload
        again = Signal()
        m.d.comb += again.eq(header.sequence == self._last)
        m.d.sync += self._timer.eq(self.silence)
        with m.State("Idle"):
            m.d.sync += [self._size.eq(0), self._first.eq(0), self._left.eq(0)]
            with m.If(self._receiver.header.valid):
                with m.If((header.command != Command.IDENTIFY) & ~again
                          & (header.sequence != (self._last + 1)[:8])):
                    self._refuse(m, Error.SEQUENCE)
                with m.Else(), m.Switch(header.command):
                    with m.Case(Command.IDENTIFY):
                        m.d.sync += self._size.eq(SIZE)
                        m.next = "Accept"
                    with m.Case(Command.STATUS):
                        m.d.sync += self._size.eq(Status.LAYOUT.size)
                        m.next = "Accept"
                    with m.Case(Command.READ):
                        m.d.sync += self._left.eq(READ.size)
                        m.next = "Bytes"
                        with m.If(header.length != READ.size):
                            self._refuse(m, Error.LENGTH)
                    with m.Case(Command.RESET):
                        m.next = "Reset"
                    with m.Case(Command.SAMPLES):
                        m.next = "Accept"
                        with m.If(~again):
                            self._begin(m, header.length)
                    if self.identity.writable:
                        with m.Case(Command.WRITE):
                            m.next = "Accept"
                            with m.If(~again):
                                m.d.sync += self._left.eq(ADDRESS_BYTES)
                                m.next = "Bytes"
                                with m.If((header.length[:3] != ADDRESS_BYTES)
                                          | (header.length <= ADDRESS_BYTES)):
                                    self._refuse(m, Error.LENGTH)
                    with m.Default():
                        self._refuse(m, Error.COMMAND)
            with m.Elif(self._broken):
                m.d.sync += self._broken.eq(0)
                self._refuse(m, Error.FRAME)

    def _begin(self, m, length):
        """Samples that are not the last ones again."""
        size = self.identity.sample_bytes
        missing = Signal.like(self._missing)
        m.d.comb += missing.eq(Mux(self.busy, self._missing, self.identity.samples * size))
        with m.If(self._fault):
            self._refuse(m, Error.FAULT)
        with m.Elif(self.busy & (self._missing == 0)):
            self._refuse(m, Error.BUSY)
        with m.Elif((length == 0) | (length > missing) | (length[0] if size == 2 else 0)):
            self._refuse(m, Error.LENGTH)
        with m.Else():
            m.d.comb += self._answer.clear.eq(~self.busy)
            m.d.sync += [self._missing.eq(missing - length), self._left.eq(size), self.busy.eq(1)]
            m.next = "Bytes"

    def _take(self, m):
        """States Bytes and Item: a payload, item by item."""
        payload, header = self._receiver.payload, self._receiver.header.payload
        size, words = self.identity.sample_bytes, self.identity.words
        addressed, address = Signal(), Signal(32)
        taken = Signal()
        with m.State("Bytes"):
            m.d.comb += payload.ready.eq(1)
            with m.If(payload.valid):
                m.d.sync += [self._shift.eq(Cat(self._shift, payload.payload)[8:]),
                             self._left.eq(self._left - 1)]
                with m.If(self._left == 1):
                    m.next = "Item"
            with m.Else():
                m.d.sync += addressed.eq(0)
                m.next = "Accept"
        with m.State("Item"):
            with m.Switch(header.command):
                with m.Case(Command.READ):
                    first, count = self._shift[-32:-16], self._shift[-16:]
                    m.d.sync += [self._first.eq(first), self._size.eq(Cat(Const(0, 3), count[:8]))]
                    m.next = "Accept"
                    with m.If(~self._answer.complete):
                        self._refuse(m, Mux(self._fault, Error.FAULT,
                                            Mux(self.busy, Error.BUSY, Error.EMPTY)))
                    with m.Elif((count == 0) | (count > FRAME_WORDS) | (first + count > words)):
                        self._refuse(m, Error.LENGTH)
                with m.Case(Command.SAMPLES):
                    m.d.comb += [self.samples.valid.eq(1), taken.eq(self.samples.ready),
                                 self.samples.payload.eq(self._shift[-8 * size:])]
                    m.d.sync += self._left.eq(size)
                if self.identity.writable:
                    with m.Case(Command.WRITE):
                        m.d.comb += [self.writes.valid.eq(addressed),
                                     self.writes.payload.address.eq(address),
                                     self.writes.payload.data.eq(self._shift),
                                     taken.eq(self.writes.ready | ~addressed)]
                        m.d.sync += self._left.eq(WORD_BYTES)
                        with m.If(taken):
                            m.d.sync += [addressed.eq(1), address.eq(
                                Mux(addressed, address + WORD_BYTES, self._shift[-32:]))]
            with m.If(taken):
                m.next = "Bytes"
            with m.Elif(header.command != Command.READ):
                m.d.sync += self._timer.eq(self._timer - 1)
                with m.If(self._timer == 0):
                    m.d.sync += addressed.eq(0)
                    self._refuse(m, Mux(self._fault, Error.FAULT, Error.STALLED))

    def _reset(self, m):
        with m.State("Reset"):
            m.d.comb += [self.reset.eq(1), self._answer.clear.eq(1)]
            m.d.sync += [self.busy.eq(0), self._missing.eq(0), self._first.eq(self._first + 1)]
            with m.If(self._first == RESET_CYCLES - 1):
                m.d.sync += self._first.eq(0)
                m.next = "Accept"

    def _reply(self, m):
        """States Accept and Refuse, then Send: the reply's header, then its payload."""
        header, reply = self._receiver.header, self._sender.header
        m.d.comb += reply.payload.sequence.eq(header.payload.sequence)
        with m.State("Accept"):
            m.d.comb += [reply.valid.eq(1), reply.payload.length.eq(self._size),
                         reply.payload.command.eq(header.payload.command | REPLY),
                         header.ready.eq(reply.ready)]
            with m.If(reply.ready):
                m.d.sync += [self._command.eq(header.payload.command),
                             self._last.eq(header.payload.sequence)]
                m.next = "Send"
        with m.State("Refuse"):
            m.d.comb += [reply.valid.eq(1), reply.payload.length.eq(1),
                         reply.payload.command.eq(ERROR)]
            # The next frame may be here already: it is not the bad one.
            with m.If(self._reason == Error.FRAME):
                m.d.comb += reply.payload.sequence.eq(0)
            with m.Else():
                m.d.comb += header.ready.eq(reply.ready)
            with m.If(reply.ready):
                m.d.sync += [self._command.eq(ERROR), self._size.eq(1)]
                m.next = "Send"

        with m.State("Send"):
            m.d.comb += self._sending.eq(1)
            with m.If(self._place == self._size):
                m.next = "Idle"

    def _send(self, m):
        """The payload of the reply, byte by byte."""
        payload, reply, here = self._sender.payload, self._sender.header, Signal()
        m.d.comb += [payload.valid.eq(self._sending & here & (self._place != self._size)),
                     payload.payload.eq(self._payload(m, here))]
        with m.If(reply.valid & reply.ready):
            m.d.sync += [self._place.eq(0), here.eq(0)]
        with m.Elif(payload.valid & payload.ready):
            m.d.sync += [self._place.eq(self._place + 1), here.eq(0)]
        with m.Else():
            m.d.sync += here.eq(1)   # memories answer in the cycle after

    def _payload(self, m, here):
        """Byte `_place` of the reply, one cycle later for what is in a memory."""
        place = self._place
        m.submodules.identity = identity = Memory(shape=8, depth=SIZE, init=self.identity.pack())
        told = identity.read_port()
        answer = self._answer
        number = Signal.like(self._first)
        m.d.comb += [told.addr.eq(place), number.eq(self._first + place[3:]),
                     answer.address.eq(number)]
        # What is offered stays, so the state of a moment is told.
        state = Signal(8)
        status = Signal(8 * Status.LAYOUT.size)
        m.d.comb += status.eq(Cat(self.busy, answer.complete, Const(0, 6), self.flags,
                                  self._bad_frames, self._missing))
        words = Array(answer.data[8 * n:8 * n + 8] for n in range(WORD_BYTES))
        states = Array(status[8 * n:8 * n + 8] for n in range(WORD_BYTES))
        with m.If(~here):
            m.d.sync += state.eq(states[place[:3]])
        byte = Signal(8)
        with m.Switch(self._command):
            with m.Case(Command.IDENTIFY):
                m.d.comb += byte.eq(told.data)
            with m.Case(Command.STATUS):
                m.d.comb += byte.eq(state)
            with m.Case(Command.READ):
                m.d.comb += byte.eq(words[place[:3]])
            with m.Case(ERROR):
                m.d.comb += byte.eq(self._reason)
        return byte
