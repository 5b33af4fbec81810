# SPDX-License-Identifier: Apache-2.0
"""Link: each request once, one reply to each, and what a line full of garbage does to its frames.

Receiver and sender of frames are abstract in `link`: any checked frames and any bad ones at any
time, and a line that takes the bytes of a reply when it likes.  `frame-*` prove those.
"""

from collections.abc import Sequence
from types import ModuleType
from typing import Any
from unittest.mock import patch

from amaranth import Cat, Const, Module, Mux, Signal, Value

from hw.identity import Identity
from sim.formal.harness import Break, Harness, Proof

SILENCE = 3
RESET_CYCLES = 2
# Cycles until something moves, even if the accelerator takes nothing.
PATIENCE = SILENCE + 3
GARBAGE = 6        # cycles
FRAME_CYCLES = 14  # of a frame with a byte of payload, and what sender and receiver add
LONGEST = 12   # bytes of a request: an address and a word


def _ports_of(kind: type) -> type:
    """A component with nothing but the ports of another; the proof drives the outputs."""
    return type("Any", (kind,), {"elaborate": lambda self, platform: Module()})


class _Line:
    """Link between any frames and any line; `fresh`: the frame that is here is the next one."""

    def __init__(self, commands: Sequence[str], units: ModuleType) -> None:
        self.proof, self.units = Harness(), units
        proof = self.proof
        identity = Identity(input_bits=8, samples=3, classes=1, layers=0, writable=True)
        receiver, sender = (
            _ports_of(units.FrameReceiver)(SILENCE), _ports_of(units.FrameSender)())
        self.unit = unit = units.Link(identity, SILENCE)
        with (patch.object(units, "FrameReceiver", lambda silence: receiver),
              patch.object(units, "FrameSender", lambda: sender),
              patch.object(units, "RESET_CYCLES", RESET_CYCLES)):
            proof.add(unit)
        proof.drive(unit.flags, "flags")
        proof.source(unit.words, "words")
        m = proof.m

        # Requests: a header, and as many bytes as it says.
        self.header, self.here = receiver.header.payload, receiver.header.valid
        self.released = proof.source(receiver.header, "request")
        proof.assume(~self.here | (self.header.length <= LONGEST))
        proof.assume(~self.here | Cat(
            self.header.command == units.Command[each] for each in commands).any())
        self.place, payload = Signal(range(LONGEST + 1), name="place"), receiver.payload
        proof.drive(payload.payload, "byte")
        m.d.comb += payload.valid.eq(self.here & (self.place != self.header.length))
        proof.assume(proof.stable(payload, "byte") | proof.later(self.released, "released"))
        self.read, self.byte = payload.valid & payload.ready, payload.payload
        m.d.sync += self.place.eq(Mux(self.released, 0, self.place + self.read))
        self.bad = proof.drive(receiver.bad, "bad")
        proof.assume(~(self.bad & self.here))

        # Replies: a header, and as many bytes as it says, before the next.
        self.reply, left = sender.header.payload, Signal(16, name="left")
        self.willing = proof.drive(sender.header.ready, "reply_ready") | (left != 0)
        proof.assume(~sender.header.ready | (left == 0))
        proof.claim("reply_stable", proof.stable(sender.header, "reply"))
        self.replied = sender.header.valid & sender.header.ready
        sent = proof.sink(sender.payload, "answer")
        m.d.sync += left.eq(Mux(self.replied, self.reply.length, left - sent))
        proof.implies("bytes_as_told", sender.payload.valid, left != 0)
        self.sent, self.willing = sent, self.willing & (sender.payload.ready | (left == 0))
        self.owed = left != 0

        # The request that was accepted last.
        self.accepted = self.replied & (self.reply.command != units.ERROR)
        self.last = Signal(8, name="last")
        with m.If(self.accepted):
            m.d.sync += self.last.eq(self.header.sequence)
        self.again = self.header.sequence == self.last
        self.fresh = self.here & (self.header.sequence == (self.last + 1)[:8])


