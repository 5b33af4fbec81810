# SPDX-License-Identifier: Apache-2.0
"""Units of the boards: what a host's bytes and a chip's words go through."""

from types import ModuleType

from amaranth import Signal

from sim.formal.copies import Copies
from sim.formal.harness import Break, Harness, Proof

DIVISOR = 4


def _sender(units: ModuleType) -> Harness:
    """A frame with up to two bytes of payload."""
    copies = Copies(units.FrameSender, items=2, patience=2)
    copies.source("header", lambda unit: unit.header, lambda header: header.length <= 1)
    copies.source("payload", lambda unit: unit.payload)
    copies.sink("o", lambda unit: unit.o)
    return copies.finish()


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
    Proof("serial-line", "boards.uart",
          "Transmitter to Receiver: every byte once, unchanged, within 10 bits and 2 cycles", _line,
          depth=11 * DIVISOR + 4, broken=(
              Break("rest.eq(Cat(self.i.payload, 1))", "rest.eq(Cat(self.i.payload, 0))"),)),
]
