# SPDX-License-Identifier: Apache-2.0
"""Units of the boards: what a host's bytes and a chip's words go through."""

from types import ModuleType

from amaranth import Array, Cat, Signal, Value

from sim.formal.copies import Copies
from sim.formal.harness import Break, Harness, Proof

DIVISOR = 4
SILENCE = 63   # more cycles than are looked at


def _sender(units: ModuleType) -> Harness:
    """A frame with up to two bytes of payload."""
    copies = Copies(units.FrameSender, items=2, patience=2)
    copies.source("header", lambda unit: unit.header, lambda header: header.length <= 1)
    copies.source("payload", lambda unit: unit.payload)
    copies.sink("o", lambda unit: unit.o)
    return copies.finish()


def _receiver(units: ModuleType) -> Harness:
    """A frame of up to two bytes, in which bytes come when they like, taken when it pleases."""
    proof = Harness()
    m, unit = proof.m, units.FrameReceiver(SILENCE)
    proof.add(unit)
    byte, came = proof.drive(unit.i.payload, "byte"), proof.drive(unit.i.valid, "came")
    taken = proof.sink(unit.header, "header")
    read = proof.drive(unit.payload.ready, "payload_ready") & unit.payload.valid
    # Taking the header releases the frame, read or not.
    proof.claim("payload_stable", proof.stable(unit.payload, "payload")
                | proof.later(taken, "released"))
    # The frame as a host sends it: any header and bytes, and four that are their CRC, or not.
    size = units.HEADER.size + 2 + units.CRC.size
    frame = [*units.SYNC, *(proof.constant(8, f"byte{n}") for n in range(size))]
    count = Signal(range(len(frame) + 1), name="count")
    header = frame[len(units.SYNC):len(units.SYNC) + units.HEADER.size]
    length = header[-2]
    proof.assume((header[-1] == 0) & (length <= 2))
    whole = len(units.SYNC) + units.HEADER.size + units.CRC.size + length
    proof.assume(~came | ((count != whole) & (byte == Array(map(Value.cast, frame))[count])))
    m.d.sync += count.eq(count + came)
    number = proof.count(read, 2, "number")
    shown = unit.header.valid
    payload = Array(frame[len(units.SYNC) + units.HEADER.size:])
    proof.implies("whole", shown, count == whole)
    proof.implies("header_unchanged", shown, Value.cast(unit.header.payload) == Cat(*header))
    proof.implies("payload_unchanged", unit.payload.valid,
                  unit.payload.payload == payload[number])
    proof.implies("payload_of_a_frame", unit.payload.valid, shown & (number < length))
    proof.implies("payload_all", shown & ~unit.payload.valid, number == length)
    # Two cycles after its last byte the frame is here, or was said to be bad.
    gone = Signal(name="gone")
    with m.If(taken | unit.bad):
        m.d.sync += gone.eq(1)
    ended = proof.later((count == whole), "ended", 2)
    proof.implies("answered", ended, shown | gone)
    proof.implies("once", gone, ~shown)
    return proof


def _line(units: ModuleType) -> Harness:
    """Transmitter to receiver: any bytes, any pauses."""
    proof = Harness()
    transmitter, receiver = units.Transmitter(DIVISOR), units.Receiver(DIVISOR)
    proof.add(transmitter, "transmitter")
    proof.add(receiver, "receiver")
    m = proof.m
    m.d.comb += receiver.rx.eq(transmitter.tx)
    sent = proof.source(transmitter.i, "i")
    # The receiver looks at a stop bit while the next byte is taken already: two may be under way.
    came, waits, age = receiver.o.valid, Signal(2, name="waits"), Signal(7, name="age")
    older, newer = Signal(8, name="older"), Signal(8, name="newer")
    m.d.sync += [waits.eq(waits + sent - came), age.eq(age + (age != 127))]
    with m.If(sent):
        m.d.sync += [newer.eq(transmitter.i.payload), older.eq(newer), age.eq(0)]
    proof.implies("unchanged", came & (waits == 1), receiver.o.payload == newer)
    proof.implies("in_order", came & (waits == 2), receiver.o.payload == older)
    proof.implies("not_invented", came, waits != 0)
    proof.claim("not_lost", waits <= 2)
    proof.implies("soon", waits != 0, age <= 10 * DIVISOR + 2)
    proof.claim("no_error", ~receiver.error)
    return proof


PROOFS = [
    Proof("frame-sender", "boards.framing", "FrameSender sends the same bytes", _sender, depth=14,
          quick=True, broken=(Break("self.payload.ready.eq(self.o.ready & (count != kept.length))",
                        "self.payload.ready.eq(count != kept.length)"),)),
    Proof("frame-receiver", "boards.framing",
          "FrameReceiver: header and bytes of a frame unchanged, all, once, or said to be bad",
          _receiver, depth=16, broken=(
              Break("self.payload.valid.eq(count != 0)", "self.payload.valid.eq(1)"),
              Break("with m.If(self.header.ready):", "with m.If(1):"))),
    Proof("serial-line", "boards.uart",
          "Transmitter to Receiver: every byte once, unchanged, within 10 bits and 2 cycles", _line,
          depth=11 * DIVISOR + 4, broken=(
              Break("rest.eq(Cat(self.i.payload, 1))", "rest.eq(Cat(self.i.payload, 0))"),)),
]