def _link(commands: Sequence[str], bad: bool, units: ModuleType) -> Harness:
    """Any frames, sound or bad; an accelerator and a memory that may take nothing for long."""
    line = _Line(commands, units)
    if not bad:   # one frame again and again, as there is much in it
        header = line.proof.constant(line.header.shape(), "header")
        line.proof.assume(~line.bad & (Value.cast(line.header) == Value.cast(header)))
    proof, m, unit, header, reply = line.proof, line.proof.m, line.unit, line.header, line.reply
    # One reply to each frame, and one to bad ones, one or several.
    broken, more, is_frame = Signal(name="broken"), Signal(5, name="more"), (
        line.replied & ~line.released)
    m.d.sync += [broken.eq((broken & ~is_frame) | line.bad), more.eq(more + line.bad - is_frame)]
    proof.implies("reply_to_each", line.released, line.replied)
    proof.implies("frame_error", is_frame, (more != 0) & (reply.command == units.ERROR)
                  & (reply.sequence == 0) & (reply.length == 1))
    proof.implies("reply_to_it", line.released, line.here & (
        reply.sequence == header.sequence) & (
            (reply.command == units.ERROR) | (reply.command == (header.command | units.REPLY))))
    proof.implies("only_the_next", line.accepted & (header.command != units.Command.IDENTIFY),
                  line.again | line.fresh)
    # A reply may have been lost, so what was done is said again.
    writes = (header.command == units.Command.SAMPLES) | (header.command == units.Command.WRITE)
    proof.implies("said_again", line.released & line.again & writes, line.accepted)

    # Samples and words of the next frame only, each byte once.
    sample, word = unit.samples, unit.writes
    taken, written = (
        _sink(proof, line, sample, "sample"), _sink(proof, line, word, "word"))
    for name, port, command in (("samples", sample, units.Command.SAMPLES),
                                ("words", word, units.Command.WRITE)):
        proof.implies(f"{name}_of_the_next", port.valid, line.fresh & (header.command == command))
    kept, held = Signal(name="held"), Signal(8, name="kept")
    samples = line.here & (header.command == units.Command.SAMPLES)
    with m.If(line.read & samples):
        m.d.sync += [kept.eq(1), held.eq(line.byte)]
    with m.If(taken | line.released):
        m.d.sync += kept.eq(0)
    proof.implies("sample_unchanged", sample.valid, kept & (sample.payload == held))
    proof.implies("no_sample_lost", kept & line.read, 0)
    proof.implies("all_samples", line.accepted & samples & line.fresh,
                  ~kept & (line.place == header.length))
    # The last eight bytes are a word, the first four an address, to which each word adds 8.
    bytes_, number = Signal(64, name="bytes"), Signal(2, name="number")
    first = Signal(32, name="first")
    with m.If(line.read):
        m.d.sync += bytes_.eq(Cat(bytes_, line.byte)[8:])
        with m.If(line.place == 3):
            m.d.sync += first.eq(Cat(bytes_, line.byte)[-32:])
    m.d.sync += number.eq(Mux(line.released, 0, number + written))
    proof.implies("word_unchanged", word.valid, (
        line.place == 4 + units.WORD_BYTES * (number + 1)) & (
        word.payload.data == bytes_) & (
            word.payload.address == (first + units.WORD_BYTES * number)[:32]))
    proof.implies("all_words", line.accepted & line.fresh & (header.command == units.Command.WRITE),
                  (line.place == header.length) & (number == 1))

    _reset(proof, line)
    # Whatever the accelerator does, something goes on.
    quiet = Signal(range(PATIENCE + 2), name="quiet")
    waits = line.here | broken | line.owed
    moved = line.read | line.replied | line.sent | taken | written | unit.reset
    m.d.sync += quiet.eq(Mux(waits & ~moved, quiet + (line.willing & (quiet <= PATIENCE)), 0))
    proof.claim("goes_on", quiet <= PATIENCE)
    return proof


def _sink(proof: Harness, line: _Line, port: Any, name: str) -> Value:
    """Take a stream when it pleases; what waits for too long is given up, and said to be."""
    valid, ready, payload = (Value.cast(part) for part in (port.valid, port.ready, port.payload))
    proof.drive(port.ready, f"{name}_ready")
    waits, m = valid & ~ready, proof.m
    waited, before = proof.later(waits, f"{name}_waited"), proof.later(payload, f"{name}_before")
    cycles, dropped = Signal(4, name=f"{name}_cycles"), Signal(name=f"{name}_dropped")
    given_up = waited & ~valid
    m.d.sync += [cycles.eq(Mux(waits, cycles + 1, 0)),
                 dropped.eq((dropped | given_up) & ~line.released)]
    proof.implies(f"{name}_unchanged_while_waiting", waited & valid, payload == before)
    proof.implies(f"{name}_given_up_in_time", given_up, cycles > SILENCE)
    proof.implies(f"{name}_given_up_is_told", line.released & (dropped | given_up),
                  line.reply.command == line.units.ERROR)
    return valid & ready


def _reset(proof: Harness, line: _Line) -> None:
    """A reset lasts, is for a request to reset only, and forgets the inference."""
    asked = line.here & (line.header.command == line.units.Command.RESET)
    cycles = Signal(range(RESET_CYCLES + 1), name="cycles")
    proof.m.d.sync += cycles.eq(Mux(line.released, 0, cycles + line.unit.reset))
    proof.implies("reset_asked_for", line.unit.reset, asked & (cycles < RESET_CYCLES))
    proof.implies("reset_lasts", line.accepted & asked, (cycles == RESET_CYCLES)
                  & ~line.unit.busy)


def _resync(units: ModuleType) -> Harness:
    """Any bytes, then silence, then a frame from the sender.

    One frame, as a solver gets lost in the CRC of any: whose bytes are those of a SYNC again.
    """
    proof = Harness()
    m, sender, receiver = proof.m, units.FrameSender(), units.FrameReceiver(SILENCE)
    proof.add(sender, "sender")
    proof.add(receiver, "receiver")
    header = units.HEADER_LAYOUT.const({"sequence": 0xA5, "command": 0x5A, "length": 1})
    byte, header_taken = Const(0xA5, 8), proof.drive(receiver.header.ready, "taken")
    # A line of bytes, any before, and then none for as long as the receiver waits.
    begun = proof.constant(range(GARBAGE + 1), "begun")
    time, sending = Signal(range(64), name="time"), Signal(name="sending")
    m.d.sync += time.eq(time + 1)
    m.d.comb += [sending.eq(time > begun + SILENCE), sender.header.payload.eq(header),
                 sender.payload.payload.eq(byte), sender.payload.valid.eq(1),
                 sender.o.ready.eq(1)]
    sent = Signal(name="sent")
    m.d.comb += sender.header.valid.eq(sending & ~sent)
    with m.If(sender.header.valid & sender.header.ready):
        m.d.sync += sent.eq(1)
    noise, noisy = proof.free(8, "noise"), proof.free(1, "noisy") & (time < begun)
    m.d.comb += [receiver.i.valid.eq(sender.o.valid | noisy),
                 receiver.i.payload.eq(Mux(sender.o.valid, sender.o.payload, noise))]
    came = receiver.header.valid & header_taken
    here, age = Signal(name="here"), Signal(range(32), name="age")
    m.d.sync += [here.eq(here | came), age.eq(Mux(sent, age + (age != 31), 0))]
    proof.implies("unchanged", receiver.header.valid,
                  Value.cast(receiver.header.payload) == Value.cast(header))
    proof.implies("byte_unchanged", receiver.payload.valid, (receiver.payload.payload == byte))
    proof.implies("taken", age == FRAME_CYCLES, here | receiver.header.valid)
    proof.implies("not_bad", sent, ~receiver.bad)
    return proof


PROOFS = [
    Proof("link", "boards.link",
          "Link, samples, status, reset: each frame carried out once, one reply to each, in time",
          lambda units: _link(("SAMPLES", "STATUS", "RESET"), True, units),
          depth=11, broken=(
              Break("again.eq(header.sequence == self._last)", "again.eq(0)"),
              Break("with m.If(~again):\n                            self._begin",
                    "with m.If(1):\n                            self._begin"),
              Break("with m.Elif(self._broken):", "with m.Elif(0):"),
              Break("header.ready.eq(reply.ready)]", "header.ready.eq(1)]"),
              Break("with m.If(~here):", "with m.If(1):"),
              Break("with m.If(self._timer == 0):", "with m.If(0):"))),
    Proof("link-write", "boards.link",
          "Link, words for the memory: each word once, at its address, one reply to each frame",
          lambda units: _link(("WRITE",), False, units), depth=17, broken=(
              Break("self.writes.payload.data.eq(self._shift)",
                    "self.writes.payload.data.eq(~self._shift)"),
              Break("Mux(addressed, address + WORD_BYTES, self._shift[-32:])",
                    "self._shift[-32:] + 1"))),
    Proof("frame-resync", "boards.framing",
          f"FrameReceiver after {GARBAGE} cycles of any bytes and silence: a frame of FrameSender "
          f"is here, unchanged, {FRAME_CYCLES} cycles after it began", _resync,
          depth=GARBAGE + SILENCE + FRAME_CYCLES + 4, broken=(
              Break("with m.If(late & ~came):", "with m.If(0):"),
              Break("with m.Elif(came & (byte != SYNC[0])):", "with m.Elif(came):"))),
]
